"""How often the model's answer helps more than the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cai import comparison, statistics
from cai.comparison import JudgeErrors
from cai.evaluate.correction import LEAST_DECIDED
from cai.evaluate.figures import Column, measured
from cai.evaluate.length_control import Pairs, length_controlled, length_controlled_interval
from cai.evaluate.records import Measure, Preference, Rate
from cai.evaluate.results import NAME_A_JUDGE, Results

# Of the pairs that a judge compared, those in which both orders say the same. Others are ties, and
# of ties alone any two models are equal.
LEAST_CONSISTENT = 0.5


class _Compared(NamedTuple):
    """The pairs of all prompts that ask for help.

    Attributes:
        prompts: Preferences by prompt and sample, without those that nobody could tell.
        clusters: What each prompt belongs to.
        waiting: Pairs of two answers of which nobody could tell.
    """

    prompts: list[list[Preference]]
    clusters: list[str]
    waiting: int

    @property
    def judged(self) -> list[Preference]:
        return [p for of in self.prompts for p in of if p.by == "judge"]


def helpfulness(results: Results) -> dict[str, Measure]:
    """The win rate at equal length and the raw one; nothing where no prompt asks for help."""
    compared = _compared(results)
    if not compared.prompts:
        return {}
    wins = [[p.win for p in of] for of in compared.prompts]
    raw = measured(Column(wins, None, compared.clusters), seed=results.seed)
    if why := _why_none(compared, raw.n, results):
        none = Measure(unscored=len(compared.prompts), note=why)
        return {"helpfulness_win_rate": none, "helpfulness_win_rate_raw": none}
    if compared.judged and results.judge is not None:
        checked = results.judge.accuracy is not None
        about = {"judge_checked": checked, "judge_verdict": results.judge.comparisons}
        raw = raw.model_copy(
            update={"judge": results.judge.name, "note": _ties(compared.judged), **about}
        )
    controlled = _controlled(compared, raw, results)
    return {"helpfulness_win_rate": controlled, "helpfulness_win_rate_raw": raw}


def _compared(results: Results) -> _Compared:
    chosen = [n for n, task in enumerate(results.tasks) if task.item.score == "helpful"]
    prompts: list[list[Preference]] = []
    waiting = 0
    for n in chosen:
        told = results.preferences.get(n) or [None] * len(results.model[n])
        prompts.append([p for p in told if p is not None])
        answers = zip(told, results.model[n], (results.baseline or results.model)[n], strict=False)
        waiting += sum(
            p is None and one.answer.text is not None and other.answer.text is not None
            for p, one, other in answers
        )
    return _Compared(prompts, [results.tasks[n].cluster for n in chosen], waiting)


def _why_none(compared: _Compared, told: int, results: Results) -> str | None:
    """Why there is no figure: a judge decided little of what only it can say."""
    judged = compared.judged
    all_ = len(judged) + compared.waiting
    if len(judged) < LEAST_DECIDED * all_:
        why = NAME_A_JUDGE
        if results.judge is not None:
            why = f"the judge decided {len(judged):,} of {all_:,} others"
        return f"{told:,} of {len(compared.prompts):,} are told, most of them by a program; {why}"
    if not told:
        return "no prompt has an answer of both sides"
    sure = sum(p.consistent for p in judged)
    if sure < LEAST_CONSISTENT * len(judged):
        return f"the judge's orders agree on {sure:,} of {len(judged):,} pairs: the rest are ties"
    return None


def _ties(judged: Sequence[Preference]) -> str | None:
    unsure = sum(not p.consistent for p in judged)
    if not unsure:
        return None
    return f"of {len(judged):,} pairs {unsure:,} are ties: the judge's orders disagree"


def _controlled(compared: _Compared, raw: Measure, results: Results) -> Measure:
    """The win rate at equal length, where pairs can tell it."""
    flat = [
        (p, cluster, 1 / len(of))
        for of, cluster in zip(compared.prompts, compared.clusters, strict=True)
        for p in of
    ]
    pairs = Pairs.of(
        [p.win for p, _, _ in flat],
        [p.longer for p, _, _ in flat],
        [weight for _, _, weight in flat],
        [p.by == "judge" for p, _, _ in flat],
    )
    if pairs.one_sided:
        note = "nearly all answers of one side are longer, so no pair tells of equal length"
        return Measure(unscored=len(compared.prompts), note=note)
    clusters = [cluster for _, cluster, _ in flat]
    value = length_controlled(pairs)
    low, high = length_controlled_interval(pairs, clusters, seed=results.seed)
    independent = len(set(clusters))
    least, most = statistics.wilson(value * independent, independent)
    controlled = raw.model_copy(
        update={"value": value, "low": min(low, least), "high": max(high, most), "spread": None}
    )
    return controlled.model_copy(update=_without_errors(value, pairs, independent, results))


def _without_errors(
    value: float, pairs: Pairs, independent: int, results: Results
) -> dict[str, Rate | str | None]:
    """The win rate behind one that a judge gave who is right in some share of pairs.

    Both orders are asked, so it is as often right about the model as about the baseline. What a
    program decided has no such errors.
    """
    if results.judge is None or results.judge.accuracy is None or not pairs.free.any():
        return {}
    share, cases = results.judge.accuracy
    half = max(1, cases // 2)
    errors = JudgeErrors(round(share * half), half, round(share * half), half)
    given = pairs.weights * ~pairs.free
    won, lost = float(given @ pairs.wins), float(given @ (1 - pairs.wins))
    judged = float(pairs.weights @ pairs.free)
    found = comparison.corrected_rate(
        min(judged, max(0.0, value * float(pairs.weights.sum()) - won)),
        judged,
        errors,
        known=(won, lost),
        independent=independent,
        seed=results.seed,
    )
    if found is None:
        return {"note": "by its check this judge is no better than chance"}
    return {"corrected": Rate(value=found.value, low=found.low, high=found.high)}
