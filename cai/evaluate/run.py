"""`cai evaluate`: a model and a baseline answer the same prompts; what came is measured.

Answers and judgements are calls of a journal each (`model/`, `baseline/`, `judge/`), so an
evaluation goes on where it stopped, and asks only what is new when a suite, the constitution or the
judge changes. One model is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cai.checks.asking import folder_for
from cai.config import Settings, settings_of
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.evaluate.estimate import Estimate, estimate
from cai.evaluate.gates import Gate, default_gates, results_of
from cai.evaluate.judged import judged
from cai.evaluate.measures import measures_of
from cai.evaluate.recorded import Recording, read_recording, suite_of
from cai.evaluate.results import Results
from cai.evaluate.rows import write_answers
from cai.evaluate.scorecard import Card, Evaluation, SuiteFacts, take_away
from cai.evaluate.scoring import scored_by_program
from cai.evaluate.sides import Answered, Job, sides_of
from cai.evaluate.suites.read import ALL, read_suites
from cai.evaluate.suites.records import Suite
from cai.evaluate.tasks import Task, tasks_of
from cai.evaluate.told import told
from cai.method import load_method
from cai.records import digest
from cai.roles import on_its_day
from cai.runtime.folder import has_journal
from cai.runtime.progress import Progress, Quiet

_LONGEST = 60  # characters of the name of a folder
_TRAINED = "training.json"  # in a folder of cai train


def default_folder(model: str) -> Path:
    """Where the evaluation of a model is kept: by its path from here or from `outputs`."""
    if not Path(model).is_dir():
        return folder_for("evaluate", model if "://" in model else model.replace("/", "--"))
    path = Path(model).resolve()
    for above in (Path("outputs").resolve(), Path.cwd()):
        if path != above and path.is_relative_to(above):
            path = path.relative_to(above)
    name = "--".join(part for part in path.parts if part != path.anchor)
    if len(name) > _LONGEST:
        name = f"{name[-_LONGEST:]}-{digest(name)[:8]}"
    return folder_for("evaluate", name)


def _on_one_day(settings: Settings, folder: Path) -> Settings:
    """The settings with the day on which the folder's first model was asked, for all of them."""
    there = (folder / name for name in ("model", "baseline", "judge"))
    return on_its_day(settings, next(filter(has_journal, there), folder))


def planned(
    settings: Settings, suites: Sequence[str | Suite], *, sides: int, samples: int, judged: bool
) -> Estimate:
    """What an evaluation would ask; no model is made.

    Raises:
        CaiError: Bad settings or suites.
    """
    constitution, tasks = load_method(settings).constitution, tasks_of(_suites(suites, None))
    return estimate(tasks, constitution, sides=sides, samples=samples, judged=judged)


def evaluate(
    model: str | None,
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    baseline: str | None = None,
    suites: Sequence[str | Suite] = (),
    judge: str | None = None,
    samples: int = 1,
    replay: str | Path | None = None,
    recorded_labels: bool = True,
    gates: Mapping[str, Gate] | None = None,
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engines: Mapping[str, Engine] | None = None,
    **given: Any,
) -> Card:
    """Evaluate a model, and write the card into a folder.

    Args:
        model: Its name; of recorded answers, whose they are.
        settings: `Settings` or their values.
        baseline: The model to compare with.
        suites: Files, datasets or names of shipped ones; the shipped ones if there are none.
        judge: The model that assesses and compares; without one, only programs score.
        samples: Answers to each prompt.
        replay: Recorded answers, instead of a model's.
        recorded_labels: Whether labels that came with recorded answers are used.
        gates: What the card must show, by measure.
        out: The folder.
        retry_failed: Ask again what failed.
        progress: Shows how far it is.
        engines: Models that are there already, by `model`, `baseline` and `judge`.
        **given: Single settings.

    Raises:
        CaiError: Bad settings or suites, a folder in use, a model that does not answer.
    """
    asked = settings_of(settings, {**given, **({"judge": judge, "critic": judge} if judge else {})})
    if "policy_temperature" not in asked.model_fields_set:
        asked = asked.model_copy(update={"policy_temperature": 0.0})
    folder = Path(out) if out is not None else default_folder(model or str(replay))
    method = load_method(_on_one_day(asked, folder))
    recording = read_recording(Path(replay), labels=recorded_labels) if replay else None
    read = _suites(suites, recording)
    tasks = tasks_of(read)
    job = Job(method, folder, samples, progress or Quiet(), retry_failed, engines or {})
    sides = sides_of(model, baseline, tasks, job, recording)
    card, found = _card(read, tasks, sides, job, judge, recording, gates)
    folder.mkdir(parents=True, exist_ok=True)
    take_away(folder)
    write_answers(folder, found)
    card.write(folder)
    if recording is None and model is not None and (Path(model) / _TRAINED).is_file():
        card.write_beside(Path(model))
    return card


def _card(
    suites: Sequence[Suite],
    tasks: Sequence[Task],
    sides: Sequence[Answered],
    job: Job,
    judge: str | None,
    recording: Recording | None,
    gates: Mapping[str, Gate] | None,
) -> tuple[Card, Results]:
    """The card of answers that are there, and what it is made of."""
    constitution, settings = job.method.constitution, job.method.settings
    system = None if recording is not None else settings.system
    scored = [scored_by_program(tasks, side.answers, constitution, system) for side in sides]
    other = scored[1] if len(scored) > 1 else None
    said = judged(tasks, scored, job, judge)
    found = Results(
        tasks, scored[0], other, said.preferences, constitution, said.judge, settings.seed
    )
    measures = measures_of(found)
    asked = gates or default_gates(measures, compared=other is not None)
    evaluation = Evaluation(
        model=sides[0].side,
        baseline=sides[1].side if other is not None else None,
        judge=said.facts,
        constitution={"name": constitution.name, "digest": constitution.digest},
        suites=tuple(map(_suite_facts, suites)),
        samples=max((len(of) for side in scored for of in side), default=job.samples),
        gates=tuple(results_of(asked, measures)),
        told=tuple(told(suites, sides, scored, recording)),
        **_decoding(settings, recording),
    )
    return Card(evaluation=evaluation, measures=measures), found


def _decoding(settings: Settings, recording: Recording | None) -> dict[str, Any]:
    """How answers were drawn; of recorded ones nobody knows."""
    recorded = recording is not None
    return {
        "recorded": recorded,
        "temperature": None if recorded else settings.policy_temperature,
        "max_tokens": None if recorded else settings.policy_max_tokens,
        "system": None if recorded else settings.system,
        "seed": settings.seed,
        "cai": version("constitutional-ai"),
    }


def _suite_facts(suite: Suite) -> SuiteFacts:
    count, left_out = len(suite.items), len(suite.bad)
    return SuiteFacts(name=suite.name, digest=suite.digest, prompts=count, left_out=left_out)


def _suites(suites: Sequence[str | Suite], recording: Recording | None) -> list[Suite]:
    if not suites and recording is not None:
        return [suite_of(recording)]
    read: list[Suite] = []
    for suite in suites or (ALL,):
        read += [suite] if isinstance(suite, Suite) else read_suites(suite)
    names = [suite.name for suite in read]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CaiError(f"two suites are called {twice}", "Give each file a name of its own.")
    return read
