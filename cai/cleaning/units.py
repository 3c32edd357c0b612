"""What a text is counted in: words, and single characters where words are not spaced.

Letters keep the vowel signs and marks that stand on them, so a Hindi word is one word.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

# Han, kana, Thai, Lao, Burmese, Khmer, Yi and the like: scripts without spaces between words.
_UNSPACED_RANGES = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0eff\u1000-\u1049\u1050-\u109f"
    "\u1780-\u17d3\u17d7\u17dc-\u17e9\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3041-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48f"
    "\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{_UNSPACED_RANGES}]")
_FIRST_UNSPACED = _UNSPACED_RANGES[0]  # most letters lie before it
WORD_GRAM, CHARACTER_GRAM = 4, 8  # a Chinese word has about two characters


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """One unit, and one piece of an edit: found once, as all marks of Unicode are looked up."""
    marks = "".join(f"{chr(first)}-{chr(last)}" for first, last in _ranges_of_marks())
    unspaced = f"[{_UNSPACED_RANGES}][{marks}]*"
    letter = f"[^\\W_{_UNSPACED_RANGES}]"
    unit = re.compile(f"{unspaced}|{letter}(?:{letter}|[{marks}])*")
    piece = re.compile(f"{unspaced}|[^\\s{_UNSPACED_RANGES}]+")
    return unit, piece


def _ranges_of_marks() -> Iterator[tuple[int, int]]:
    """The combining marks of Unicode, from first to last; the selectors of variants too."""
    first = last = -2
    for code in range(0x300, 0x1E950):
        if unicodedata.category(chr(code))[0] != "M":
            continue
        if code > last + 1:
            if first >= 0:
                yield first, last
            first = code
        last = code
    yield first, last
    yield 0xE0100, 0xE01EF


def units(text: str) -> list[str]:
    """The words of a text, case folded; characters where words are not spaced."""
    return list(_units(text))


@functools.lru_cache(maxsize=16)
def _units(text: str) -> tuple[str, ...]:
    """One look at an answer asks this of the same few texts, eight times in all."""
    return tuple(_patterns()[0].findall(unicodedata.normalize("NFKC", text).casefold()))


def pieces(text: str) -> list[str]:
    """A text split at white space, and before and after each character of an unspaced script."""
    return _patterns()[1].findall(text)


def is_unspaced(unit: str) -> bool:
    """Whether a unit is a character of a script that does not space its words."""
    return unit >= _FIRST_UNSPACED and _UNSPACED.match(unit) is not None


def gram_size(sequence: Sequence[str]) -> int:
    """How many units make a gram: 4 words, or 8 characters where most units are characters."""
    unspaced = sum(map(is_unspaced, sequence))
    return CHARACTER_GRAM if 2 * unspaced > len(sequence) else WORD_GRAM


def grams(sequence: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` units."""
    return list(zip(*(sequence[start:] for start in range(size)), strict=False))
