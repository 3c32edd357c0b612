"""The terminal: everything that prompts, models and files say is printed as data, never obeyed."""

from __future__ import annotations

import unicodedata

import typer
from rich.console import Console
from rich.text import Text

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def confirmed(question: str) -> bool:
    """The answer to a question; Ctrl-C there is Ctrl-C, and not an answer."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def visible(text: str) -> str:
    """The text with control, escape, bidi and surrogate characters shown by code, not obeyed."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else code(c)
        for c in text
    )


def code(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"


def plain(text: str, style: str = "") -> Text:
    """Text for rich that is neither markup nor terminal control."""
    return Text(visible(text), style=style)
