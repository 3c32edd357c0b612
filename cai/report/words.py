"""Words of the page: numbers as people read them, and texts of data that can do nothing."""

from __future__ import annotations

import unicodedata

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
    """A share in per cent, with a decimal below ten."""
    return f"{100 * value:.1f} %" if 0 < value < 0.0995 else f"{100 * value:.0f} %"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


def plural(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
