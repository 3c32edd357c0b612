"""How a long job is doing: rows, rate, tokens per second, time left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from cai.pace import LINE_EVERY, Heartbeat, rate, time_left
from cai.runtime.price import Price
from cai.runtime.tally import Tally

T = TypeVar("T")


class Progress(Protocol):
    def phase(self, name: str, total: int | None = None) -> None: ...
    def advance(self, *, failed: bool = False, tally: Tally | None = None) -> None: ...
    def warn(self, message: str) -> None: ...
    def close(self) -> None: ...


class Quiet:
    """Shows nothing."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Begin nothing."""

    def advance(self, *, failed: bool = False, tally: Tally | None = None) -> None:
        """Count nothing."""

    def warn(self, message: str) -> None:
        """Say nothing; the manifest has it."""

    def close(self) -> None:
        """Leave nothing."""


class Shown:
    """Bars on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console, price: Price | None = None) -> None:
        self._console, self._price = console, price
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bars.start()
        self._text = ""
        self._begin("", None)
        self._heart = None if console.is_terminal else Heartbeat(self._say, LINE_EVERY)

    def _begin(self, name: str, total: int | None) -> None:
        self._name, self._total = name, total
        self._done = self._failed = 0
        self._started = self._shown = self._marked = time.monotonic()
        self._tokens_marked = 0
        self._token_rate = 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        for task in self._bars.tasks:
            self._bars.stop_task(task.id)
        self._begin(name, total)
        self._task = self._bars.add_task(name, total=total, rate="")

    def advance(self, *, failed: bool = False, tally: Tally | None = None) -> None:
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        due = 0.2 if self._console.is_terminal else LINE_EVERY
        if now - self._shown < due and self._done != self._total:
            return
        self._shown = now
        self._text = self._rate(now, tally)
        self._bars.update(self._task, completed=self._done, rate=self._text)
        if not self._console.is_terminal:
            self._line()

    def _say(self) -> None:
        """A line, if there was none for so long."""
        if self._name and time.monotonic() - self._shown >= LINE_EVERY / 2:
            self._line()

    def _line(self) -> None:
        total = f"/{self._total:,}" if self._total is not None else ""
        left = time_left(self._done, self._total, time.monotonic() - self._started)
        parts = [f"{self._name}: {self._done:,}{total}", self._text, left]
        self._console.print("  ".join(filter(None, parts)), markup=False)

    def _rate(self, now: float, tally: Tally | None) -> str:
        parts = [rate(self._done, now - self._started, "rows")]
        if tally is not None:
            tokens = sum(tally.output_tokens.values())
            if now - self._marked >= 2:
                self._token_rate = (tokens - self._tokens_marked) / (now - self._marked)
                self._marked, self._tokens_marked = now, tokens
            elif not self._token_rate:
                self._token_rate = tokens / max(1e-9, now - self._started)
            parts.append(f"{self._token_rate:,.0f} tokens/s")
            if tally.cached_tokens:
                share = tally.cached_tokens.total() / max(1, tally.input_tokens.total())
                parts.append(f"{share:.0%} of what is read cached")
            if self._price is not None:
                read = tally.input_tokens.total()
                cost = self._price.of(read, tokens, now - self._started)
                parts.append(f"cost {cost:,.4g}")
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        return "  ".join(parts)

    def warn(self, message: str) -> None:
        self._console.print(Text("WARNING", "bold white on red"), Text(message), soft_wrap=True)

    def close(self) -> None:
        self._bars.stop()
        if self._heart is not None:
            self._heart.stop()


def counted(items: Iterable[T], progress: Progress) -> Iterator[T]:
    """The items, each counted when the next is asked for."""
    for item in items:
        yield item
        progress.advance()


class Watching:
    """Passes over rows, shown one after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, name: str, rows: Iterable[T]) -> Iterator[T]:
        """Pass the rows on, under the name of a phase."""
        self._progress.phase(name)
        return counted(rows, self._progress)
