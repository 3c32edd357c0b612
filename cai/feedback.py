"""STAGE 2: two answers → K principles × both orders → a soft label (Bai et al. 2022, section 4.1).

The judge reads the conversation and both answers as quoted text in one user turn, the principle
last: what the K questions share is read once. A label is the probability of a token, never text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from cai.cleaning import alike, defect
from cai.constitution.records import Principle
from cai.constitution.rules import broken
from cai.engines.base import joined
from cai.engines.labels import Labels
from cai.guiding import with_guide
from cai.method import Method
from cai.quoting import conversation, fence, quoted
from cai.records import (
    ChoiceMethod,
    Comparison,
    Completion,
    Judgement,
    Message,
    Pair,
    PreferenceLabel,
    Prompt,
    RevisionChain,
    assistant,
    user,
)
from cai.runtime.calls import RowCalls


async def revision_pair(chain: RevisionChain, method: Method, calls: RowCalls) -> Pair | None:
    """The first answer against the final revision; None where nothing was to be revised."""
    if not chain.steps:
        return None
    comparison = Comparison(prompt=chain.prompt, response_a=chain.response, response_b=chain.final)
    if all(step.revision is None for step in chain.steps):
        return Pair(source="revision", comparison=comparison, dropped="unchanged")
    return await _labelled(Pair(source="revision", comparison=comparison), method, calls)


async def sampled_pair(prompt: Prompt, method: Method, calls: RowCalls) -> Pair:
    """Two answers of one model, as the paper draws them from the SL-CAI model."""
    prompt = prompt.with_system(method.settings.system)
    sampling = method.settings.sampling("sampler")

    def problem(completion: Completion) -> str | None:
        return defect(completion, completion.text, (prompt.last_human_turn,), rules=method.version)

    draw = partial(calls.generate, "sample", 0, prompt.messages, sampling, problem)
    draw = partial(draw, longer=method.version >= 2)
    first, second = await calls.together([partial(draw, ordinal=n) for n in (0, 1)])
    comparison = Comparison(
        prompt=prompt, response_a=first.text.strip(), response_b=second.text.strip()
    )
    return await _labelled(Pair(source="sampled", comparison=comparison), method, calls)


async def guided_pair(chain: RevisionChain, method: Method, calls: RowCalls) -> Pair:
    """The answer without the constitution in view against the one with it."""
    prompt, sampling = chain.prompt, method.settings.sampling("policy")
    guided = method.settings.guided
    messages = prompt.messages if guided else with_guide(prompt, method)

    def problem(completion: Completion) -> str | None:
        return defect(completion, completion.text, (prompt.last_human_turn,), rules=method.version)

    longer = method.version >= 2
    drawn = await calls.generate("respond", 0, messages, sampling, problem, longer=longer)
    other = drawn.text.strip()
    plain, with_it = (other, chain.final) if guided else (chain.response, other)
    comparison = Comparison(prompt=prompt, response_a=plain, response_b=with_it)
    return await _labelled(Pair(source="guided", comparison=comparison), method, calls)


async def _labelled(pair: Pair, method: Method, calls: RowCalls) -> Pair:
    comparison = pair.comparison
    if comparison.response_a == comparison.response_b:
        return pair.model_copy(update={"dropped": "equal"})
    if alike(comparison.response_a, comparison.response_b, rules=method.version):
        return pair.model_copy(update={"dropped": "near-equal"})
    prompt = comparison.prompt
    by_rule = tuple(filter(None, (ruled(comparison, r) for r in method.constitution.rules(prompt))))
    principles = method.compared_by(prompt, pair.source)
    if not principles and not by_rule:
        return pair.model_copy(update={"dropped": "alike by the rules"})
    judged: tuple[Judgement, ...] = ()
    if principles:
        judged = (await judge(comparison, principles, method, calls)).judgements
    label = PreferenceLabel(comparison=comparison, judgements=(*judged, *by_rule))
    return pair.model_copy(update={"label": label})


def ruled(comparison: Comparison, rule: Principle) -> Judgement | None:
    """The answer that keeps a rule wins with p = 1; None where both keep it or both break it."""
    texts = (comparison.response_a, comparison.response_b)
    a, b = (broken(rule, text) is None for text in texts)
    if a == b:
        return None
    return Judgement(
        principle_id=rule.id, q_ab=float(a), q_ba=float(b), label_mass=1.0, method="check"
    )


class _Asked(NamedTuple):
    """One order, one principle: probability of the first option, the labels' mass, and how."""

    probability: float
    mass: float
    method: ChoiceMethod
    reasoning: str | None


