"""Data in the words of an error: short, and without a character that could reach the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def a_kind_of(value: Any) -> str:
    """What a value is, in the words of a JSON file."""
    number = "a number"
    names = {"NoneType": "null", "bool": "true or false", "int": number, "float": number}
    names |= {"str": "a text", "list": "a list", "dict": "an object"}
    return names.get(type(value).__name__, f"a value of type {type(value).__name__}")


def listed(names: Iterable[object]) -> str:
    """Names as they may be printed: escaped, and few and short even where they are data."""
    shown = [repr(name)[:60] for name in names]
    return ", ".join(shown[:20]) + (", …" if len(shown) > 20 else "")


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
