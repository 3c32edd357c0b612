"""The main job: prompts through the chain into a run folder; the journal makes it resumable."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cai.checks.results import judge_warning, with_judge
from cai.config import Settings, resolve
from cai.constitution.yaml_file import dumped
from cai.dataset.run import Run
from cai.dataset.schema import SPLITS
from cai.dataset.write import write_datasets
from cai.engines import labels
from cai.engines.base import CONTROL_TOKENS, Absent, Engine
from cai.errors import CaiError
from cai.files import replacing
from cai.generation.ingest import digest_of_prompts, ingest, run_folder
from cai.generation.manifest import package_versions
from cai.generation.plan import Plan, changes_since, last_method, plan_rows
from cai.method import Method, load_method
from cai.publish.card import card
from cai.records import Failure, Manifest, Prompt, Row, named
from cai.roles import expect, make_engines, names_of, on_its_day, settle_labels
from cai.row import make_row, replay
from cai.runtime import servers
from cai.runtime.calls import Calls, Tally
from cai.runtime.folder import opened
from cai.runtime.journal import UNUSABLE, Journal
from cai.runtime.price import Price
from cai.runtime.progress import Progress, Quiet, counted
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
    if not isinstance(settings, Settings):
        settings = resolve({**(settings or {}), **given})
    elif given:
        settings = resolve({**settings.model_dump(exclude_unset=True), **given})
    if settings.distributed is not None and engine is not None:
        raise CaiError(
            "distributed workers make their models themselves, by the names in the settings",
            "Leave `engine` out, or `distributed`.",
        )
    cost = Price.parse(price) if price is not None else None
    method = load_method(settings)
    folder = run_folder(method, out)
    settings = on_its_day(settings, folder)
    engines = make_engines(settings, engine)
    method = replace(method, settings=settings)
    engines = {role: engines[role] for role in method.roles}
    try:
        with opened(folder, reuse) as (journal, reused):
            shown = progress or Quiet()
            names = names_of(settings, engines, given=engine is not None)
            job = _Job(folder, method, engines, names, journal, reused, retry_failed, shown, cost)
            job.prepare(approve)
            started = time.time()
            run(job.make_calls() if settings.distributed is None else job.make_calls_far())
            job.write(started)
    except sqlite3.Error as error:
        raise CaiError(f"{folder / 'calls.sqlite'}: {error}", UNUSABLE) from error
    except OSError as error:
        kept = (folder / "calls.sqlite").is_file()
        raise CaiError(
            f"{error.filename or folder}: {error.strerror or error}",
            "What is in the journal is safe: make room or rights, and run the same command again."
            if kept
            else "Choose another --out, where you may write.",
        ) from error
    return Run.load(folder)


@dataclass
class _Job:
    folder: Path
    method: Method
    engines: Mapping[str, Engine]
    names: Mapping[str, str]
    journal: Journal
    reuse: Sequence[Journal]
    retry_failed: bool
    progress: Progress
    price: Price | None
    calls: Calls = field(init=False)
    replayed: Calls = field(init=False)
    facts: dict[str, Any] = field(init=False)
    seconds: dict[str, float] = field(default_factory=dict)
    controls: int = field(init=False)  # prompts that a server reads otherwise than we do

    @property
    def settings(self) -> Settings:
        return self.method.settings

    def prepare(self, approve: Callable[[Plan], bool]) -> None:
        """Read the prompts if they changed, say what a changed setting costs, and settle on it."""
        known = self.journal.meta("source")
        last = last_method(self.journal)[0].settings if known is not None else None
        found = digest_of_prompts(self.settings, last)
        staged = known is None or found not in (None, known["digest"])
        source = {"digest": found, "duplicates": 0} if staged else known
        if staged:
            self.progress.phase("reading prompts")
            source["duplicates"] = ingest(self.journal, self.settings, self.progress)
        identities = self._settle_identities("staged" if staged else "prompts")
        self.method = with_judge(self.method, lambda: identities.get("judge"))
        if known is not None:
            self._settle_changes(staged, approve)
        facts = {
            "settings": self.settings.model_dump(mode="json"),
            "constitution": self.method.constitution.model_dump(mode="json"),
            "templates": dict(self.method.templates.texts),
            "identities": identities,
            "judge": self.method.judge.model_dump(),
            "source": source,
            "servers": servers.found(self.engines),
        }
        warning = judge_warning(self.method)
        if warning is not None:
            self.progress.warn(warning)
        self.journal.adopt(facts, staged=staged)
        self.facts = facts

    def _settle_identities(self, table: str) -> dict[str, str]:
        """The models' identities; a server is asked first, unless it or all its calls are known."""
        expect(self.engines, self.method)
        servers.recall(self.engines, (self.journal, *self.reuse))
        self.calls = Calls(self.journal, self.settings.seed, {})
        for journal in (*self.reuse, self.journal):
            self.calls.labels.update(labels.from_meta(journal.meta("labels")))

        def whole(identities: Mapping[str, str]) -> bool:
            if self.journal.meta("identities") is None:
                return False
            calls = replace(self.calls, identities=identities, reuse=self.reuse, tally=Tally())
            rows = (replay(prompt, self.method, calls) for prompt in self._prompts(table))
            return not any(row.missing or (row.failures and self.retry_failed) for row in rows)

        identities = servers.settle(self.engines, self.progress.warn, whole)
        self.calls.identities = identities
        if servers.unasked(self.engines) and self.journal.has_call('%"method":"to%_logprobs"%'):
            self.progress.warn(servers.FIRST_LABELS)
        return identities

    def _settle_changes(self, staged: bool, approve: Callable[[Plan], bool]) -> None:
        plan = Plan(
            changes=changes_since(
                self.journal, self.method, self.calls.identities, new_prompts=staged
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
        """Take every prompt through its row; what the journal has is not asked again."""
        rows = sum(self.journal.kinds().values())
        schedulers = schedulers_of(self.engines, rows, self._settle_labels)
        self.calls.schedulers = schedulers
        self.calls.reuse, self.calls.retry_failed = self.reuse, self.retry_failed
        # Where no model can be asked, what failed has failed.
        self.calls.reuse_errors = all(isinstance(e, Absent) for e in self.engines.values())
        at_once = min(rows, self.settings.max_open_rows)
        try:
            with self._generating(rows):
                await work_through(self.journal.prompts(), self._make_row, schedulers, at_once)
        finally:
            self.journal.set_meta({"servers": servers.found(self.engines)})

    async def make_calls_far(self) -> None:
        """As `make_calls`, by workers on a Ray cluster."""
        from cai.generation.distributed import Distributed
        from cai.generation.workers import Workers

        rows = sum(self.journal.kinds().values())
        self.calls.reuse, self.calls.retry_failed = self.reuse, self.retry_failed
        workers = Workers(
            self.method,
            self.calls.identities,
            rows=rows,
            retry_failed=self.retry_failed,
            warn=self.progress.warn,
            known=servers.found(self.engines),
        )
        far = Distributed(self.method, self.calls, workers, self._keep_labels)

        async def make(item: tuple[int, Prompt]) -> None:
            failed = await far.make(*item)
            self.progress.advance(failed=failed, tally=self.calls.tally)

        at_once = min(rows, self.settings.max_open_rows * self.settings.replicas)
        try:
            with self._generating(rows):
                await work_through(self.journal.prompts(), make, {}, at_once)
        finally:
            await workers.close()

    @contextmanager
    def _generating(self, rows: int) -> Iterator[None]:
        self.progress.phase("generating", rows)
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds["generate"] = time.monotonic() - started
            spent = (self.journal.meta("seconds") or 0.0) + self.seconds["generate"]
            self.journal.set_meta({"seconds": spent})

    def _settle_labels(self, engine: Engine) -> None:
        """Find labels that serve an engine that has to pick, and keep them with the run."""
        if settle_labels(engine, self.engines, self.method, self.calls.labels):
            self._keep_labels()

    def _keep_labels(self) -> None:
        self.journal.set_meta({"labels": self.calls.labels})

    async def _make_row(self, item: tuple[int, Prompt]) -> None:
        position, prompt = item
        row = await make_row(prompt, self.method, self.calls.row(prompt.id, position))
        # The journal has the reasons; the datasets' pass writes them down.
        self.progress.advance(failed=bool(row.failures), tally=self.calls.tally)

    def _outcomes(self) -> Iterator[Row | Failure]:
        """Every row again from the journal alone, in the order of the prompts."""
        yield from self.journal.ingest_failures()
        self.replayed = Calls(
            self.journal, self.settings.seed, self.calls.identities, labels=self.calls.labels
        )
        served = any(engine.reads_control_tokens for engine in self.engines.values())
        self.controls = 0
        for prompt in self._prompts():
            texts = (message.content for message in prompt.messages)
            self.controls += served and any(map(CONTROL_TOKENS.search, texts))
            row = replay(prompt, self.method, self.replayed)
            if row.missing:
                raise CaiError(
                    f"{self.folder}: the journal lacks a call of prompt {prompt.id}",
                    "Run the same command again.",
                )
            yield row

    def write(self, started: float) -> None:
        """Write the datasets, the settings, the manifest and the card."""
        self.progress.phase("writing datasets", sum(self.journal.kinds().values()))
        begun = time.monotonic()
        counts = write_datasets(
            self.folder,
            counted(self._outcomes(), self.progress),
            self.method,
            judge=named(self.names.get("judge"), self.calls.identities.get("judge", "")),
        )
        self.seconds["write"] = time.monotonic() - begun
        if self.controls:
            self.progress.warn(
                f"{self.controls:,} prompts hold what looks like a special token of a model; "
                "a server reads it as one, not as text"
            )
        manifest = self._manifest(counts, started)
        constitution = self.method.constitution.model_dump(mode="json", exclude_defaults=True)
        constitution["version"] = 1
        for name, content in (
            ("config.yaml", self.settings.model_dump(mode="json")),
            ("constitution.yaml", constitution),
        ):
            with replacing(self.folder / name) as file:
                file.write(dumped(content, 100))
        with replacing(self.folder / "README.md") as file:
            file.write(card(self.folder, self.settings, self.method.constitution, manifest))
        with replacing(self.folder / "manifest.json") as file:
            json.dump(manifest.model_dump(mode="json"), file, indent=2)
            file.write("\n")
        self.journal.set_meta({"published": self.facts})

    def _first_start(self, started: float) -> str:
        """When the run was started first, which its journal keeps."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))
        first = self.journal.meta("started") or now
        self.journal.set_meta({"started": first})
        return str(first)

    def _cost(self, counts: Counter[str], whole: Tally) -> dict[str, Any]:
        """Of all sessions of the run; per row: per row of a dataset to train on."""
        if self.price is None:
            return {}
        seconds = self.journal.meta("seconds") or 0.0
        read, written = whole.input_tokens.total(), whole.output_tokens.total()
        total = self.price.of(read, written, seconds)
        rows = sum(counts.get(f"{n}.{s}", 0) for n in ("sft", "preferences") for s in SPLITS)
        return {
            "price": self.price.text,
            "seconds": round(seconds, 3),
            "total": total,
            "per_row": total / rows if rows else None,
        }

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
            names=dict(self.names),
            fed={role: told for role, e in self.engines.items() if (told := e.feeding())},
            labels={
                role: list(self.calls.labels.get(identity, labels.DEFAULT))
                for role, identity in self.calls.identities.items()
                if role in self.method.choosing_roles
            },
            judge=self.method.judge.model_dump() if self.method.sources else {},
            seed=self.settings.seed,
            packages=package_versions(),
            prompts={
                **source,
                "rows": sum(kinds.values()),
                "kinds": kinds,
                "control_tokens": self.controls,
            },
            counts=dict(sorted(counts.items())),
            calls={"made": tally.made, "reused": tally.reused},
            tokens={
                role: {
                    "input": whole.input_tokens[role],
                    "output": whole.output_tokens[role],
                    **({"cached": n} if (n := whole.cached_tokens.get(role)) is not None else {}),
                }
                for role in sorted(whole.input_tokens)
            },
            cost=self._cost(counts, whole),
            timings={
                "started": self._first_start(started),
                "seconds": {
                    "generate": round(self.journal.meta("seconds") or 0.0, 3),
                    "write": round(self.seconds["write"], 3),
                },
                "last": {
                    "seconds": round(self.seconds["generate"], 3),
                    "tokens_written": sum(tally.output_tokens.values()),
                },
            },
        )
