from __future__ import annotations

import asyncio

import pytest

from cai.engines.base import NOBODY
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.errors import CaiError, CallError, EngineBusy
from cai.runtime import scheduler as module
from cai.runtime.scheduler import Scheduler


def made(slots: int, rows: int) -> Scheduler:
    return Scheduler(ScriptedEngine(ScriptedOptions(slots=slots)), rows)


async def order_of(scheduler: Scheduler, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The order in which waiting calls are let through while one slot is held."""
    await scheduler.start()
    gate, seen = asyncio.Event(), []

    async def hold(_: int) -> None:
        await gate.wait()

    async def note(place: tuple[int, int]) -> None:
        seen.append(place)

    tasks = [asyncio.create_task(scheduler.run(0, 0, hold))]
    await asyncio.sleep(0)
    for place in places:
        tasks.append(asyncio.create_task(scheduler.run(*place, lambda _, place=place: note(place))))
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*tasks)
    return seen


PLACES = [(1, 5), (3, 2), (1, 4), (2, 9)]


def test_deepest_first_while_many_rows_are_left() -> None:
    seen = asyncio.run(order_of(made(1, rows=1000), PLACES))
    assert seen == [(3, 2), (2, 9), (1, 4), (1, 5)]


def test_the_last_rows_go_breadth_first_and_what_was_ready_first_before() -> None:
    seen = asyncio.run(order_of(made(1, rows=8), PLACES))
    assert seen == [(1, 5), (1, 4), (2, 9), (3, 2)]


def test_the_order_turns_for_calls_that_wait() -> None:
    scheduler = made(1, rows=9)

    async def turn() -> list[tuple[int, int]]:
        waiting = asyncio.create_task(order_of(scheduler, PLACES))
        for _ in range(4):
            await asyncio.sleep(0)
        scheduler.row_done()
        return await waiting

    assert asyncio.run(turn()) == [(1, 5), (1, 4), (2, 9), (3, 2)]


def test_never_more_calls_than_slots() -> None:
    async def most() -> int:
        scheduler = made(5, rows=100)
        await scheduler.start()
        running = peak = 0

        async def call(_: int) -> None:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.001)
            running -= 1

        await asyncio.gather(*(scheduler.run(1, n, call) for n in range(50)))
        return peak

    assert asyncio.run(most()) == 5


def test_room_that_an_engine_gains_is_used_at_once() -> None:
    async def check() -> tuple[int, int]:
        scheduler = made(4, rows=100)
        await scheduler.start()
        never = asyncio.Event()
        calls = [
            asyncio.create_task(scheduler.run(1, n, lambda _: never.wait())) for n in range(20)
        ]
        await asyncio.sleep(0)
        before = scheduler.running
        scheduler.engine = ScriptedEngine(ScriptedOptions(slots=11))
        await scheduler.refresh()
        after = scheduler.running
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return before, after

    assert asyncio.run(check()) == (4, 11)


def test_a_cancelled_call_gives_its_slot_back() -> None:
    async def check() -> int:
        scheduler = made(1, rows=100)
        await scheduler.start()
        never = asyncio.Event()
        running = asyncio.create_task(scheduler.run(1, 0, lambda _: never.wait()))
        waiting = asyncio.create_task(scheduler.run(1, 1, lambda _: never.wait()))
        await asyncio.sleep(0)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)

        async def answer(_: int) -> int:
            return 7

        return await asyncio.wait_for(scheduler.run(1, 2, answer), 1)

    assert asyncio.run(check()) == 7


def test_busy_lowers_the_limit_and_success_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0001)

    async def check() -> tuple[float, float]:
        scheduler = made(9, rows=100)
        await scheduler.start()
        turned_away = iter(range(9))

        async def call(_: int) -> None:
            await asyncio.sleep(0)
            if next(turned_away, None) is not None:
                raise EngineBusy("too many requests", retry_after=0.0001)

        await asyncio.gather(*(scheduler.run(1, n, call) for n in range(9)))
        low = scheduler._limit
        for n in range(200):
            await scheduler.run(1, n, call)
        return low, scheduler._limit

    low, high = asyncio.run(check())
    assert low < 9
    assert high == 9


class Answering(ScriptedEngine):
    """Answers questions, or does not."""

    answers = True

    async def generate(self, messages, sampling, caller=NOBODY):  # type: ignore[no-untyped-def]
        if not self.answers:
            raise EngineBusy("connection refused")
        return await super().generate(messages, sampling)


@pytest.mark.parametrize(
    ("others_pass", "answers", "error", "said"),
    [
        (True, True, CallError, "not answered in 11 tries"),
        (False, True, CallError, "not answered in 11 tries"),
        (False, False, CaiError, "The model does not answer"),
    ],
)
def test_a_call_that_never_gets_through(
    monkeypatch: pytest.MonkeyPatch,
    others_pass: bool,
    answers: bool,
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0001)

    async def check() -> None:
        engine = Answering(ScriptedOptions(slots=4))
        engine.answers = answers
        scheduler = Scheduler(engine, 100)
        await scheduler.start()

        async def refuse(_: int) -> None:
            if others_pass:
                others.append(asyncio.create_task(scheduler.run(1, 1, answer)))
            raise EngineBusy("connection refused")

        async def answer(_: int) -> None:
            return None

        others: list[asyncio.Task[None]] = []
        await scheduler.run(1, 0, refuse)

    with pytest.raises(error, match=said):
        asyncio.run(check())


def test_a_model_that_comes_back_at_the_last_is_asked_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0001)
    tries = iter(range(module.TRIES))

    async def call(_: int) -> int:
        if next(tries, None) is not None:
            raise EngineBusy("down")
        return 7

    async def check() -> int:
        return await made(4, rows=100).run(1, 0, call)

    assert asyncio.run(check()) == 7


def test_a_short_wait_asked_for_does_not_use_up_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)

    async def refuse(_: int) -> None:
        raise EngineBusy("429", retry_after=1.0)

    async def check() -> None:
        await made(4, rows=100).run(1, 0, refuse)

    with pytest.raises(CallError):
        asyncio.run(check())
    assert len(slept) == module.TRIES
    assert min(slept) >= 1.0
    assert sum(slept) > 70  # seconds, half of the pauses at the least
