"""What a page is made of, whatever it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True)
class Content:
    """A page's parts.

    Attributes:
        write_rows: Writes the rows, with a limit in bytes, and tells how many there are.
        values: What the template shows, asked for when the rows have been written.
        meta: What the page's script has to know.
    """

    write_rows: Callable[[IO[str], int], Mapping[str, Any]]
    values: Callable[[], dict[str, Any]]
    meta: Mapping[str, Any]


def no_rows(file: IO[str], limit: int) -> Mapping[str, Any]:
    """A page without rows."""
    return {}


EMPTY: dict[str, Any] = {
    "state": "",
    "facts": {},
    "verdict": None,
    "figures": [],
    "more_figures": [],
    "pictures": [],
    "pictures_title": "What the constitution did",
    "principles": [],
    "principles_head": (),
    "agreement": None,
    "tables": [],
    "details": {},
    "settings": {},
    "examples": [],
    "rows": False,
    "surprise": "",
    "labels": False,
}
