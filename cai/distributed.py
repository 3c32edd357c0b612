"""The same chain on many machines: Ray actors, each with models of its own, take rows one by one.

A row that is finished comes back with its calls, which are committed here; the journal never leaves
this machine. Actors are used and not Ray Data, whose tasks read on any machine: prompts, and what
is known of their calls, lie here. A row is the unit of what can be lost, and waits for no block.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from cai import servers
from cai.config import ROLES
from cai.engines.base import Engine
from cai.engines.labels import Labels
from cai.engines.naming import at_server, gpus_of
from cai.errors import CaiError
from cai.extras import install_command
from cai.inputs import make_engines, settle_labels
from cai.method import Method
from cai.plan import replay
from cai.records import Prompt
from cai.row import make_row
from cai.runtime.calls import Calls, Tally, is_error
from cai.runtime.journal import Store
from cai.runtime.work import distinct, schedulers_of, watch
from cai.templates import Templates

try:
    import ray
except ImportError:
    raise CaiError(
        "--distributed ray needs the package ray", f"Install it: {install_command('ray')}"
    ) from None

DEATHS = 3  # of workers, while they start or with one row, until the run stops
ROOM_WITHIN = 30.0  # seconds until a cluster without room for a worker is worth a warning
CLOSE_WITHIN = 30.0
_LOST = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)


class _Reading:
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
class _Notes:
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
class _Task:
    """A row to make, with what is known of it."""

    position: int
    prompt: Prompt
    entries: dict[bytes, str]
    attempts: dict[str, int]
    labels: dict[str, Labels]


@dataclass
class _Result:
    """What a worker made of a row, also where it had to stop."""

    calls: dict[bytes, str]
    raised: dict[str, int]
    labels: dict[str, Labels]
    tally: Tally
    failed: bool
    error: tuple[str, str] | None = None


class _Worker:
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
            servers.expect(self._engines, self._method)
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

    async def row(self, task: _Task) -> _Result:
        """The row and its calls; a model that is gone is told with the calls made until then."""
        notes = _Notes(task.entries, task.attempts)
        for identity, known in task.labels.items():
            self._labels.setdefault(identity, known)
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
        return _Result(notes.new, notes.raised, dict(self._labels), calls.tally, failed, problem)

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        for scheduler in self._distinct:
            await scheduler.engine.close()


@dataclass(eq=False)
class _Place:
    """An actor from the driver's side."""

    actor: Any
    ready: bool = False
    rows: int = 0
    watcher: asyncio.Task[None] | None = None


