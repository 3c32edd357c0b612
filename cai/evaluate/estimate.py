"""What an evaluation would ask of its models, before anything is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cai.constitution.records import Constitution
from cai.evaluate.tasks import Task
from cai.records import Record

_ORDERS = 2
_HARM = 4  # labels of StrongREJECT's three questions, the first in both orders


class Estimate(Record):
    """What would be asked.

    Attributes:
        prompts: How many, by suite.
        answers: Of model and baseline together.
        labels: Of the judge, if it is asked about every answer: those that decline, or that a
            program scores, are fewer.
    """

    prompts: dict[str, int]
    answers: int
    labels: int


def estimate(
    tasks: Sequence[Task], constitution: Constitution, *, sides: int, samples: int, judged: bool
) -> Estimate:
    """What answers to these prompts take.

    Args:
        tasks: The prompts.
        constitution: Each answer is assessed by its principles in words that are for the prompt.
        sides: 2 with a baseline, else 1.
        samples: Answers to each prompt.
        judged: Whether there is a judge.
    """
    labels = 0
    for task in tasks if judged else ():
        labels += sides * _ORDERS * len(constitution.for_assessment(task.item.prompt))
        labels += sides * _HARM * (task.item.score == "harm")
        labels += (sides - 1) * _ORDERS * (task.item.score == "helpful")
    return Estimate(
        prompts=dict(Counter(task.suite for task in tasks)),
        answers=len(tasks) * sides * samples,
        labels=labels * samples,
    )
