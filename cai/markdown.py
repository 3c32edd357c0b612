"""Text of others in Markdown."""

from __future__ import annotations

import html
import re

# What moves or hides other text: controls (but tab and line feed), marks of direction.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_SIGNS = re.compile(r"([\\`*_{}\[\]()#!|~]|:(?=//)|@|(?<=www)\.)", re.IGNORECASE)


def plain(value: str, limit: int | None = None) -> str:
    """Text that Markdown and HTML show as it is, on one line.

    Args:
        value: What somebody else wrote.
        limit: Characters after which it is cut, with a sign that it is.
    """
    text = " ".join(visible(value).split())
    return _SIGNS.sub(r"\\\1", html.escape(cut(text, limit), quote=False))


def fenced(value: str, language: str = "text", limit: int | None = None) -> str:
    """A block of code, which nothing inside can end: its fence is longer than any within."""
    text = cut(visible(value.replace("\r\n", "\n")), limit)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def visible(value: str) -> str:
    """Text in which controls and marks of direction are written out by their code."""
    return _UNSEEN.sub(lambda sign: f"\\u{ord(sign[0]):04x}", value.replace("\r\n", "\n"))


def cut(text: str, limit: int | None) -> str:
    """The beginning of a text, with a sign where more of it was."""
    return text if limit is None or len(text) <= limit else f"{text[:limit]}…"
