"""The same chain on many machines: Ray actors, each with models of its own, take rows one by one.

A row that is finished comes back with its calls, which are committed here; the journal never leaves
this machine. Actors are used and not Ray Data: its pool waits until a lost actor has room to start
again and keeps that actor's rows so long, and it needs blocks of rows where a row will do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from cai.config import Settings
from cai.engines import labels
from cai.engines.base import Engine
from cai.engines.labels import Labels
from cai.errors import CaiError
from cai.inputs import make_engines
from cai.method import Method
from cai.plan import replay
from cai.records import JudgeFacts, Prompt
from cai.row import make_row
from cai.runtime.calls import Calls, Tally, is_error
from cai.runtime.journal import Store
from cai.runtime.work import schedulers_of, watch
from cai.templates import Templates

try:
    import ray
except ImportError:
    raise CaiError(
        "--distributed ray needs the package ray", "pip install 'constitutional-ai[ray]'"
    ) from None

DEATHS = 3  # of workers, while they start or with one row, until the run stops
ROOM_WITHIN = 30.0  # seconds until a cluster without room for a worker is worth a warning
CLOSE_WITHIN = 30.0
_LOST = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)


class _Known:
    """What the run's journal or a reused one has of a row; keeps what was read, for the worker."""

    def __init__(self, journal: Store, reuse: Sequence[Store]) -> None:
        self._journal, self._reuse = journal, reuse
        self.entries: dict[bytes, str] = {}
        self.attempts: dict[str, int] = {}
        self.reused: dict[bytes, str] = {}
        self.raised: dict[str, int] = {}

    def get(self, key: bytes) -> str | None:
        value = self._journal.get(key)
        if value is None:
            found = (store.get(key) for store in self._reuse)
            value = next((v for v in found if v and not is_error(v)), None)
            if value is not None:
                self.reused[key] = value
        if value is not None:
            self.entries[key] = value
        return value

    def first_attempt(self, address: str) -> int:
        first = self._journal.first_attempt(address)
        raised = max((store.first_attempt(address) for store in self._reuse), default=0)
        if raised > first:
            self.raised[address] = first = raised
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
    cached_tokens: int
    error: tuple[str, str] | None = None


