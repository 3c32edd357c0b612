"""Which call goes next, and how many at once: a priority queue in front of each engine."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from cai.engines.base import Engine
from cai.errors import CaiError, CallError, EngineBusy
from cai.records import Sampling, user

T = TypeVar("T")

TAIL_ROWS_PER_SLOT = 8  # deepest first until this many rows per slot are left, then breadth first
TRIES = 10  # and a last one, if the model answers something else
SILENT = 3  # tries without any answer to any call, after which the model is asked if it is there
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
ALIKE = 20  # refusals in a row, of one kind and with no call that passed between, that stop a run


class _Place(NamedTuple):
    depth: int  # steps of the row before the call
    position: int  # of the row
    came: int  # calls that were ready before it


@dataclass(order=True)
class _Waiting:
    rank: tuple[int, int]
    future: asyncio.Future[None] = field(compare=False)
    place: _Place = field(compare=False)


class Scheduler:
    """Lets calls through to one engine, as many as it can hold, the most urgent first.

    Deepest step first keeps rows finishing; for the last rows breadth first, in the order in which
    calls became ready, keeps the engine full to the end. The engine is loaded when the first call
    comes, and `check` is asked whether it will do: a run that has all its results needs no model.
    As many calls go at once as the engine holds. Where it says it is busy, that falls by a third,
    and grows again by one each time as many calls have passed.
    """

    def __init__(
        self, engine: Engine, rows: int = 0, check: Callable[[Engine], object] | None = None
    ) -> None:
        self.engine = engine
        self.started = False
        self._check = check
        self._starting = asyncio.Lock()
        self.rows_left = rows
        self.running = 0
        self._slots = 1
        self._held: float | None = None  # calls at once since the engine was busy
        self._tail = False
        self._waiting: list[_Waiting] = []
        self._came = 0
        self._passed = 0
        self._shrunk_at = -1
        self._refusals = ("", 0)  # what the last of them have in common, and how many they are

    async def start(self) -> None:
        """Load the engine and ask how many calls it holds; a second call does nothing."""
        async with self._starting:
            if self.started:
                return
            await self.engine.start()
            if self._check is not None:
                self._check(self.engine)
            await self.refresh()
            self.started = True

    async def refresh(self) -> None:
        """Ask the engine again how many calls it holds."""
        self._slots = max(1, (await self.engine.capacity()).slots)
        self._retail()
        self._admit()

    @property
    def _limit(self) -> float:
        return self._slots if self._held is None else min(self._held, self._slots)

    def row_done(self) -> None:
        self.rows_left -= 1
        self._retail()

    def _retail(self) -> None:
        tail = self.rows_left <= TAIL_ROWS_PER_SLOT * self._slots
        if tail != self._tail:
            self._tail = tail
            for waiting in self._waiting:
                waiting.rank = self._rank(waiting.place)
            heapq.heapify(self._waiting)

    def _rank(self, place: _Place) -> tuple[int, int]:
        return (place.depth, place.came) if self._tail else (-place.depth, place.position)

    async def run(self, depth: int, position: int, call: Callable[[int], Awaitable[T]]) -> T:
        """Wait for a slot; call, with the urgency; repeat it while the engine is busy.

        Raises:
            CallError: The call cannot succeed, or did not in all tries while the model answers.
            CaiError: The model does not answer, a short question of ours neither; or it refuses
                one call after the other alike.
        """
        if not self.started:
            await self.start()
        self._came += 1
        place = _Place(depth, position, self._came)
        passed_before, problem = self._passed, ""
        for attempt in range(TRIES + 1):
            if attempt == TRIES - SILENT:
                passed_before = self._passed
            await self._acquire(place)
            try:
                # Before the last try: is it the model or the call that none gets through?
                silent = attempt == TRIES and self._passed == passed_before
                if silent and not await self._answers():
                    raise CaiError(
                        f"The model does not answer ({TRIES} tries): {problem}",
                        "Nothing is lost: bring it back and run the same command again.",
                    )
                result = await call(self._rank(place)[0])
            except EngineBusy as busy:
                if busy.overloaded:
                    self._shrink()
                problem, wait = str(busy), busy.retry_after
            except CallError as error:
                self._count_refusal(error)
                raise
            else:
                self._grow()
                return result
            finally:
                self._release()
            if attempt < TRIES:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)
                await asyncio.sleep(max(wait or 0.0, pause))  # jitter, not data
        raise CallError(f"not answered in {TRIES + 1} tries: {problem}")

    def _count_refusal(self, error: CallError) -> None:
        """One refused call is a row's failure; many that are alike are the key, or the model."""
        if not error.alike:
            return
        last, count = self._refusals
        count = count + 1 if error.alike == last else 1
        self._refusals = (error.alike, count)
        if count >= ALIKE:
            raise CaiError(
                f"{count} calls in a row failed alike: {error}",
                "Nothing that was made is lost: mend it, and run the same command again with "
                "--retry-failed.",
            ) from error

    async def _answers(self) -> bool:
        """Whether the model answers a short question of ours."""
        sampling = Sampling(temperature=0.0, max_tokens=1)
        try:
            await self.engine.generate([user("Say A.")], sampling)
        except (EngineBusy, CallError):
            return False
        return True

    async def _acquire(self, place: _Place) -> None:
        if self.running < int(self._limit) and not self._waiting:
            self.running += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiting(self._rank(place), future, place))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        self.running -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.running < int(self._limit):
            future = heapq.heappop(self._waiting).future
            if not future.done():
                self.running += 1
                future.set_result(None)

    def _shrink(self) -> None:
        """Fall once per round of calls: those sent before the fall say nothing new."""
        if self._passed > self._shrunk_at:
            self._held = max(1.0, self._limit * 2 / 3)
            self._shrunk_at = self._passed + self.running

    def _grow(self) -> None:
        self._passed += 1
        self._refusals = ("", 0)
        if self._held is not None:
            self._held += 1 / self._held
            if self._held >= self._slots:
                self._held = None
