"""Which option of several an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_READ = 2000  # characters at each end of an answer
_MARKS = r"[(\[*_\"'`]{0,4}"
_END = r"(?=[)\]*_\"'`.:,;\n]|\s*$| (?:because|since|as|for|and|is|[-–—]) ?)"
# A letter that is no word: any capital behind words that name an answer; at the start of an answer
# "A" and "I" are words unless something ends behind them.
_LETTER = rf"{_MARKS}(?:([B-HJ-Z])(?![\w+#])|([b-hj-z]|[AaIi]){_END})"
_CAPITAL = rf"{_MARKS}(?:([A-Z])(?![\w+#])|([a-z]){_END})"
_WRONG = r"(?!\W{0,4} (?:is|was|would be|seems) (?:wrong|not|incorrect|only|just|never|a\b))"
_SAID = re.compile(
    r"\b(?i:(?:answer|choice|letter|choose|pick|select|go with)(?: is| would be| should be)?"
    r"|it(?:'s| is))[:\s]{1,3}"
    rf"(?i:option |answer )?{_CAPITAL}{_WRONG}"
    rf"|(?:^|[\s(*]){_CAPITAL}[)*]{{0,3}} (?i:is (?:the |my )?(?:right|correct|best|answer))\b"
)
_FIRST = re.compile(
    rf"^\W{{0,20}}(?i:(?:the )?(?:(?:right |correct |best )?(?:answer|option|choice) ?))?{_LETTER}"
    rf"{_WRONG}"
)
_OPTION = re.compile(rf"(?i:\boptions? ){_CAPITAL}")
_BRACKETED = re.compile(r"\(([A-Za-z])\)")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3041-\U0003ffff]")


def named_option(text: str, options: Sequence[str]) -> int | None:
    """The one option that an answer names: by its letter, or by its words.

    A letter at the start goes first, then what is called the answer, then letters in brackets, then
    the words of an option. Where one of these names two options, none is named. That an option is
    spoken of (`option B would be a stereotype`) names it only where no words do.
    """
    text = text.strip()
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]}\n{text[-_READ:]}"
    text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    for way in (_FIRST, _SAID, _BRACKETED):
        numbers = _letters(way, text, len(options))
        if numbers:
            return numbers.pop() if len(numbers) == 1 else None
    by_words = _by_words(" ".join(text.casefold().split()), options)
    spoken_of = _letters(_OPTION, text, len(options))
    if by_words is None and len(spoken_of) == 1:
        return spoken_of.pop()
    return by_words


def _letters(way: re.Pattern[str], text: str, count: int) -> set[int]:
    """The options whose letters a pattern finds; none where one is a letter of no option."""
    found = {next(filter(None, one.groups())).lower() for one in way.finditer(text)}
    numbers = {ord(letter) - ord("a") for letter in found}
    return numbers if numbers and max(numbers) < count else set()


def _by_words(text: str, options: Sequence[str]) -> int | None:
    words = [" ".join(option.casefold().split()).rstrip(".") for option in options]
    named = [n for n, option in enumerate(words) if option and _stands(option, text)]
    longest = max(named, key=lambda n: len(words[n]), default=None)
    if longest is None or any(words[n] not in words[longest] for n in named):
        return None
    return longest


def _stands(option: str, text: str) -> bool:
    """Whether an option stands in a text as words, or as characters where words are not spaced."""
    if _UNSPACED.search(option):
        return option in text
    before = r"(?<!\w)" if option[0].isalnum() else ""
    after = r"(?!\w)" if option[-1].isalnum() else ""
    return re.search(f"{before}{re.escape(option)}{after}", text) is not None


def right_option(text: str, options: Sequence[str], target: int | None) -> bool | None:
    """Whether an answer names the right option; None where there are no options.

    An answer that names none, or two, is not right: who asks for a letter gets none.
    """
    if not options or target is None:
        return None
    return named_option(text, options) == target
