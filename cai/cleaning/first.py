"""The cleaning rules of version 0.1.0 (rules 1), by which its run folders are read again.

They know words between spaces and phrases in English.
"""

from __future__ import annotations

import re
import unicodedata

from cai.records import Cleaned, Completion

_NOUN = r"(?:response|answer|reply|version|revision|rewrite|draft|message|text)"
_CHANGED = r"(?:revised|rewritten|updated|improved|edited|corrected|modified|new|better|final)"
_OPENER = (
    r"(?:(?:sure|certainly|of course|okay|ok|absolutely|understood|thank you|thanks|yes)"
    r"\b[^:\n]{0,80})?"
)
# "Here is the revised response:", "Sure! Below is a better version:" on a line of its own.
_ANNOUNCEMENT = re.compile(
    rf"\A[*_#> ]*{_OPENER}[*_#> ]*(?:here(?:'s|’s| is| are)|below is|this is"
    r"|i(?:'ve|’ve| have) (?=revised|rewritten|updated|improved|edited|corrected))\b"
    rf"(?=[^\n]*\b(?:{_CHANGED}\b[^\n]*\b{_NOUN}|{_NOUN}\b[^\n]*\b{_CHANGED}|revision|rewrite"
    rf"|revised|rewritten)\b)[^\n]{{0,200}}:[*_ ]*(?:\n+|\Z)",
    re.IGNORECASE,
)
# "Revised response:", "**Revision:**", also with the text on the same line.
_LABEL = re.compile(
    r"\A[*_#> ]*(?:(?:the|my|a)\s+)?(?:"
    r"(?:revised|rewritten|updated|improved|edited|corrected)\s+(?:\w+\s+)?"
    r"(?:response|answer|reply|version)[*_ ]*:[*_]*\s*"
    rf"|(?:{_CHANGED}\s+(?:response|answer|reply|version)|revision)[*_ ]*:[*_ ]*(?:\n+|\Z))",
    re.IGNORECASE,
)
_REASONING = re.compile(
    r"\A\s*<(think|thinking|reasoning|scratchpad)>.*?(?:</\1>|\Z)\s*", re.IGNORECASE | re.DOTALL
)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}
_WORD = re.compile(r"\w+")


def clean_revision(text: str) -> Cleaned:
    """Take reasoning blocks, an announcement and quotes around the whole off a revision."""
    text, removed = text.strip(), []
    for name, pattern in (
        ("reasoning", _REASONING),
        ("preamble", _ANNOUNCEMENT),
        ("preamble", _LABEL),
    ):
        match = pattern.match(text)
        if match:
            text = text[match.end() :].strip()
            removed.append(name)
    inside = _unquoted(text)
    if inside is not None:
        text = inside
        removed.append("quotes")
    return Cleaned(text=text, removed=tuple(removed))


def _unquoted(text: str) -> str | None:
    """The text inside quotes that surround the whole and occur nowhere else in it."""
    close = _QUOTES.get(text[:1])
    if close is None or len(text) < 3 or not text.endswith(close):
        return None
    inside = text[1:-1]
    return None if text[0] in inside or close in inside else inside.strip()


def defect(
    completion: Completion,
    text: str,
    read: tuple[str, ...] = (),
    instructions: tuple[str, ...] = (),
) -> str | None:
    """Why a text can't be training data (`empty`, `truncated`, `leak`, `echo`, `loop`), or None.

    Args:
        completion: The completion that the text is from.
        text: The text after cleaning.
        read: Texts that the model may have repeated instead of answering.
        instructions: Texts of ours, no part of which belongs in an answer.
    """
    # What was cut off was no part of the answer, however long it went on.
    if completion.finish_reason == "length" and completion.leak != "cut":
        return "truncated"
    if completion.leak == "torn":
        return "leak"
    if not text.strip():
        return "empty"
    if any(_echoes(text, source) for source in read):
        return "echo"
    if _copied_share(text, instructions) > 0.5:
        return "echo"
    return "loop" if loops(text) else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _echoes(text: str, source: str) -> bool:
    """Whether a text is the source and next to nothing else; sources under 4 words don't count."""
    words, origin = _words(text), _words(source)
    return len(origin) >= 4 and words[: len(origin)] == origin and len(words) - len(origin) < 5


def _grams(text: str) -> list[tuple[str, ...]]:
    words = _words(text)
    return list(zip(words, words[1:], words[2:], words[3:], strict=False))


def _copied_share(text: str, sources: tuple[str, ...]) -> float:
    """The share of a text's word 4-grams that stand in the sources, in [0, 1]."""
    grams = _grams(text)
    source_grams = {gram for source in sources for gram in _grams(source)}
    return sum(gram in source_grams for gram in grams) / len(grams) if grams else 0.0


def _says_something(character: str) -> bool:
    return unicodedata.category(character) in ("Ll", "Lu", "Lo", "Lt", "Lm", "So")


def loops(text: str) -> bool:
    """Whether a text is stuck: its end repeats one piece, or few of its word 4-grams are distinct.

    The end counts when the same 1 to 300 characters stand there at least five times in a row, with
    a letter or an emoji in them, over at least 80 characters; the 4-grams when fewer than 40 % of
    at least 60 are distinct.
    """
    if same_end(text):
        return True
    grams = _grams(text)
    return len(grams) >= 60 and len(set(grams)) < 0.4 * len(grams)


def alike(one: str, other: str) -> bool:
    """Whether two texts differ in case, spacing and punctuation at most."""
    return _letters(one) == _letters(other)


def _letters(text: str) -> str:
    """The text without case, spacing and punctuation: what differs beyond that is a difference."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


def same_end(text: str) -> bool:
    """Whether the same 1 to 300 characters stand at the end at least five times in a row.

    Over at least 80 characters, and with a letter or an emoji in them.
    """
    for period in range(1, min(300, len(text) // 5) + 1):
        unit = text[-period:]
        if text[-2 * period : -period] != unit:
            continue
        times = max(5, -(-80 // period))
        if text.endswith(unit * times) and any(_says_something(c) for c in unit):
            return True
    return False
