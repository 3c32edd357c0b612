"""Words of the page: numbers as people read them, and texts of data that can do nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# Joiners hold letters of Indic scripts, of Persian and of emoji together.
_JOINERS = "\u200c\u200d"


def shown(text: str) -> str:
    """A text with its control, direction and surrogate characters written as their code."""
    return "".join(
        c
        if c in "\n\t" or c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co")
        else f"[U+{ord(c):04X}]"
        for c in text
    )


def percent(value: float) -> str:
    """A share in per cent, with a decimal below ten, and where it would else be called all."""
    fine = 0 < value < 0.0995 or 0.99 < value < 1
    return f"{100 * value:.1f} %" if fine else f"{100 * value:.0f} %"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def numbers(values: Sequence[float]) -> list[str]:
    """Numbers with as many digits as tell them apart: a loss moves in its fourth one."""
    texts = [number(value) for value in values]
    for digits in range(4, 10):
        if len(set(texts)) == len(set(values)):
            break
        texts = [f"{value:,.{digits}g}" for value in values]
    return texts


def share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


def plural(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
