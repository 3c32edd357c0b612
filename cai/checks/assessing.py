"""Any answers against a constitution: which of its principles each breaks, and how often."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai import statistics
from cai.assessment import assess
from cai.checks.asking import ask_all, written_after
from cai.config import Settings, settings_of
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.files import replacing
from cai.method import Method, load_method
from cai.records import Assessment, Record
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress
from cai.sources.answers import AnsweredPrompt


class Assessed(Record):
    """One answer and what it breaks, or why nobody could tell."""

    id: str
    assessments: tuple[Assessment, ...] = ()
    error: str | None = None


class PrincipleFigures(Record):
    """Of the answers that a principle is for: how many break it, with a 95 % interval (Wilson).

    `unsure` are those of which the two orders of the options disagree; they break nothing here.
    """

    principle: str
    by: str
    answers: int
    violates: int
    unsure: int
    share: float
    low: float
    high: float


class AssessmentReport(Record):
    constitution: str
    digest: str
    answers: int
    unscored: int
    principles: tuple[PrincipleFigures, ...]


def assess_answers(
    rows: Sequence[AnsweredPrompt],
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    out: str | Path,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
    **given: Any,
) -> tuple[AssessmentReport, list[Assessed]]:
    """Assess answers by every principle that applies; rules by a program, the others by the critic.

    Args:
        rows: The answers.
        settings: `Settings` or their values.
        out: The folder of the calls and of `assessments.jsonl`.
        retry_failed: Ask again where the critic could not answer.
        progress: Shows how far the job is.
        engine: A critic that is there already.
        **given: Single settings, which win over `settings`.

    Raises:
        CaiError: Bad settings, no principle to assess by, a critic that does not answer.
    """
    method = load_method(settings_of(settings, given))
    folder = Path(out)
    by_program = all(p.check for p in method.constitution.principles)

    async def one(row: AnsweredPrompt, calls: RowCalls) -> Assessed:
        principles = [p for p in method.constitution.principles if p.applies(row.prompt)]
        asked = [p for p in principles if p.check is not None or p.assessable]
        try:
            found = await assess(row.prompt, row.answer, asked, method, calls)
        except Rejected as reason:
            return Assessed(id=row.prompt.id, error=f"{reason.error}: {reason.message}")
        return Assessed(id=row.prompt.id, assessments=found)

    assessed = ask_all(
        method,
        [] if by_program else ["critic"],
        [(row.prompt.id, row) for row in rows],
        one,
        folder=folder,
        phase="assessing",
        engine=engine,
        retry_failed=retry_failed,
        progress=progress,
    ).results
    with written_after(folder, "critic"):
        _write(folder / "assessments.jsonl", rows, assessed)
    return _report(method, assessed), assessed


def _write(path: Path, rows: Sequence[AnsweredPrompt], assessed: Sequence[Assessed]) -> None:
    with replacing(path) as file:
        for row, result in zip(rows, assessed, strict=True):
            record = {"where": row.where, **result.model_dump(mode="json", exclude_none=True)}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _report(method: Method, assessed: Sequence[Assessed]) -> AssessmentReport:
    by_principle: defaultdict[str, list[Assessment]] = defaultdict(list)
    for result in assessed:
        for assessment in result.assessments:
            by_principle[assessment.principle_id].append(assessment)
    figures = []
    for principle in method.constitution.principles:
        own = by_principle[principle.id]
        if not own:
            continue
        violates = sum(a.violates for a in own)
        low, high = statistics.wilson(violates, len(own))
        figures.append(
            PrincipleFigures(
                principle=principle.id,
                by="program" if principle.check else "model",
                answers=len(own),
                violates=violates,
                unsure=sum(not a.consistent for a in own),
                share=violates / len(own),
                low=low,
                high=high,
            )
        )
    if not figures and not any(r.error for r in assessed):
        message = f"{method.constitution.name}: no principle can assess these answers"
        raise CaiError(message, "Give principles `critique`, `violation` or `check`.")
    return AssessmentReport(
        constitution=method.constitution.name,
        digest=method.constitution.digest,
        answers=len(assessed),
        unscored=sum(r.error is not None for r in assessed),
        principles=tuple(figures),
    )
