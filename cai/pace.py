"""How fast a long job goes, in words, and a line now and then where no terminal shows bars."""

from __future__ import annotations

import threading
from collections.abc import Callable

LINE_EVERY = 30.0  # seconds


def rate(done: float, seconds: float, unit: str) -> str:
    """Units a second, or a minute where that is less than one a second."""
    per_second = done / max(1e-9, seconds)
    if per_second >= 1 or not done:
        return f"{per_second:,.1f} {unit}/s"
    return f"{60 * per_second:,.1f} {unit}/min"


def time_left(done: int, total: int | None, seconds: float) -> str:
    """The time until all is done at the rate so far; nothing where that is not known."""
    if not done or total is None or done >= total:
        return ""
    left = round(seconds / done * (total - done))
    hours, minutes = left // 3600, left % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min left"
    return f"{minutes} min left" if minutes else f"{left} s left"


class Heartbeat:
    """Calls a function every so many seconds, from a thread of its own, until it is stopped."""

    def __init__(self, say: Callable[[], None], every: float = LINE_EVERY) -> None:
        self._say, self._every = say, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="cai-progress", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            self._say()

    def stop(self) -> None:
        self._over.set()
