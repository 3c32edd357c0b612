"""A figure with its interval, in words."""

from __future__ import annotations

from collections.abc import Callable


def with_interval(
    value: float | None,
    low: float | None,
    high: float | None,
    write: Callable[[float], str],
    none: str = "–",
) -> str:
    """A value and the bounds of its interval, as `write` writes them; `none` without a value."""
    if value is None:
        return none
    if low is None or high is None:
        return f"{write(value)} (no interval)"
    return f"{write(value)} ({write(low)} to {write(high)})"