class _Worker:
    """Runs in an actor: the models of all roles, and rows through the chain at once."""

    def __init__(
        self, settings: Settings, facts: Mapping[str, Any], rows: int, retry_failed: bool
    ) -> None:
        self._method = Method(
            facts["constitution"],
            Templates(facts["templates"]),
            settings,
            JudgeFacts.model_validate(facts["judge"]),
        )
        self._rows, self._retry_failed = rows, retry_failed
        self._labels: dict[str, Labels] = {}
        self._watching: list[asyncio.Task[None]] = []

    async def ready(self) -> tuple[str, dict[str, str], tuple[str, str] | None]:
        """Our version and each role's model here, or why there is none."""
        try:
            engines = make_engines(self._method.settings)
            self._engines: dict[str, Engine] = {r: engines[r] for r in self._method.roles}
            self._identities: dict[str, str] = {r: e.identity for r, e in self._engines.items()}
        except CaiError as error:
            return version("constitutional-ai"), {}, (error.message, error.hint)
        self._schedulers = schedulers_of(self._engines, self._rows, self._settle_labels)
        self._distinct = list({id(s): s for s in self._schedulers.values()}.values())
        self._watching = [asyncio.create_task(watch(s)) for s in self._distinct]
        return version("constitutional-ai"), self._identities, None

    def _settle_labels(self, engine: Engine) -> None:
        choosers = self._method.choosing_roles
        if any(self._engines.get(role) is engine for role in choosers):
            self._labels.setdefault(engine.identity, labels.pick(engine))

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
        cached = sum(scheduler.engine.cached_tokens for scheduler in self._distinct)
        return _Result(
            notes.new, notes.raised, dict(self._labels), calls.tally, failed, cached, problem
        )

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
    cached_tokens: int = 0
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
    ) -> None:
        settings = method.settings
        self._settings, self._identities, self._warn = settings, identities, warn
        alone = settings.model_copy(update={"replicas": 1, "distributed": None, "address": None})
        facts = {
            "constitution": method.constitution,
            "templates": dict(method.templates.texts),
            "judge": method.judge.model_dump(),
        }
        self._given = (alone, facts, -(-rows // settings.replicas), retry_failed)
        self._places: list[_Place] = []
        self._changed = asyncio.Condition()
        self._problem: CaiError | None = None
        self._starts_lost = 0
        self._cached: list[_Place] = []
        self._cluster: ExitStack | None = None

    def _start(self) -> None:
        self._cluster = ExitStack()
        self._cluster.enter_context(_connected(self._settings.address))
        for _ in range(self._settings.replicas):
            self._add()

    def _add(self) -> None:
        options: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        gpus = _gpus(self._settings, [*self._identities])
        if gpus and ray.cluster_resources().get("GPU"):
            options["num_gpus"] = gpus
        open_rows = self._settings.max_open_rows
        actor = ray.remote(_Worker).options(max_concurrency=open_rows + 2, **options)
        place = _Place(actor.remote(*self._given))
        self._places.append(place)
        self._cached.append(place)
        place.watcher = asyncio.create_task(self._until_ready(place))

    async def _until_ready(self, place: _Place) -> None:
        ready = asyncio.ensure_future(place.actor.ready.remote())
        try:
            done, _ = await asyncio.wait([ready], timeout=ROOM_WITHIN)
            if not done and not any(other.ready for other in self._places):
                self._warn(f"no worker has started yet; the cluster has {_room()}")
            ours, there, problem = await ready
        except _LOST as error:
            self._starts_lost += 1
            if self._starts_lost >= DEATHS:
                await self._stop(_died(str(error)))
            else:
                await self._lose(place)
            return
        except ray.exceptions.RayError as error:
            await self._stop(CaiError(f"a worker does not start: {error}"))
            return
        where = "a worker's machine"
        if ours != version("constitutional-ai"):
            found = CaiError(
                f"{where} has constitutional-ai {ours}, this one {version('constitutional-ai')}",
                "Install the same version on all machines of the cluster.",
            )
        elif problem is not None:
            found = CaiError(f"{where}: {problem[0]}", problem[1])
        elif there != dict(self._identities):
            role = next(r for r in there if there[r] != self._identities.get(r))
            found = CaiError(
                f"{where} has another {role} model than this one: {there[role]}, "
                f"not {self._identities.get(role)}",
                "Put the same weights on all machines of the cluster.",
            )
        else:
            self._starts_lost = 0
            async with self._changed:
                place.ready = True
                self._changed.notify_all()
            return
        await self._stop(found)

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

        def open_places() -> list[_Place]:
            most = self._settings.max_open_rows
            return [p for p in self._places if p.ready and p.rows < most]

        async with self._changed:
            await self._changed.wait_for(lambda: self._problem or open_places())
            if self._problem is not None:
                raise self._problem
            place = min(open_places(), key=lambda p: p.rows)
            place.rows += 1
            return place

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
            place.cached_tokens = max(place.cached_tokens, result.cached_tokens)
            return result
        raise _died(f"with prompt {task.prompt.id}: {last}")

    @property
    def cached_tokens(self) -> int:
        return sum(place.cached_tokens for place in self._cached)

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


def _gpus(settings: Settings, roles: Sequence[Any]) -> int:
    """GPUs of the models that a worker holds itself."""
    names = {settings.model_of(role) for role in roles}
    served = settings.base_url is not None
    count = 0
    for name in names:
        if name.startswith("vllm:"):
            count += settings.tensor_parallel
        elif "://" not in name and not name.startswith("scripted") and not served:
            count += settings.device != "cpu"
    return count


def _reach(address: str | None) -> None:
    """Raise `OSError` where nobody listens: Ray itself would wait for minutes, and then exit."""
    host, _, port = (address or "").rpartition(":")
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
            "Start one (ray start --head), or leave --address out to use this machine.",
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
    retry_failed: bool
    keep_labels: Callable[[], None]

    async def make(self, position: int, prompt: Prompt) -> bool:
        """Have a row made if the journal does not have it whole; whether a part of it failed."""
        calls, store = self.calls, self.calls.store
        known = _Known(store, calls.reuse)
        looked = Calls(known, calls.seed, calls.identities, labels=calls.labels)
        row = replay(prompt, self.method, looked)
        if known.reused:
            await store.put(known.reused)
        for address, first in known.raised.items():
            await store.raise_attempt(address, first)
        calls.tally.reused += looked.tally.reused
        if not row.missing and not (row.failures and self.retry_failed):
            return bool(row.failures)
        task = _Task(position, prompt, known.entries, known.attempts, dict(calls.labels))
        result = await self.workers.row(task)
        if result.labels.keys() - calls.labels.keys():
            calls.labels.update(result.labels)
            self.keep_labels()
        for address, first in result.raised.items():
            await store.raise_attempt(address, first)
        if result.calls:
            await store.put(result.calls)
        _add(calls.tally, result.tally)
        if result.error is not None:
            raise CaiError(*result.error)
        return result.failed


def _add(total: Tally, part: Tally) -> None:
    total.made += part.made
    for counts, more in (
        (total.input_tokens, part.input_tokens),
        (total.output_tokens, part.output_tokens),
    ):
        counts.update(Counter(more))
