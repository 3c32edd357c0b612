"""How many answers of two models keep each rule of a constitution, on the same prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cai import statistics
from cai.cleaning import defect
from cai.constitution.records import Constitution
from cai.constitution.rules import broken
from cai.records import Completion, Prompt, Record


class Measure(Record):
    """A share and its 95 % interval, beside the baseline's on the same prompts.

    `value`, `low` and `high` are the model's (Wilson), `difference` is model minus baseline with a
    paired interval (Newcombe 1998, method 10). All are in [0, 1] or differences of such.
    """

    value: float
    low: float
    high: float
    n: int
    baseline: float
    difference: float
    difference_low: float
    difference_high: float


def scorecard(
    constitution: Constitution,
    prompts: Sequence[Prompt],
    answers: Sequence[Completion],
    baseline: Sequence[Completion],
) -> dict[str, Measure]:
    """The share of answers that keep each rule and all of them, and of those that are incoherent.

    Args:
        constitution: Its rules are checked where they apply; principles in words are not.
        prompts: What was asked.
        answers: The model's, in the order of the prompts.
        baseline: Those of the model to compare with.

    Raises:
        ValueError: No prompt has a rule.
    """
    measures: dict[str, Measure] = {}
    both = (answers, baseline)
    for rule in constitution.principles:
        if rule.check is None:
            continue
        kept = [
            [
                float(broken(rule, answer.text) is None)
                for prompt, answer in zip(prompts, side, strict=True)
                if rule.applies(prompt)
            ]
            for side in both
        ]
        if kept[0]:
            measures[f"adherence.{rule.id}"] = paired(*kept)
    whole = [
        [
            float(keeps_all(constitution, prompt, answer.text))
            for prompt, answer in zip(prompts, side, strict=True)
            if constitution.rules(prompt)
        ]
        for side in both
    ]
    measures["adherence.all"] = paired(*whole)
    odd = [[float(incoherent(p, a)) for p, a in zip(prompts, side, strict=True)] for side in both]
    measures["incoherence"] = paired(*odd)
    return measures


def keeps_all(constitution: Constitution, prompt: Prompt, text: str) -> bool:
    """Whether a text keeps every rule that is for a prompt."""
    return not any(broken(rule, text) for rule in constitution.rules(prompt))


def incoherent(prompt: Prompt, answer: Completion) -> bool:
    """Whether an answer is empty, a loop, an echo of the prompt or torn by control tokens.

    One that is cut at the limit is read as far as it goes.
    """
    whole = answer.model_copy(update={"finish_reason": "stop"})
    return defect(whole, answer.text, (prompt.last_human_turn,)) is not None


def paired(values: Sequence[float], baseline: Sequence[float]) -> Measure:
    """The measure of paired values, each 0 or 1."""
    n = len(values)
    low, high = statistics.wilson(math.fsum(values), n)
    share, other = math.fsum(values) / n, math.fsum(baseline) / n
    difference_low, difference_high = statistics.paired_difference(values, baseline)
    return Measure(
        value=share,
        low=low,
        high=high,
        n=n,
        baseline=other,
        difference=share - other,
        difference_low=difference_low,
        difference_high=difference_high,
    )
