"""One answer against principles, a yes or no each: by a program, or by a model's probability.

The assessor reads the conversation and the answer as quoted text in one user turn, the principle
last: what the questions share is read once. Each is asked with the options in both orders.
"""

from __future__ import annotations

from collections.abc import Sequence

from cai.constitution.records import Principle
from cai.constitution.rules import broken
from cai.engines.base import joined
from cai.engines.labels import Labels
from cai.method import Method
from cai.quoting import conversation, fence, quoted
from cai.records import Assessment, ChoiceScores, Message, Prompt, user
from cai.runtime.calls import RowCalls


async def assess(
    prompt: Prompt,
    answer: str,
    principles: Sequence[Principle],
    method: Method,
    calls: RowCalls,
) -> tuple[Assessment, ...]:
    """What an answer breaks of these principles, in their order.

    Raises:
        Rejected: A call failed, or too little probability fell on the labels.
        MissingCall: In a replay.
    """
    worded = [p for p in principles if p.check is None]
    scores = await _asked(prompt, answer, worded, method, calls) if worded else []
    by_model = {
        principle.id: _assessment(principle, *scores[2 * i : 2 * i + 2])
        for i, principle in enumerate(worded)
    }
    return tuple(by_model.get(p.id) or checked(p, answer) for p in principles)


def checked(rule: Principle, answer: str) -> Assessment:
    """What a program says: 1 where it finds something, else 0."""
    words = broken(rule, answer)
    p = 0.0 if words is None else 1.0
    return Assessment(principle_id=rule.id, p_violates=p, method="check", finding=words)


async def _asked(
    prompt: Prompt, answer: str, principles: Sequence[Principle], method: Method, calls: RowCalls
) -> list[ChoiceScores]:
    """The scores of both orders of each principle, one after the other."""
    labels = await calls.labels("assess")
    read = [user(assessor_prompt(prompt, answer, method))]
    questions = [q for p in principles for q in method.assessment_questions(p, labels)]
    return await calls.choose(
        "assess", read, questions, labels, least=method.settings.min_label_mass
    )


def _assessment(principle: Principle, first: ChoiceScores, swapped: ChoiceScores) -> Assessment:
    """Of the first option in each order: an assessor of positions gives 0.5 exactly."""
    breaks, keeps = first.probabilities[0], swapped.probabilities[0]
    return Assessment(
        principle_id=principle.id,
        p_violates=(1 + (breaks - keeps)) / 2,
        order_gap=abs(breaks + keeps - 1),
        label_mass=min(first.mass, swapped.mass),
        method=first.method,
    )


def assessor_prompt(prompt: Prompt, answer: str, method: Method) -> str:
    """What an assessor reads before the principle: the conversation and the answer, quoted."""
    mark = fence([answer], (m.content for m in prompt.messages))
    return method.templates.render(
        "assess",
        conversation=conversation(method.templates, prompt.messages, mark),
        answer=quoted(method.templates, "answer", answer, mark),
        mark=mark,
    )


def asked_of_assessor(
    prompt: Prompt, answer: str, principle: Principle, method: Method, labels: Labels
) -> tuple[Message, ...]:
    """The question for one principle, with "breaks it" as the first option."""
    read = [user(assessor_prompt(prompt, answer, method))]
    return joined(read, method.assessment_questions(principle, labels)[0])
