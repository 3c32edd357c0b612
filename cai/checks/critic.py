"""Is a critic worth its answers? It looks at answers of which people say what is wrong with them.

Two answers of a critic decide what is learnt, and each is measured: the verdict after a critique,
as in the chain, and the assessment of a text by one principle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cai.assessment import assess
from cai.checks import critic_results
from cai.checks.asking import Asked, ask_all, folder_for, written_after
from cai.checks.cases import LabelledCase, read_cases
from cai.checks.critic_figures import Said, measure
from cai.checks.critic_results import WAYS, CriticResult, Way, critic_key
from cai.checks.labelled import Skipped, sample
from cai.config import Settings, settings_of
from cai.constitution.records import Principle
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.files import cases_file, replacing
from cai.method import Method, load_method
from cai.revision import verdict_of
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress
from cai.sources.files import file_digest

# What is asked for a row of SFT data: the check asks all of it, whatever a file of settings says.
_ASKED: dict[str, Any] = {"stages": ("sft",), "critique": True, "verdict": True, "assess": True}
_Both = dict[Way, Said]


def critic_check(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    cases: str | Path | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
    **given: Any,
) -> CriticResult:
    """Let a critic look at labelled answers, measure it, and keep the result under its identity.

    Args:
        settings: `Settings` or their values; those that concern the critic count.
        cases: A file of labelled answers; the shipped ones by default.
        limit: Take this many cases, drawn by a hash of their ids.
        out: The folder of the calls and the result.
        retry_failed: Ask again where the critic could not answer.
        progress: Shows how far the job is.
        engine: A critic that is there already.
        **given: Single settings (`critic="…"`), which win over `settings`.

    Raises:
        CaiError: Bad settings or cases, a folder in use, a critic that does not load or answer.
    """
    settings = settings_of(settings, {**given, **_ASKED})
    method = load_method(settings)
    path = Path(cases) if cases is not None else cases_file()
    labelled, skipped = read_cases(path)
    chosen = sample(usable := _usable(labelled, method), limit)
    folder = Path(out) if out is not None else default_folder(settings)
    asked = ask_all(
        method,
        ["critic"],
        [(case.prompt.id, case) for case in chosen],
        partial(_ask, method),
        folder=folder,
        phase="checking",
        engine=engine,
        retry_failed=retry_failed,
        progress=progress,
    )
    source: dict[str, str | int] = {
        "file": path.name if cases is None else str(path),
        "sha256": file_digest(path),
        "used": len(chosen),
        "skipped": len(skipped),
        "without a principle": len(labelled) - len(usable),
    }
    result = _result(method, asked, source)
    with written_after(folder, "critic"):
        _write(folder, result, asked.results, skipped)
        critic_results.store(result)
    return result


def _result(method: Method, asked: Asked[_Both], source: dict[str, str | int]) -> CriticResult:
    identity = asked.engines["critic"].identity
    figures = {
        way: measure(
            way,
            critic_key(way, method, identity),
            [both[way] for both in asked.results if way in both],
        )
        for way in WAYS
    }
    constitution = method.constitution
    return CriticResult(
        critic=identity,
        model=method.settings.model_of("critic"),
        labels=asked.labels_of("critic"),
        constitution={"name": constitution.name, "digest": constitution.digest},
        cases=source,
        assessment=figures["assessment"],
        verdict=figures["verdict"],
    )


def default_folder(settings: Settings) -> Path:
    return folder_for("critic-check", settings.model_of("critic"))


def _usable(cases: Sequence[LabelledCase], method: Method) -> list[LabelledCase]:
    """The cases whose principle the constitution has, and a model is asked by."""
    principles = {p.id: p for p in method.constitution.principles if _asks_a_model(p)}
    usable = [case for case in cases if case.principle in principles]
    if not usable:
        ids = ", ".join(principles) or "none"
        raise CaiError(
            f"{method.settings.constitution}: no case is about one of its principles",
            f"The principles that a critic is asked by: {ids}. Give cases about them: --cases.",
        )
    return usable


def _asks_a_model(principle: Principle) -> bool:
    return principle.check is None and (principle.revises or principle.assessable)


async def _ask(method: Method, case: LabelledCase, calls: RowCalls) -> _Both:
    principle = method.constitution.principle(case.principle)
    both: _Both = {}
    if principle.assessable:
        both["assessment"] = await _assessment(method, case, principle, calls)
    if principle.revises:
        both["verdict"] = await _verdict(method, case, principle, calls)
    return both


async def _assessment(
    method: Method, case: LabelledCase, principle: Principle, calls: RowCalls
) -> Said:
    try:
        (found,) = await assess(case.prompt, case.response, [principle], method, calls)
    except Rejected as reason:
        return Said(case, error=reason.error, message=reason.message)
    return Said(case, found.p_violates, found.consistent, found.order_gap, found.label_mass)


async def _verdict(
    method: Method, case: LabelledCase, principle: Principle, calls: RowCalls
) -> Said:
    """The verdict as in the chain: after a critique, which goes on in the conversation."""
    try:
        found = await verdict_of(principle, case.prompt, case.response, method, calls)
    except Rejected as reason:
        return Said(case, error=reason.error, message=reason.message)
    return Said(case, found.p_change, found.consistent, found.order_gap, found.label_mass)


def _write(
    folder: Path, result: CriticResult, answers: Sequence[_Both], skipped: Sequence[Skipped]
) -> None:
    with replacing(folder / "cases.jsonl") as file:
        for both in answers:
            file.write(json.dumps(_row(both), ensure_ascii=False) + "\n")
        for none in skipped:
            file.write(json.dumps({"where": none.where, "skipped": none.why}) + "\n")
    with replacing(folder / "result.json") as file:
        file.write(result.model_dump_json(indent=2) + "\n")


def _row(both: _Both) -> dict[str, Any]:
    """A case with what was said of it."""
    case = next(iter(both.values())).case
    row: dict[str, Any] = {
        "id": case.prompt.id,
        "principle": case.principle,
        "label": case.verdict,
    }
    for way, said in both.items():
        if said.p is None:
            row[way] = {"error": said.error, "message": said.message}
        else:
            row[way] = {
                "p_violates": said.p,
                "says": said.label or "undecided",
                "order_gap": said.order_gap,
                "label_mass": said.label_mass,
            }
    return row
