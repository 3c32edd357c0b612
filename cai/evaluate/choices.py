"""Which option of several an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A letter that is no word: "B", "(B)", "**B**", "b) the man", but "a" of "a man" and "I" are words.
_LETTER = r"[(\[*_\"'`]*(?:([b-hj-z])\b|([ai])(?=[)\]*_\"'`.:,;\n]|\s*$))"
_SAID = re.compile(
    rf"\b(?:answer|option|choice)(?: is|:| would be| should be)*[:\s]*(?:option )?{_LETTER}"
    rf"|(?:^|[\s(*])([a-z])[)*]* is (?:the |my )?(?:right|correct|best|answer)\b"
)
_FIRST = re.compile(rf"^\W*{_LETTER}")
_BRACKETED = re.compile(r"\(([a-z])\)")


def named_option(text: str, options: Sequence[str]) -> int | None:
    """The one option that an answer names: by its letter, or by its words.

    A letter at the start goes first, then what is called the answer, then letters in brackets, then
    the words of an option. Where one of these names two options, none is named.
    """
    lowered = "\n".join(" ".join(line.split()) for line in text.casefold().strip().splitlines())
    for way in (_FIRST, _SAID, _BRACKETED):
        letters = {next(filter(None, found.groups())) for found in way.finditer(lowered)}
        numbers = {ord(letter) - ord("a") for letter in letters}
        if numbers and max(numbers) < len(options):
            return numbers.pop() if len(numbers) == 1 else None
    return _by_words(" ".join(lowered.split()), [" ".join(o.casefold().split()) for o in options])


def _by_words(text: str, options: Sequence[str]) -> int | None:
    named = [n for n, option in enumerate(options) if re.search(rf"\b{re.escape(option)}\b", text)]
    longest = max(named, key=lambda n: len(options[n]), default=None)
    if longest is None or any(options[n] not in options[longest] for n in named):
        return None
    return longest


def right_option(text: str, options: Sequence[str], target: int | None) -> bool | None:
    """Whether an answer names the right option; None where there are no options.

    An answer that names none, or two, is not right: who asks for a letter gets none.
    """
    if not options or target is None:
        return None
    return named_option(text, options) == target
