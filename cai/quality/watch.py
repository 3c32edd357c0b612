"""How a measure shows how far it is, without knowing who looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watch(Protocol):
    """Passes rows on, and shows how far a pass is."""

    def __call__(self, name: str, rows: Iterable[T]) -> Iterable[T]: ...


def unwatched(name: str, rows: Iterable[T]) -> Iterable[T]:
    """Pass the rows on and show nothing."""
    return rows
