"""The two sides of an evaluation: a model's answers, or recorded ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cai.engines.base import Engine
from cai.engines.naming import display_name
from cai.errors import CaiError
from cai.evaluate.answers import answers_of
from cai.evaluate.recorded import Recording, joined
from cai.evaluate.records import Answer
from cai.evaluate.scorecard import Side
from cai.evaluate.tasks import Task
from cai.method import Method
from cai.runtime.progress import Progress


class Job(NamedTuple):
    """How an evaluation asks its models.

    Attributes:
        method: The constitution, the words, and the settings of draws and servers.
        folder: Of the evaluation; the calls of each model lie in a folder in it.
        samples: Answers to each prompt.
        progress: Shows how far it is.
        retry_failed: Ask again what failed.
        engines: Models that are there already, by `model`, `baseline` and `judge`.
    """

    method: Method
    folder: Path
    samples: int
    progress: Progress
    retry_failed: bool
    engines: Mapping[str, Engine]


class Answered(NamedTuple):
    """The answers of a side, whose they are, and what is to be told of them."""

    side: Side
    answers: Sequence[Sequence[Answer]]
    told: Sequence[str] = ()


def sides_of(
    model: str | None,
    baseline: str | None,
    tasks: Sequence[Task],
    job: Job,
    recording: Recording | None,
) -> list[Answered]:
    """The answers of the model and, if there is one, of the baseline.

    Raises:
        CaiError: A model does not answer at all, or nothing of it is recorded.
    """
    if recording is not None:
        names = [model] if baseline is None else [model, baseline]
        if baseline is not None and not recording.models:
            raise CaiError(
                f"{recording.path}: no row names its model, so none can be compared with another",
                f"Give each row a column `model`: {model} or {baseline}.",
            )
        return [_recorded(name, tasks, recording) for name in names]
    named = {"model": model, "baseline": baseline}
    return [_asked(name, where, tasks, job) for where, name in named.items() if name is not None]


def _recorded(name: str | None, tasks: Sequence[Task], recording: Recording) -> Answered:
    found = joined(tasks, recording.of(name))
    side = Side(name=name or recording.path.stem, identity=f"recorded:{recording.digest}:{name}")
    return Answered(side, found.answers, [f"{side.name}: {words}" for words in found.told])


def _asked(name: str, where: str, tasks: Sequence[Task], job: Job) -> Answered:
    found = answers_of(
        name,
        [task.item for task in tasks],
        job.method,
        samples=job.samples,
        folder=job.folder / where,
        phase=f"answering, {where}",
        progress=job.progress,
        retry_failed=job.retry_failed,
        engine=job.engines.get(where),
    )
    return Answered(Side(name=display_name(name), identity=found.identity), found.by_prompt)