async def judge(
    comparison: Comparison, principles: Sequence[Principle], method: Method, calls: RowCalls
) -> PreferenceLabel:
    """The label of a comparison by these principles.

    Raises:
        Rejected: A call failed, or too little probability fell on the labels.
        MissingCall: In a replay.
    """
    labels = await calls.labels("judge")
    a_first, b_first = await calls.together(
        [
            partial(_one_order, order, principles, method, labels, calls)
            for order in (comparison, comparison.swap())
        ]
    )
    judgements = []
    for principle, (q_ab, mass, method_of, why), (q_ba, other, _, why_not) in zip(
        principles, a_first, b_first, strict=True
    ):
        judgements.append(
            Judgement(
                principle_id=principle.id,
                q_ab=q_ab,
                q_ba=q_ba,
                label_mass=min(mass, other),
                method=method_of,
                reasoning=None if why is None or why_not is None else (why, why_not),
            )
        )
    return PreferenceLabel(comparison=comparison, judgements=tuple(judgements))


async def _one_order(
    comparison: Comparison,
    principles: Sequence[Principle],
    method: Method,
    labels: Labels,
    calls: RowCalls,
) -> list[_Asked]:
    """What one order says of each principle."""
    read = judge_prompt(comparison, method, labels)
    if method.settings.cot:
        return await calls.together(
            [partial(_reasoned, read, p, method, labels, calls) for p in principles]
        )
    questions = [_question("judge_question", p, method, labels) for p in principles]
    least = method.settings.min_label_mass
    scores = await calls.choose("judge", [user(read)], questions, labels, least=least)
    return [_Asked(s.probabilities[0], s.mass, s.method, None) for s in scores]


async def _reasoned(
    read: str, principle: Principle, method: Method, labels: Labels, calls: RowCalls
) -> _Asked:
    """Reason first, then pick: the probabilities are closer to 0 and 1 than without."""

    def problem(completion: Completion) -> str | None:
        # Reasoning that was cut is still read; it never becomes training data.
        whole = completion.model_copy(update={"finish_reason": "stop"})
        return defect(whole, completion.text, rules=method.version)

    request = user(read + _question("judge_reason", principle, method, labels))
    sampling = method.settings.sampling("judge")
    reasoning = (await calls.generate("reason", 0, [request], sampling, problem)).text.strip()
    choose = method.templates.render("judge_choose", **_names(labels))
    talk = [request, assistant(reasoning)]
    least = method.settings.min_label_mass
    (scores,) = await calls.choose("judge", talk, [choose], labels, least=least)
    return _Asked(scores.probabilities[0], scores.mass, scores.method, reasoning)


def asked_of_judge(
    comparison: Comparison, principle: Principle, method: Method, labels: Labels
) -> tuple[Message, ...]:
    """The question for a label of one principle, as a judge gets it who does not reason first."""
    read = judge_prompt(comparison, method, labels)
    return joined([user(read)], _question("judge_question", principle, method, labels))


def judge_prompt(comparison: Comparison, method: Method, labels: Labels) -> str:
    """What a judge reads before the principle: the conversation and both answers, quoted."""
    templates, turns = method.templates, comparison.prompt.messages
    answers = (comparison.response_a, comparison.response_b)
    mark = fence(answers, (m.content for m in turns))
    return templates.render(
        "judge",
        conversation=conversation(templates, turns, mark),
        first=quoted(templates, "answer", comparison.response_a, mark),
        second=quoted(templates, "answer", comparison.response_b, mark),
        mark=mark,
        **_names(labels),
    )


def _question(name: str, principle: Principle, method: Method, labels: Labels) -> str:
    words = method.templates.render(
        name, question=principle.compare, why=principle.why, **_names(labels)
    )
    return f"\n\n{words}"


def _names(labels: Labels) -> dict[str, str]:
    return {"first_label": labels.first, "second_label": labels.second}
