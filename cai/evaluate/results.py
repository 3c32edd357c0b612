"""What the measures are made of: all answers with what was found of them, and who judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cai.checks.results import JudgeVerdict
from cai.comparison import JudgeErrors
from cai.constitution.records import Constitution
from cai.evaluate.records import Preference, Scored
from cai.evaluate.tasks import Task

Score = Callable[[Task, Scored], float | None]
NAME_A_JUDGE = "of the others a judge has to say it: --judge NAME"


class Judge(NamedTuple):
    """Who judged, and how often such a judge is wrong, where that was measured.

    `errors` are those of assessments, `accuracy` of comparisons: the share that is right, and of
    how many pairs. `assessments` and `comparisons` are what the checks say of them.
    """

    name: str
    errors: JudgeErrors | None = None
    accuracy: tuple[float, int] | None = None
    assessments: JudgeVerdict | None = None
    comparisons: JudgeVerdict | None = None


class Results(NamedTuple):
    """All answers of an evaluation with what was found of them, in the order of the prompts."""

    tasks: Sequence[Task]
    model: Sequence[Sequence[Scored]]
    baseline: Sequence[Sequence[Scored]] | None
    preferences: Mapping[int, Sequence[Preference | None]]
    constitution: Constitution
    judge: Judge | None = None
    seed: int = 0


class Plain(NamedTuple):
    """A measure that is the mean of something that each answer has.

    Attributes:
        name: Its name.
        prompts: Those that it is about.
        score: Of one answer.
        judged: Whether a judge had to say it of an answer; None where none ever has to.
    """

    name: str
    prompts: Callable[[Task], bool]
    score: Score
    judged: Callable[[Task, Scored], bool] | None = None
