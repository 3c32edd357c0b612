"""Ray actors, each with its models: started, given rows, replaced when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from cai.config import ROLES
from cai.engines.naming import at_server, gpus_of
from cai.errors import CaiError
from cai.extras import install_command
from cai.generation.worker import Result, Task, Worker
from cai.method import Method
from cai.runtime import servers
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
        actor = ray.remote(Worker).options(max_concurrency=open_rows + 2, **options)
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
            answer = await ready
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
        mismatch = self._mismatch(*answer)
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

    async def row(self, task: Task) -> Result:
        """The row, made by a worker that lived to its end.

        Raises:
            CaiError: `DEATHS` workers died with this row, or none starts.
        """
        if self._cluster is None:
            self._start()
        for _ in range(DEATHS):
            place = await self._free()
            try:
                result: Result = await place.actor.row.remote(task)
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

    A connection that the program has already is used and left open. Without an address Ray would
    join whatever cluster somebody last started on this machine, which may end or have no room.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    joined = address or os.environ.get("RAY_ADDRESS")
    try:
        _reach(joined)
        ray.init(
            address=joined or "local",
            include_dashboard=None if joined else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CaiError(
            f"--address {joined}: no Ray cluster answers: {error}",
            "Start one (ray start --head), or leave --address out to use this machine. To one that "
            "checks tokens Ray goes by --address auto, or with RAY_AUTH_MODE=token.",
        ) from error
    try:
        yield
    finally:
        # All that was made is here; a cluster that has gone cannot be left.
        with suppress(ray.exceptions.RayError, OSError, RuntimeError):
            ray.shutdown()