class Workers:
    """The workers of a run; `row` gives a row to the one with the least to do.

    A worker that is lost is replaced as soon as the cluster has room, and its rows go to others.
    The cluster is asked for nothing before there is a row to make.
    """

    def __init__(
        self,
        method: Method,
        identities: Mapping[str, str],
        *,
        rows: int,
        retry_failed: bool,
        warn: Callable[[str], None],
        known: servers.Found,
    ) -> None:
        settings = method.settings
        self._settings, self._identities, self._warn = settings, identities, warn
        one = settings.model_copy(update={"replicas": 1, "distributed": None, "address": None})
        # Compiled templates do not travel: a worker compiles its own.
        sent = replace(method, settings=one, templates=Templates(dict(method.templates.texts)))
        self._given = (sent, -(-rows // settings.replicas), retry_failed, known)
        self._places: list[_Place] = []
        self._changed = asyncio.Condition()
        self._problem: CaiError | None = None
        self._starts_lost = 0
        self._cluster: ExitStack | None = None

    def _start(self) -> None:
        self._cluster = ExitStack()
        self._cluster.enter_context(_connected(self._settings.address))
        for _ in range(self._settings.replicas):
            self._add()

    def _add(self) -> None:
        options: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        gpus = self._gpus()
        if gpus and ray.cluster_resources().get("GPU"):
            options["num_gpus"] = gpus
        open_rows = self._settings.max_open_rows
        actor = ray.remote(_Worker).options(max_concurrency=open_rows + 2, **options)
        place = _Place(actor.remote(*self._given))
        self._places.append(place)
        place.watcher = asyncio.create_task(self._until_ready(place))

    def _gpus(self) -> int:
        """GPUs of the models that a worker holds itself."""
        settings = self._settings
        roles = (role for role in ROLES if role in self._identities)
        names = {at_server(settings.model_of(role), settings.base_url) for role in roles}
        parallel, device = settings.tensor_parallel, settings.device
        return sum(gpus_of(name, device=device, tensor_parallel=parallel) for name in names)

    async def _until_ready(self, place: _Place) -> None:
        ready = asyncio.ensure_future(place.actor.ready.remote())
        try:
            done, _ = await asyncio.wait([ready], timeout=ROOM_WITHIN)
            if not done and not any(other.ready for other in self._places):
                self._warn(f"no worker has started yet; the cluster has {_room()}")
            found = await ready
        except _LOST as error:
            self._starts_lost += 1
            if self._starts_lost >= DEATHS:
                await self._stop(_died(str(error)))
            else:
                await self._lose(place)
            return
        except (ray.exceptions.RayError, OSError, RuntimeError) as error:
            await self._stop(CaiError(f"a worker does not start: {error}"))
            return
        mismatch = self._mismatch(*found)
        if mismatch is not None:
            await self._stop(mismatch)
            return
        self._starts_lost = 0
        async with self._changed:
            place.ready = True
            self._changed.notify_all()

    def _mismatch(
        self, number: str, models: Mapping[str, str], problem: tuple[str, str] | None
    ) -> CaiError | None:
        """What forbids a worker to take rows of this run."""
        where, ours = "a worker's machine", version("constitutional-ai")
        if number != ours:
            return CaiError(
                f"{where} has constitutional-ai {number}, this one {ours}",
                "Install the same version on all machines of the cluster.",
            )
        if problem is not None:
            return CaiError(f"{where}: {problem[0]}", problem[1])
        for role, identity in models.items():
            if identity != self._identities[role]:
                return CaiError(
                    f"{where} has another {role} model than this one: {identity}, "
                    f"not {self._identities[role]}",
                    "Put the same weights on all machines of the cluster.",
                )
        return None

    async def _stop(self, problem: CaiError) -> None:
        async with self._changed:
            self._problem = self._problem or problem
            self._changed.notify_all()

    async def _lose(self, place: _Place) -> None:
        async with self._changed:
            if place in self._places:
                self._places.remove(place)
                self._add()
            self._changed.notify_all()

    async def _free(self) -> _Place:
        """The worker with the least to do that still takes a row."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._problem or self._open())
            if self._problem is not None:
                raise self._problem
            place = min(self._open(), key=lambda p: p.rows)
            place.rows += 1
            return place

    def _open(self) -> list[_Place]:
        most = self._settings.max_open_rows
        return [p for p in self._places if p.ready and p.rows < most]

    async def row(self, task: _Task) -> _Result:
        """The row, made by a worker that lived to its end.

        Raises:
            CaiError: `DEATHS` workers died with this row, or none starts.
        """
        if self._cluster is None:
            self._start()
        for _ in range(DEATHS):
            place = await self._free()
            try:
                result: _Result = await place.actor.row.remote(task)
            except _LOST as error:
                last = str(error)
                await self._lose(place)
                continue
            finally:
                async with self._changed:
                    place.rows -= 1
                    self._changed.notify_all()
            return result
        raise _died(f"with prompt {task.prompt.id}: {last}")

    async def close(self) -> None:
        for place in self._places:
            if place.watcher is not None:
                place.watcher.cancel()
        closing = [asyncio.ensure_future(p.actor.close.remote()) for p in self._places if p.ready]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_WITHIN)
        for place in self._places:
            ray.kill(place.actor)
        if self._cluster is not None:
            self._cluster.close()


def _died(what: str) -> CaiError:
    return CaiError(
        f"{DEATHS} workers of the cluster died: {what}",
        "Look into Ray's logs (memory?), then run the same command again: nothing is lost.",
    )


def _room() -> str:
    resources = ray.cluster_resources()
    cpus, gpus = (resources.get(name, 0) for name in ("CPU", "GPU"))
    return f"{cpus:g} CPUs and {gpus:g} GPUs; each worker asks for 1 CPU and its models' GPUs"


def _reach(address: str | None) -> None:
    """Raise `OSError` where nobody listens: Ray itself would wait for minutes, and then exit."""
    host, _, port = (address or "").rpartition(":")
    host = host.strip("[]")  # of IPv6
    if host and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A connection to a Ray cluster: that of `address` or of the environment, or one made here.

    A connection that the program has already is used and left open.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _reach(address)
        ray.init(
            address=address,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CaiError(
            f"--address {address}: no Ray cluster answers: {error}",
            "Start one (ray start --head), or leave --address out to use this machine. To one that "
            "checks tokens Ray goes by --address auto, or with RAY_AUTH_MODE=token.",
        ) from error
    try:
        yield
    finally:
        with suppress(Exception):
            ray.shutdown()


@dataclass
class Distributed:
    """Rows of a run made by workers, their calls committed to the run's journal."""

    method: Method
    calls: Calls
    workers: Workers
    keep_labels: Callable[[], None]

    async def make(self, position: int, prompt: Prompt) -> bool:
        """Have a row made if the journal does not have it whole; whether a part of it failed."""
        calls, store = self.calls, self.calls.store
        known, others = _Reading(store), [_Reading(other) for other in calls.reuse]
        looked = Calls(known, calls.seed, calls.identities, reuse=others, labels=calls.labels)
        row = replay(prompt, self.method, looked)
        calls.tally.reused += looked.tally.reused
        entries, attempts = dict(known.entries), dict(known.attempts)
        for other in others:
            entries = {k: v for k, v in other.entries.items() if not is_error(v)} | entries
            for address, first in other.attempts.items():
                attempts[address] = max(first, attempts.get(address, 0))
        await self._keep(
            {key: value for key, value in entries.items() if key not in known.entries},
            {a: first for a, first in attempts.items() if first != known.attempts.get(a)},
        )
        if not row.missing and not (row.failures and calls.retry_failed):
            return bool(row.failures)
        task = _Task(position, prompt, entries, attempts, dict(calls.labels))
        result = await self.workers.row(task)
        if result.labels.keys() - calls.labels.keys():
            calls.labels.update(result.labels)
            self.keep_labels()
        await self._keep(result.calls, result.raised)
        calls.tally.add(result.tally)
        if result.error is not None:
            raise CaiError(*result.error)
        return result.failed

    async def _keep(self, entries: Mapping[bytes, str], raised: Mapping[str, int]) -> None:
        for address, first in raised.items():
            await self.calls.store.raise_attempt(address, first)
        if entries:
            await self.calls.store.put(entries)
