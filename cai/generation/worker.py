"""What runs on a Ray worker: models, and rows made by them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from cai.engines.base import Engine
from cai.engines.labels import Labels
from cai.errors import CaiError
from cai.method import Method
from cai.records import Prompt
from cai.roles import expect, make_engines, settle_labels
from cai.row import make_row
from cai.runtime import servers
from cai.runtime.calls import Calls
from cai.runtime.tables import Store
from cai.runtime.tally import Tally
from cai.runtime.work import distinct, schedulers_of, watch


class Reading:
    """A store of which a replay reads; keeps what was found, for the worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.entries: dict[bytes, str] = {}
        self.attempts: dict[str, int] = {}

    def get(self, key: bytes) -> str | None:
        value = self._store.get(key)
        if value is not None:
            self.entries[key] = value
        return value

    def first_attempt(self, address: str) -> int:
        first = self._store.first_attempt(address)
        if first:
            self.attempts[address] = first
        return first

    async def put(self, entries: Mapping[bytes, str]) -> None:
        raise NotImplementedError("a replay writes nothing")

    async def raise_attempt(self, address: str, first: int) -> None:
        raise NotImplementedError("a replay writes nothing")


@dataclass
class Notes:
    """A worker's store of one row: what is known of it, and what comes new."""

    entries: dict[bytes, str]
    attempts: dict[str, int]
    new: dict[bytes, str] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)

    def get(self, key: bytes) -> str | None:
        return self.new.get(key) or self.entries.get(key)

    async def put(self, entries: Mapping[bytes, str]) -> None:
        self.new.update(entries)

    def first_attempt(self, address: str) -> int:
        return self.raised.get(address) or self.attempts.get(address, 0)

    async def raise_attempt(self, address: str, first: int) -> None:
        self.raised[address] = first


@dataclass(frozen=True)
class Task:
    """A row to make, with what is known of it."""

    position: int
    prompt: Prompt
    entries: dict[bytes, str]
    attempts: dict[str, int]
    labels: dict[str, Labels]


@dataclass
class Result:
    """What a worker made of a row, also where it had to stop."""

    calls: dict[bytes, str]
    raised: dict[str, int]
    labels: dict[str, Labels]
    tally: Tally
    failed: bool
    error: tuple[str, str] | None = None


class Worker:
    """Runs in an actor: the models of all roles, and rows through the chain at once."""

    def __init__(
        self,
        method: Method,
        rows: int,
        retry_failed: bool,
        known: servers.Found | None = None,
    ) -> None:
        self._method, self._rows, self._retry_failed = method, rows, retry_failed
        self._known = known or {}
        self._labels: dict[str, Labels] = {}
        self._watching: list[asyncio.Task[None]] = []

    async def ready(self) -> tuple[str, dict[str, str], tuple[str, str] | None]:
        """Our version and each role's model here, or why there is none."""
        try:
            engines = make_engines(self._method.settings)
            self._engines: dict[str, Engine] = {r: engines[r] for r in self._method.roles}
            expect(self._engines, self._method)
            servers.remember(self._engines, [self._known])
            self._identities: dict[str, str] = {r: e.identity for r, e in self._engines.items()}
        except CaiError as error:
            return version("constitutional-ai"), {}, (error.message, error.hint)
        self._schedulers = schedulers_of(self._engines, self._rows, self._settle_labels)
        self._distinct = distinct(self._schedulers)
        self._watching = [asyncio.create_task(watch(s)) for s in self._distinct]
        return version("constitutional-ai"), self._identities, None

    def _settle_labels(self, engine: Engine) -> None:
        settle_labels(engine, self._engines, self._method, self._labels)

    async def row(self, task: Task) -> Result:
        """The row and its calls; a model that is gone is told with the calls made until then."""
        notes = Notes(task.entries, task.attempts)
        for identity, pick in task.labels.items():
            self._labels.setdefault(identity, pick)
        calls = Calls(
            notes,
            self._method.settings.seed,
            self._identities,
            self._schedulers,
            retry_failed=self._retry_failed,
            labels=self._labels,
        )
        failed, problem = True, None
        try:
            row = await make_row(
                task.prompt, self._method, calls.row(task.prompt.id, task.position)
            )
            failed = bool(row.failures)
        except CaiError as error:
            problem = (error.message, error.hint)
        for scheduler in self._distinct:
            scheduler.row_done()
        return Result(notes.new, notes.raised, dict(self._labels), calls.tally, failed, problem)

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        for scheduler in self._distinct:
            await scheduler.engine.close()
