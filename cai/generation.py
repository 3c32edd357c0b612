"""The main job: prompts through the chain into a run folder; the journal makes it resumable."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from cai.card import card
from cai.config import Settings, resolve
from cai.dataset import replacing, write_datasets
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.inputs import digest_of_prompts, load_method, make_engine, prompts_of
from cai.plan import ROLES, Plan, changes_since, last_method, plan_rows, replay
from cai.records import Failure, Manifest, Prompt, RevisionChain
from cai.revision import ANSWER_PREFIX, LABELS, Method, revise
from cai.run import Run
from cai.runtime.calls import Calls, MissingCall, Rejected
from cai.runtime.journal import UNUSABLE, Journal, Lock
from cai.runtime.progress import Progress, Quiet, counted
from cai.runtime.scheduler import Scheduler

REFRESH = 5.0  # seconds between two questions to the engine how many calls it holds
_PACKAGES = ("constitutional-ai", "torch", "transformers", "datasets", "pyarrow", "numpy")


def generate(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    reuse: Sequence[str | Path] = (),
    retry_failed: bool = False,
    approve: Callable[[Plan], bool] = lambda plan: False,
    progress: Progress | None = None,
    engine: Engine | None = None,
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
        engine: A model that is there already, instead of `settings.model`.
        **given: Single settings (`model="…"`), which win over `settings`.

    Raises:
        CaiError: Bad settings or input (nothing is written), a folder in use or a full disk, a
            model that does not load or answer, a change that was not approved.
    """
    if not isinstance(settings, Settings):
        settings = resolve({**(settings or {}), **given})
    elif given:
        settings = resolve({**settings.model_dump(exclude_unset=True), **given})
    method = load_method(settings)
    engine = engine or make_engine(settings)
    folder = Path(out) if out is not None else Path("outputs") / method.constitution.name
    try:
        with _opened(folder, reuse) as (journal, reused):
            job = _Job(folder, method, engine, journal, reused, retry_failed, progress or Quiet())
            job.prepare(approve)
            started = time.time()
            _run(job.make_calls())
            job.write(started)
    except sqlite3.Error as error:
        raise CaiError(f"{folder / 'calls.sqlite'}: {error}", UNUSABLE) from error
    except OSError as error:
        raise CaiError(
            f"{error.filename or folder}: {error.strerror or error}",
            "What is in the journal is safe: mend it and run the same command again.",
        ) from error
    return Run.load(folder)


@contextmanager
def _opened(folder: Path, reuse: Sequence[str | Path]) -> Iterator[tuple[Journal, list[Journal]]]:
    """The journals of a run and of those it reuses; a folder that comes to nothing goes again."""
    new = not folder.exists()
    if not new and not folder.is_dir():
        raise CaiError(f"{folder}: a file, not a folder", "Choose another --out.")
    if not new and any(folder.iterdir()) and not (folder / "calls.sqlite").is_file():
        foreign = [p.name for p in folder.iterdir() if p.name != ".lock"]
        if foreign:
            raise CaiError(
                f"{folder}: holds other files ({foreign[0]}) and is not a run folder",
                "Choose an empty or new folder for --out.",
            )
    others = []
    for path in reuse:
        if not (Path(path) / "calls.sqlite").is_file():
            raise CaiError(f"{path}: not a run folder", "--reuse takes the folder of a run.")
        others.append(Journal(Path(path) / "calls.sqlite", readonly=True))
    with ExitStack() as stack:
        for other in others:
            stack.callback(other.close)
        lock = Lock(folder)
        stack.callback(lock.release)
        journal = Journal(folder / "calls.sqlite")
        stack.callback(journal.close)
        try:
            yield journal, others
        except BaseException:
            if new and journal.meta("settings") is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise


