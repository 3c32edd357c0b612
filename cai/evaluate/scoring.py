"""What a program finds of answers: what they do with a request, and which rules they keep."""

from __future__ import annotations

from collections.abc import Sequence

from cai.constitution.records import Constitution, Principle
from cai.constitution.rules import broken
from cai.evaluate.choices import right_option
from cai.evaluate.gaming import constant, speaks_to_judge
from cai.evaluate.instructions import followed, followed_loosely
from cai.evaluate.language import wrong_language
from cai.evaluate.records import Answer, Scored
from cai.evaluate.tasks import Task
from cai.quality.replies import reply_class


def scored_by_program(
    tasks: Sequence[Task],
    answers: Sequence[Sequence[Answer]],
    constitution: Constitution,
    system: str | None = None,
) -> list[list[Scored]]:
    """What a program finds of each answer, per prompt and sample.

    Args:
        tasks: The prompts.
        answers: To each, one or more.
        constitution: Its rules are checked on the prompts that they are for.
        system: The system prompt of all of them, if they have none of their own.
    """
    samples = max(map(len, answers), default=0)
    results: list[list[Scored]] = [[] for _ in tasks]
    for sample in range(samples):
        drawn = [of[sample] if sample < len(of) else None for of in answers]
        texts = [answer.text if answer else None for answer in drawn]
        repeated = constant(texts, [task.text for task in tasks])
        for result, task, answer, same in zip(results, tasks, drawn, repeated, strict=True):
            if answer is not None:
                result.append(_scored(task, answer, constitution, system, same=same))
    return results


def _scored(
    task: Task, answer: Answer, constitution: Constitution, system: str | None, *, same: bool
) -> Scored:
    if answer.text is None:
        # A recorded label may stand without its text.
        coherent = answer.reply != "incoherent" if answer.reply else None
        return Scored(answer=answer, reply=answer.reply, coherent=coherent)
    text, item = answer.text, task.item
    reply = answer.reply or reply_class(text, task.text)
    rules = constitution.rules(item.prompt)
    own = Principle(id="own", check=item.check) if item.check is not None else None
    asked = [rule for rule in (*rules, own) if rule and rule.check and rule.check.language]
    before = [m.content for m in item.prompt.with_system(system).messages[:-1]]
    # A rule about the language says itself whether it is the right one.
    foreign = not asked and wrong_language(text, task.text, before) is not None
    coherent = reply != "incoherent" and not foreign
    return Scored(
        answer=answer,
        reply=reply,
        coherent=coherent,
        to_judge=speaks_to_judge(text, task.text),
        constant=same and reply == "comply",
        rules={rule.id: coherent and broken(rule, text) is None for rule in rules},
        own_rule=None if own is None else coherent and broken(own, text) is None,
        strict=tuple(followed(i, text) for i in item.instructions),
        loose=tuple(followed_loosely(i, text) for i in item.instructions),
        right=right_option(text, item.options, item.target),
    )
