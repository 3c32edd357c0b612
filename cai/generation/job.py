"""The main job: prompts through the chain into a run folder; the journal makes it resumable."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cai.config import Settings, settings_of
from cai.dataset.run import Run
from cai.engines.base import Absent, Engine
from cai.errors import CaiError
from cai.files import JOURNAL
from cai.generation.end import limits_of, publish
from cai.generation.going_on import method_of_run
from cai.generation.plan import REUSE_HINT, Plan
from cai.generation.start import Job, Settled, first_start, settle
from cai.generation.tombstones import refuse_half_forgotten
from cai.method import Method
from cai.records import Prompt
from cai.roles import make_engines, names_of, settle_labels
from cai.row import make_row
from cai.runtime import servers
from cai.runtime.folder import has_journal, reading, working
from cai.runtime.journal import UNUSABLE
from cai.runtime.price import Price
from cai.runtime.progress import Progress, Quiet
from cai.runtime.work import run, schedulers_of, work_through


def generate(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    reuse: Sequence[str | Path] = (),
    retry_failed: bool = False,
    approve: Callable[[Plan], bool] = lambda plan: False,
    progress: Progress | None = None,
    engine: Engine | Mapping[str, Engine] | None = None,
    price: str | None = None,
    **given: Any,
) -> Run:
    """Make the data of a run, or go on with it, and write its datasets.

    Args:
        settings: `Settings` or their values.
        out: The run folder; `outputs/<name of the constitution>` by default.
        reuse: Run folders whose calls are used where they fit.
        retry_failed: Draw again what failed before.
        approve: Asked before rows that stand in the folder are replaced by a changed setting.
        progress: Shows how far the job is.
        engine: A model that is there already, instead of those of the settings: for all roles, or
            one by role.
        price: `IN,OUT` per million tokens or `N/h`; the manifest then says what the rows cost.
        **given: Single settings (`model="…"`), which win over `settings`.

    Raises:
        CaiError: Bad settings or input (nothing is written), a folder in use or a full disk, a
            model that does not load or answer, a change that was not approved.
    """
    settings = settings_of(settings, given)
    if settings.distributed is not None and engine is not None:
        raise CaiError(
            "distributed workers make their models themselves, by the names in the settings",
            "Leave `engine` out, or `distributed`.",
        )
    cost = Price.parse(price) if price is not None else None
    limits_of(settings)  # what is wrong with them is told before anything is made
    method, folder = method_of_run(settings, out)
    return run_into(
        folder,
        method,
        make_engines(method.settings, engine),
        reuse=reuse,
        retry_failed=retry_failed,
        approve=approve,
        progress=progress,
        named=engine is None,
        price=cost,
    )


def run_into(
    folder: Path,
    method: Method,
    engines: Mapping[str, Engine],
    *,
    reuse: Sequence[str | Path] = (),
    retry_failed: bool = False,
    approve: Callable[[Plan], bool] = lambda plan: False,
    progress: Progress | None = None,
    named: bool = True,
    price: Price | None = None,
) -> Run:
    """As `generate`, by a method that is there; `named` engines are called as in its settings.

    Raises:
        CaiError: As `generate`.
    """
    engines = {role: engines[role] for role in method.roles}
    with ExitStack() as stack:
        stack.enter_context(_told_as_ours(folder))
        reused = tuple(stack.enter_context(reading(other, REUSE_HINT)) for other in reuse)
        journal = stack.enter_context(working(folder))
        refuse_half_forgotten(folder)
        job = Job(folder, engines, journal, reused, retry_failed, progress or Quiet())
        settled = settle(job, method, approve)
        started = first_start(journal)
        seconds = _generated(job, settled)
        names = names_of(method.settings, engines, given=not named)
        publish(job, settled, names, started, seconds, price)
    return Run.load(folder)


@contextmanager
def _told_as_ours(folder: Path) -> Iterator[None]:
    """Tell errors of files as ours, with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise CaiError(f"{folder / JOURNAL}: {error}", UNUSABLE) from error
    except OSError as error:
        raise CaiError(
            f"{error.filename or folder}: {error.strerror or error}",
            "What is in the journal is safe: make room or rights, and run the same command again."
            if has_journal(folder)
            else "Choose another --out, where you may write.",
        ) from error


def _generated(job: Job, settled: Settled) -> float:
    """Take every prompt through its row; the seconds that it took, which are kept."""
    rows = sum(job.journal.kinds().values())
    job.progress.phase("generating", rows)
    far = settled.method.settings.distributed is not None
    began = time.monotonic()
    try:
        run(_make_far(job, settled, rows) if far else _make(job, settled, rows))
    finally:
        seconds = time.monotonic() - began
        spent = (job.journal.meta("seconds") or 0.0) + seconds
        job.journal.set_meta({"seconds": spent})
    return seconds


async def _make(job: Job, settled: Settled, rows: int) -> None:
    """Every row, by the models here; what the journal has is not asked again."""
    method, journal = settled.method, job.journal

    def labels_of(engine: Engine) -> None:
        if settle_labels(engine, job.engines, method, settled.labels):
            journal.set_meta({"labels": settled.labels})

    calls = replace(
        settled.calls,
        schedulers=schedulers_of(job.engines, rows, labels_of),
        # Where no model can be asked, what failed has failed.
        reuse_errors=all(isinstance(e, Absent) for e in job.engines.values()),
    )

    async def make(item: tuple[int, Prompt]) -> None:
        position, prompt = item
        row = await make_row(prompt, method, calls.row(prompt.id, position))
        # The journal has the reasons; the datasets' pass writes them down.
        job.progress.advance(failed=bool(row.failures), tally=calls.tally)

    at_once = min(rows, method.settings.max_open_rows)
    try:
        await work_through(journal.prompts(), make, calls.schedulers or {}, at_once)
    finally:
        journal.set_meta({"servers": servers.abilities_of(job.engines)})


async def _make_far(job: Job, settled: Settled, rows: int) -> None:
    """As `_make`, by workers on a Ray cluster."""
    from cai.generation.distributed import Distributed
    from cai.generation.workers import Workers

    method, calls, settings = settled.method, settled.calls, settled.method.settings
    workers = Workers(
        method,
        calls.identities,
        rows=rows,
        retry_failed=job.retry_failed,
        warn=job.progress.warn,
        known=servers.abilities_of(job.engines),
    )
    far = Distributed(
        method, calls, workers, lambda: job.journal.set_meta({"labels": settled.labels})
    )

    async def make(item: tuple[int, Prompt]) -> None:
        failed = await far.make(*item)
        job.progress.advance(failed=failed, tally=calls.tally)

    at_once = min(rows, settings.max_open_rows * settings.replicas)
    try:
        await work_through(job.journal.prompts(), make, {}, at_once)
    finally:
        await workers.close()