@dataclass
class _Job:
    folder: Path
    method: Method
    engine: Engine
    journal: Journal
    reuse: Sequence[Journal]
    retry_failed: bool
    progress: Progress
    calls: Calls = field(init=False)
    replayed: Calls = field(init=False)
    facts: dict[str, Any] = field(init=False)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.method.settings

    def prepare(self, approve: Callable[[Plan], bool]) -> None:
        """Read the prompts if they changed, say what a changed setting costs, and settle on it."""
        identities = dict.fromkeys(ROLES, self.engine.identity)
        self.calls = Calls(self.journal, self.settings.seed, identities)
        known = self.journal.meta("source")
        last = last_method(self.journal)[0].settings if known is not None else None
        found = digest_of_prompts(self.settings, last)
        staged = known is None or found not in (None, known["digest"])
        source = {"digest": found, "duplicates": 0} if staged else known
        if staged:
            self.progress.phase("reading prompts")
            read = counted(prompts_of(self.settings), self.progress)
            source["duplicates"] = self.journal.ingest(read, self.settings.limit)
        if known is not None:
            self._settle_changes(staged, approve)
        facts = {
            "settings": self.settings.model_dump(mode="json"),
            "constitution": self.method.constitution.model_dump(mode="json"),
            "templates": dict(self.method.templates.texts),
            "identities": identities,
            "source": source,
        }
        self.journal.adopt(facts, staged=staged)
        self.facts = facts

    def _settle_changes(self, staged: bool, approve: Callable[[Plan], bool]) -> None:
        plan = Plan(
            changes=changes_since(
                self.journal, self.method, self.engine.identity, new_prompts=staged
            )
        )
        if not plan.changes:
            return
        table = "staged" if staged else "prompts"
        if staged:
            plan.replaced = self.journal.count_missing(self.journal)
        self.progress.phase("comparing with the rows that stand")
        prompts = counted(self._prompts(table), self.progress)
        calls = Calls(self.journal, self.settings.seed, self.calls.identities, reuse=self.reuse)
        plan_rows(plan, prompts, (self.method, calls), last_method(self.journal, published=True))
        if not approve(plan) and plan.needs_consent:
            changed = ", ".join(f"{key}: {what}" for key, what in plan.changes.items())
            raise CaiError(
                f"{self.folder}: {plan.replaced:,} rows that stand here would be replaced, "
                f"because of {changed}",
                "Say --yes to go on, or choose another --out (with --reuse to keep the calls).",
            )

    def _prompts(self, table: str = "prompts") -> Iterator[Prompt]:
        return (prompt for _, prompt in self.journal.prompts(table))

    async def make_calls(self) -> None:
        """Take every prompt through the chain; what the journal has is not asked again."""
        rows = sum(self.journal.kinds().values())
        scheduler = Scheduler(self.engine, rows, self._check_engine)
        self.calls.schedulers = dict.fromkeys(ROLES, scheduler)
        self.calls.reuse, self.calls.retry_failed = self.reuse, self.retry_failed
        self.progress.phase("generating", rows)
        started = time.monotonic()
        prompts = self.journal.prompts()
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(_watch(scheduler))
                workers = [
                    group.create_task(self._worker(prompts, scheduler))
                    for _ in range(min(rows, self.settings.max_open_rows))
                ]
                if workers:
                    await asyncio.wait(workers)
                watch.cancel()
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
        finally:
            await self.engine.close()
            self.seconds["generate"] = time.monotonic() - started

    def _check_engine(self, engine: Engine) -> None:
        if self.settings.critique and self.settings.verdict:
            engine.check_labels(LABELS, ANSWER_PREFIX)

    async def _worker(self, prompts: Iterator[tuple[int, Prompt]], scheduler: Scheduler) -> None:
        """One open row after another."""
        for position, prompt in prompts:
            failed = False
            try:
                row = self.calls.row(prompt.id, position)
                await revise(prompt, self.method, row)
            except Rejected:
                failed = True  # the journal has the reason; the datasets' pass writes it down
            scheduler.row_done()
            self.progress.advance(failed=failed, tally=self.calls.tally)

    def _outcomes(self) -> Iterator[RevisionChain | Failure]:
        """Every row again from the journal alone, in the order of the prompts."""
        yield from self.journal.ingest_failures()
        self.replayed = Calls(self.journal, self.settings.seed, self.calls.identities)
        for prompt in self._prompts():
            try:
                yield replay(prompt, self.method, self.replayed)
            except MissingCall:
                raise CaiError(
                    f"{self.folder}: the journal lacks a call of prompt {prompt.id}",
                    "Run the same command again.",
                ) from None

    def write(self, started: float) -> None:
        """Write the datasets, the settings, the manifest and the card."""
        self.progress.phase("writing datasets", sum(self.journal.kinds().values()))
        begun = time.monotonic()
        counts = write_datasets(
            self.folder,
            counted(self._outcomes(), self.progress),
            sft_steps=self.settings.sft_steps,
            test_share=self.settings.test_share,
        )
        self.seconds["write"] = time.monotonic() - begun
        manifest = self._manifest(counts, started)
        constitution = self.method.constitution.model_dump(mode="json", exclude_defaults=True)
        constitution["version"] = 1
        for name, content in (
            ("config.yaml", self.settings.model_dump(mode="json")),
            ("constitution.yaml", constitution),
        ):
            with replacing(self.folder / name) as file:
                yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True, width=100)
        with replacing(self.folder / "README.md") as file:
            file.write(card(self.folder, self.settings, self.method.constitution, manifest))
        with replacing(self.folder / "manifest.json") as file:
            json.dump(manifest.model_dump(mode="json"), file, indent=2)
            file.write("\n")
        self.journal.set_meta({"published": self.facts})

    def _manifest(self, counts: Counter[str], started: float) -> Manifest:
        tally, whole = self.calls.tally, self.replayed.tally
        kinds = self.journal.kinds()
        source = self.journal.meta("source")
        return Manifest(
            constitution={
                "name": self.method.constitution.name,
                "digest": self.method.constitution.digest,
            },
            templates=self.method.templates.digests,
            models=dict(self.calls.identities),
            seed=self.settings.seed,
            packages=_versions(),
            prompts={**source, "rows": sum(kinds.values()), "kinds": kinds},
            counts=dict(sorted(counts.items())),
            calls={"made": tally.made, "reused": tally.reused},
            tokens={
                role: {"input": whole.input_tokens[role], "output": whole.output_tokens[role]}
                for role in sorted(whole.input_tokens)
            },
            timings={
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
                "tokens_written": sum(tally.output_tokens.values()),
                "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            },
        )


def _run(job: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run`, in a thread of its own where a loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(job)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, job).result()


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _watch(scheduler: Scheduler) -> None:
    """Follow an engine whose capacity changes."""
    while True:
        await asyncio.sleep(REFRESH)
        if scheduler.started:
            await scheduler.refresh()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
