"""Many rows at once through one or several engines: workers, schedulers and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cai.engines.base import Engine
from cai.runtime.scheduler import Scheduler

T = TypeVar("T")

# Seconds between two questions to an engine how many calls it holds: soon at first, then seldom.
FIRST_REFRESH, REFRESH = 0.25, 5.0


def run(job: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, in a thread of its own where a loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(job)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, job).result()


def distinct(by_role: Mapping[str, T]) -> list[T]:
    """What serves the roles, each once."""
    return list({id(one): one for one in by_role.values()}.values())


def schedulers_of(
    engines: Mapping[str, Engine], rows: int, check: Callable[[Engine], object]
) -> dict[str, Scheduler]:
    """A scheduler per role; roles that share an engine share one. `check` is as in `Scheduler`."""
    by_engine = {id(e): Scheduler(e, rows, check) for e in engines.values()}
    return {role: by_engine[id(engine)] for role, engine in engines.items()}


async def work_through(
    items: Iterator[T],
    one: Callable[[T], Awaitable[None]],
    schedulers: Mapping[str, Scheduler],
    at_once: int,
) -> None:
    """Call `one` for each item, `at_once` together; in the end the engines are closed.

    Raises:
        Exception: The first that `one` raised; the other items are left.
    """
    each = distinct(schedulers)

    async def worker() -> None:
        for item in items:
            await one(item)
            for scheduler in each:
                scheduler.row_done()

    try:
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(watch(scheduler)) for scheduler in each]
            workers = [group.create_task(worker()) for _ in range(at_once)]
            if workers:
                await asyncio.wait(workers)
            for task in watching:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise _first_of(errors) from None
    finally:
        for scheduler in each:
            await scheduler.engine.close()


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def watch(scheduler: Scheduler) -> None:
    """Follow an engine whose capacity changes."""
    pause = FIRST_REFRESH
    while True:
        await asyncio.sleep(pause)
        if scheduler.started:
            await scheduler.refresh()
            pause = min(REFRESH, pause * 2)
