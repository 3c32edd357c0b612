"""Principles that pull apart: does a revision by one of them break the other?

Specifications contradict themselves where two of their principles apply at once (stress-testing
model specs, arXiv 2510.07686).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cai import statistics
from cai.assessment import assess
from cai.checks.asking import ask_all
from cai.cleaning import defect
from cai.config import Settings, settings_of
from cai.constitution.records import Constitution, Principle
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.guiding import in_words
from cai.method import Method, load_method
from cai.records import Completion, Prompt, Record, RevisionChain, digest, user
from cai.revision import respond, revise_by
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress


class ConflictOutcome(Record):
    """One prompt, revised by each of two principles, and what the other one says of that."""

    between: tuple[str, str]
    prompt: str
    by_first: str | None = None
    by_second: str | None = None
    first_breaks_second: bool = False
    second_breaks_first: bool = False
    error: str | None = None


class ConflictFigures(Record):
    """Of the prompts of a pair of principles, the share in which a revision breaks the other one.

    The interval is Wilson's for 95 %; `failed` prompts are not among `prompts`.
    """

    between: tuple[str, str]
    prompts: int
    failed: int
    first_breaks_second: int
    second_breaks_first: int
    disagree: float
    low: float
    high: float


class ConflictReport(Record):
    constitution: str
    digest: str
    pairs: tuple[ConflictFigures, ...]
    outcomes: tuple[ConflictOutcome, ...]


class _Case(NamedTuple):
    """Two principles, and a prompt where they pull apart or the number of one to be written."""

    first: Principle
    second: Principle
    prompt: str | None
    number: int = 1


def check_conflicts(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    between: Sequence[Sequence[str]] = (),
    write: int = 3,
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engine: Engine | Mapping[str, Engine] | None = None,
    **given: Any,
) -> ConflictReport:
    """Answer prompts where two principles pull apart, revise by each, assess by the other.

    Args:
        settings: `Settings` or their values.
        between: Pairs of ids for which the model writes prompts; without any, the `conflicts` of
            the constitution are tried.
        write: How many prompts for each pair.
        out: The folder of the calls; `outputs/conflicts/<name>` by default.
        retry_failed: Ask again where a model could not answer.
        progress: Shows how far the job is.
        engine: Models that are there already: one for all roles, or one by role.
        **given: Single settings, which win over `settings`.

    Raises:
        CaiError: No conflict, an unknown principle or one that cannot be revised and assessed by,
            or a model that does not answer.
    """
    method = load_method(settings_of(settings, given))
    constitution = method.constitution
    cases = _written(constitution, between, write) if between else _given(constitution)
    folder = Path(out or Path("outputs") / "conflicts" / constitution.name)
    outcomes = ask_all(
        method,
        ["policy", "critic", "reviser"],
        cases,
        partial(_outcome, method),
        folder=folder,
        phase="trying conflicts",
        engine=engine,
        retry_failed=retry_failed,
        progress=progress,
    ).results
    pairs = dict.fromkeys(o.between for o in outcomes)
    return ConflictReport(
        constitution=constitution.name,
        digest=constitution.digest,
        pairs=tuple(_figures(p, [o for o in outcomes if o.between == p]) for p in pairs),
        outcomes=tuple(outcomes),
    )


def _given(constitution: Constitution) -> list[tuple[str, _Case]]:
    if not constitution.conflicts:
        raise CaiError(
            f"{constitution.name}: has no `conflicts`",
            "Add some to the file, or let the model write prompts: --between ID,ID.",
        )
    return [
        (digest([*c.between, c.prompt])[:16], _Case(*_two(constitution, c.between), c.prompt))
        for c in constitution.conflicts
    ]


def _written(
    constitution: Constitution, between: Sequence[Sequence[str]], write: int
) -> list[tuple[str, _Case]]:
    return [
        (f"{' '.join(pair)} {number}", _Case(*_two(constitution, pair), None, number))
        for pair in between
        for number in range(1, write + 1)
    ]


def _two(constitution: Constitution, ids: Sequence[str]) -> tuple[Principle, Principle]:
    usable = {p.id: p for p in constitution.principles if p.revises and p.assessable}
    if len(set(ids)) != 2 or not set(ids) <= usable.keys():
        raise CaiError(
            f"{','.join(ids)}: not two principles of {constitution.name} to revise and assess by",
            f"Name two of: {', '.join(usable)}.",
        )
    return usable[ids[0]], usable[ids[1]]


async def _outcome(method: Method, case: _Case, calls: RowCalls) -> ConflictOutcome:
    between, text = (case.first.id, case.second.id), case.prompt or ""
    try:
        text = case.prompt or await _prompt(method, case, calls)
        prompt = Prompt(id=digest(text)[:16], messages=(user(text),), kind="unknown")
        chain = RevisionChain(prompt=prompt, response=await respond(prompt, method, calls))
        revisions, breaks = [], []
        for n, (by, other) in enumerate(((case.first, case.second), (case.second, case.first)), 1):
            step = await revise_by(by, chain, n, method, calls)
            revisions.append(chain.plus(step).final)
            (found,) = await assess(prompt, revisions[-1], [other], method, calls)
            breaks.append(found.violates)
    except Rejected as reason:
        error = f"{reason.stage}: {reason.error}: {reason.message}"
        return ConflictOutcome(between=between, prompt=text, error=error)
    return ConflictOutcome(
        between=between,
        prompt=text,
        by_first=revisions[0],
        by_second=revisions[1],
        first_breaks_second=breaks[0],
        second_breaks_first=breaks[1],
    )


async def _prompt(method: Method, case: _Case, calls: RowCalls) -> str:
    """A prompt by the model in which the two principles pull apart."""
    words = {"first": in_words(case.first), "second": in_words(case.second)}
    asked = user(method.templates.render("conflict", **words, number=str(case.number)))

    def problem(completion: Completion) -> str | None:
        return defect(completion, completion.text, (asked.content,))

    sampling = method.settings.sampling("policy")
    drawn = await calls.generate("respond", 0, [asked], sampling, problem, ordinal=case.number)
    return drawn.text.strip()


def _figures(between: tuple[str, str], outcomes: Sequence[ConflictOutcome]) -> ConflictFigures:
    tried = [o for o in outcomes if o.error is None]
    disagree = sum(o.first_breaks_second or o.second_breaks_first for o in tried)
    low, high = statistics.wilson(disagree, len(tried)) if tried else (0.0, 1.0)
    return ConflictFigures(
        between=between,
        prompts=len(tried),
        failed=len(outcomes) - len(tried),
        first_breaks_second=sum(o.first_breaks_second for o in tried),
        second_breaks_first=sum(o.second_breaks_first for o in tried),
        disagree=disagree / len(tried) if tried else 0.0,
        low=low,
        high=high,
    )
