"""Which option of several an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LETTER = re.compile(
    r"^\W*(?:the )?(?:(?:right |correct |best )?(?:answer|option) is:? )?\(?([a-z])\b"
)


def named_option(text: str, options: Sequence[str]) -> int | None:
    """The one option that an answer names, by its letter at the start or by its words."""
    lowered = " ".join(text.casefold().split())
    by_letter = _LETTER.match(lowered)
    if by_letter is not None and not lowered.startswith(("a ", "i ")):
        number = ord(by_letter[1]) - ord("a")
        if number < len(options):
            return number
    named = [
        n for n, option in enumerate(options) if " ".join(option.casefold().split()) in lowered
    ]
    longest = max(named, key=lambda n: len(options[n]), default=None)
    inside = [n for n in named if n != longest and longest is not None]
    if longest is None or any(
        options[n].casefold() not in options[longest].casefold() for n in inside
    ):
        return None
    return longest


def right_option(text: str, options: Sequence[str], target: int | None) -> bool | None:
    """Whether an answer names the right option; None where it names none, or there are none."""
    if not options or target is None:
        return None
    named = named_option(text, options)
    return None if named is None else named == target
