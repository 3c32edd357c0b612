"""The terminal: everything that prompts, models and files say is printed as data, never obeyed."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.records import Record

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def confirmed(question: str) -> bool:
    """The answer to a question; Ctrl-C there is Ctrl-C, and not an answer."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def show_error(error: CaiError, who: str = "") -> None:
    """Print an error with its hint; `who` says which of several processes it is of."""
    stderr.print(plain(f"Error{who}: ", "bold red") + plain(error.message), soft_wrap=True)
    if error.hint:
        stderr.print(plain(error.hint), soft_wrap=True)


def print_json(record: Record) -> None:
    """Print a record as JSON."""
    typer.echo(json.dumps(record.model_dump(mode="json"), indent=2))


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
