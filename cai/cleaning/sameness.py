"""Are two answers the same but for case, spacing and punctuation: then nothing is to be judged."""

from __future__ import annotations

import re
import unicodedata

# What belongs to a number: its sign, its decimal point, its unit.
_OF_NUMBERS = re.compile(
    r"(?<![\w)])[-+−](?=[.,]?\d)|(?<=\d)[-+−*/×÷^=:.,](?=\d)|(?<!\w)\.(?=\d)"
    r"|[<>=≤≥≠~±][ ]?(?=[-+−]?\d)|(?<=\d)[ ]?[%‰°]|[$€£¥₹₽₩][ ]?(?=[-+−]?\d)|(?<=\d)[ ]?[$€£¥₹₽₩]"
)


def alike(one: str, other: str) -> bool:
    """Whether two texts differ in case, spacing and punctuation at most."""
    return letters(one) == letters(other)


def letters(text: str) -> str:
    """A text without case, spacing and punctuation; numbers keep sign, point and unit."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = {at for found in _OF_NUMBERS.finditer(folded) for at in range(*found.span())}
    return (
        "".join(
            c
            for at, c in enumerate(folded)
            if (at in kept and c != " ") or c.isalnum() or unicodedata.category(c)[0] == "M"
        )
        or folded
    )
