"""`cai prompts write`: prompts for a constitution, into a file that can be gone on with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from cai.checks.asking import written_after
from cai.config import Settings
from cai.constitution.records import Principle
from cai.engines.base import Engine
from cai.engines.naming import display_name
from cai.engines.server.abilities import Trial
from cai.errors import CaiError
from cai.prompting.going_on import first_there, going_on, write_lines
from cai.prompting.lines import line_of
from cai.prompting.records import BARREN, KINDS, PER_SITUATION, TRIES, Outcome, Slot, Written
from cai.prompting.request import Request
from cai.prompting.situations import BATCH
from cai.prompting.verify import SAMPLES, Verified, verify
from cai.prompting.words import Words
from cai.prompting.writing import Writing
from cai.records import digest
from cai.roles import make_engines, on_its_day
from cai.runtime.calls import RowCalls
from cai.runtime.progress import Progress, Quiet
from cai.runtime.servers import Server
from cai.runtime.small_jobs import call_all

_CHARACTERS = 4  # of a token, about
_ANSWER = 60  # tokens of a prompt, about


class Result(NamedTuple):
    """The prompts of a file and what came of the others."""

    written: list[Written]
    outcome: Outcome
    request: Request
    writer: str
    verified: Verified | None = None
    lines: int = 0  # of the file: those that stood there already may be more

    @property
    def in_file(self) -> list[Written]:
        """Those that stand in the file: harmful borderline prompts are left out."""
        harmful = self.verified.harmful if self.verified is not None else ()
        return [one for n, one in enumerate(self.written) if n not in harmful]

    @property
    def by_principle(self) -> list[tuple[str, list[int]]]:
        """Prompts in the file, by principle and kind."""
        counts = Counter((one.slot.principle.id, one.kind) for one in self.in_file)
        return [(p.id, [counts[p.id, kind] for kind in KINDS]) for p in self.request.principles]


class Estimate(NamedTuple):
    """What a job takes: calls, and tokens read and written, at least and at most."""

    calls: tuple[int, int]
    read: tuple[int, int]
    written: tuple[int, int]


def write_prompts(
    request: Request,
    *,
    progress: Progress | None = None,
    retry_failed: bool = False,
    probe: str | None = None,
    engines: Mapping[str, Engine] | None = None,
) -> Result:
    """Write the prompts, or go on with the file that is there.

    The calls are kept beside the file; the same request again makes none, and a larger count only
    those that are new. The lines that stand in the file stay.

    Args:
        request: What is to be written.
        progress: Shows how far it is.
        retry_failed: Ask again what failed.
        probe: A model by whose answers the kinds are verified.
        engines: Models that are there already, by `writer`, `probe` and `critic`.

    Raises:
        CaiError: Nothing came, the file holds other lines, or the writer does not answer.
    """
    progress, engines = progress or Quiet(), engines or {}
    settings = on_its_day(request.settings, request.calls)
    writer = make_engines(settings, engines.get("writer"))["policy"]
    result = _written(request, settings, writer, progress, retry_failed=retry_failed)
    if probe is not None:
        found = verify(
            result.written,
            request,
            probe,
            progress=progress,
            retry_failed=retry_failed,
            engines=engines,
        )
        result = result._replace(verified=found)
    with written_after(request.calls, "writer"):
        lines = write_lines(request.out, partial(_lines, result))
    return result._replace(lines=lines)


def _written(
    request: Request, settings: Settings, writer: Engine, progress: Progress, *, retry_failed: bool
) -> Result:
    sampling = settings.sampling("policy")
    if isinstance(writer, Server):
        writer.trial = Trial((sampling,), ())
    words = Words(settings, request.domain, request.language, request.manner)
    jobs: list[Writing] = []
    name, there = _name(settings, writer), first_there(request.out)

    def line(one: Written) -> dict[str, Any]:
        return line_of(one, request.constitution.name, name, settings.seed)

    async def whole(_: None, row: RowCalls) -> list[Written]:
        seen = going_on(there, request.out, line)
        # A replay, which tells whether anything is missing, is told to nobody.
        told = progress if row.is_live else Quiet()
        principles = _ordered(request.principles)
        job = Writing(principles, words, sampling, request.avoid, request.language, told, seen)
        jobs.append(job)
        return await job.write(request.count, row)

    progress.phase("writing", request.count)
    (written,), _ = call_all(
        request.calls,
        {"policy": writer},
        [("prompts", None)],
        whole,
        seed=settings.seed,
        at_once=1,
        retry_failed=retry_failed,
        progress=Unheard(progress),
        day=settings.date,
    )
    result = Result(written, jobs[-1].outcome, request, name)
    if not written:
        reasons = ", ".join(f"{n:,} {why}" for why, n in result.outcome.refused.most_common())
        left = "; ".join(f"{name}: {why}" for name, why in result.outcome.left.items())
        hint = "Try another writer (--model), or look at its calls."
        raise CaiError(f"no prompt came of it ({reasons or left})", hint)
    return result


class Unheard:
    """Progress that is told of prompts, and not of the one job that writes all of them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def phase(self, name: str, total: int | None = None) -> None:
        self._progress.phase(name, total)

    def advance(self, *, failed: bool = False, tally: object = None) -> None:
        """Say nothing: the job is not a prompt."""

    def warn(self, message: str) -> None:
        self._progress.warn(message)

    def close(self) -> None:
        self._progress.close()


def _ordered(principles: Sequence[Principle]) -> list[Principle]:
    """The principles, those of a lower order first."""
    return sorted(principles, key=lambda p: p.order)


def _name(settings: Settings, writer: Engine) -> str:
    named = display_name(settings.model_of("policy"))
    return f"{named} ({digest(writer.identity)[:12]})"


def rows_of(result: Result) -> Iterator[dict[str, Any]]:
    """The lines of the file."""
    name, verified = result.request.constitution.name, result.verified
    for n, one in enumerate(result.written):
        if verified is None or n not in verified.harmful:
            easy = verified is not None and n in verified.easy
            yield line_of(one, name, result.writer, result.request.settings.seed, easy=easy)


def _lines(result: Result) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(result))


def probed(request: Request) -> tuple[int, int]:
    """The answers that a probe gives, and the questions about them: two each, of no rule."""
    weights = [(p.weight, p.check is None) for p in request.principles]
    share = sum(w for w, worded in weights if worded) / sum(w for w, _ in weights)
    answers = SAMPLES * request.count * 2 // 3
    return answers, round(2 * answers * share)


def estimate(request: Request) -> Estimate:
    """What the job takes if nothing is drawn again, and if everything is; from its first requests.

    Tokens are counted as four characters each.
    """
    words = Words(request.settings, request.domain, request.language, request.manner)
    principles = _ordered(request.principles)
    firsts = [Slot(p, False, 0, "x " * 15, 0) for p in principles]
    sizes = [len(words.prompt(slot, 0)[0].content) for slot in firsts]
    read = sum(sizes) // len(sizes) // _CHARACTERS
    slots = -(-request.count * 2 // 3)
    batches = max(len(principles), -(-slots // (PER_SITUATION * BATCH)))
    calls = (request.count + batches, request.count * TRIES + batches * BARREN)
    return Estimate(
        calls,
        (calls[0] * read, calls[1] * read),
        (calls[0] * _ANSWER, calls[1] * _ANSWER),
    )
