"""What a writer gives instead of a prompt: told by its form, and counted by its reason."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import re2

from cai.cleaning.units import pieces, units
from cai.constitution.language import other_language
from cai.personal import personal_spans
from cai.quality.gibberish import is_gibberish
from cai.quality.replies import reply_class

Reason = Literal[
    "empty",
    "too long",
    "no text",
    "refusal",
    "announcement",
    "answer",
    "copied",
    "language",
    "placeholder",
    "personal data",
    "near-duplicate",
    "in a file to avoid",
    "no conversation",
    "call failed",
]
Mended = Literal["announcement", "numbering", "quotes"]

LONGEST = 300  # words, or characters where words are not spaced
_RUN = 8  # words of a principle in a row that are a copy; characters: three times as many
_NUMBERING = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):]|[a-h][.)])\s+")
_QUOTES = {
    '"': '"',
    "“": "”",
    "„": "“",
    "«": "»",
    "»": "«",
    "'": "'",
    "‘": "’",
    "「": "」",
    "『": "』",
}
# A line that only announces what follows, in the languages of the tests and some others.
_ANNOUNCEMENT = re2.compile(
    r"(?i)^\W*(?:sure|certainly|of course|okay|ok|here(?:'s|’s| is| are)|below is|this is|"
    r"(?:user )?(?:prompt|message|question|request)\b|the (?:user(?:'s|’s)? )?(?:prompt|message)|"
    r"klar|gerne|natürlich|hier (?:ist|sind|kommt)|nachricht|anfrage|"
    r"bien sûr|voici|claro|aquí (?:está|tienes)|ecco|"
    r"好的|当然|以下是|这是|这里是|用户(?:消息|提示)|提示|消息)[^\n]{0,120}[:：]\s*\**\s*"
)
_OPENS_AN_ANSWER = re2.compile(
    r"(?i)^\W*(?:sure|certainly|of course|absolutely|great question|as an ai|"
    r"i(?:'d| would) be happy to|thank you for (?:your|reaching)|"
    r"natürlich|gerne|selbstverständlich|als ki|"
    r"vielen dank für (?:ihre|deine) (?:anfrage|nachricht)|"
    r"bien sûr|en tant qu'ia|claro|como (?:una )?ia|"
    r"当然|好的|作为(?:一个)?(?:人工智能|ai)|很高兴为您|感谢您的(?:咨询|来信|提问))"
)
_CLOSES_AN_ANSWER = re2.compile(
    r"(?i)(?:i hope (?:this|that) helps|let me know if you (?:have|need)|"
    r"feel free to (?:ask|reach)|"
    r"ich hoffe,? das hilft|(?:lassen sie|lass) (?:es )?mich wissen|"
    r"j'espère que cela|espero que (?:esto|te) |希望(?:这|以上).{0,8}(?:帮助|有用)|请随时)"
)
_PLACEHOLDER = re2.compile(
    r"\[[^\]\n\d][^\]\n]{1,40}\]|\{\{?[A-Za-z_ ]{2,40}\}?\}|<[A-Za-z][A-Za-z_ ]{2,40}>|"
    r"\bX{3,}\b|\bINSERT\b|【[^】\n]{1,20}】|［[^］\n]{1,20}］|（请填写[^）]*）"
)
_ITEMS = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+\S", re.MULTILINE)


class Cut(NamedTuple):
    """A text without what stood around it, and what that was."""

    text: str
    mended: tuple[Mended, ...]


def cut(text: str) -> Cut:
    """Take an announcement, a number and quotation marks off a prompt."""
    text, mended = text.strip(), list[Mended]()
    found = _ANNOUNCEMENT.match(text)
    if found is not None and text[found.end() :].strip():
        text = text[found.end() :].strip()
        mended.append("announcement")
    number = _NUMBERING.match(text)
    if number is not None and not _ITEMS.search(text[number.end() :]):
        text = text[number.end() :].strip()
        mended.append("numbering")
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
        mended.append("quotes")
    return Cut(text, tuple(mended))


def problem(text: str, *, principle: Sequence[str], language: str | None) -> Reason | None:
    """Why a text is no prompt; None where it may be one. Near-duplicates are told elsewhere.

    Args:
        text: As `cut` leaves it.
        principle: The principle's own words, which no user knows.
        language: That was asked for (ISO 639), if one was.
    """
    if not text:
        return "empty"
    if len(pieces(text)) > LONGEST:
        return "too long"
    if is_gibberish(text):
        return "no text"
    if reply_class(text) in ("refuse", "partial"):
        return "refusal"
    if _ANNOUNCEMENT.match(text):
        return "announcement"
    if _is_answer(text):
        return "answer"
    if any(_copies(text, words) for words in principle):
        return "copied"
    if language is not None and other_language(text, language) is not None:
        return "language"
    if _PLACEHOLDER.search(text.replace("[sic]", "")):
        return "placeholder"
    return "personal data" if personal_spans(text) else None


def _is_answer(text: str) -> bool:
    if _OPENS_AN_ANSWER.match(text) or _CLOSES_AN_ANSWER.search(text):
        return True
    return len(_ITEMS.findall(text)) >= 3 and "?" not in text and "？" not in text


def _copies(text: str, words: str) -> bool:
    """Whether a text shares a run of words with a principle."""
    own = _runs(words)
    return bool(own) and not own.isdisjoint(_grams(text))


@functools.lru_cache(maxsize=512)
def _runs(words: str) -> frozenset[tuple[str, ...]]:
    return _grams(words)


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    sequence = [unit.lower() for unit in units(text)]
    unspaced = sum(len(unit) == 1 and not unit.isascii() for unit in sequence) > len(sequence) / 2
    size = 2 * _RUN if unspaced else _RUN
    return frozenset(tuple(sequence[i : i + size]) for i in range(len(sequence) - size + 1))
