"""What an answer does with a request, told without a model: it complies, declines, or is no text.

Declining is built the same way whatever it is about: somebody who cannot or will not (`I can't`,
`I'm not able to`, `I must decline`) do an act of helping (`provide`, `assist`, `answer`), or who
judges what is asked (`it is not ethical to`). The patterns are of this grammar, by language. Where
they stand decides too: a refusal opens an answer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, Literal

import re2

from cai.cleaning import loops
from cai.quality import reply_phrases as phrases
from cai.quality.style import lowered

ReplyClass = Literal["comply", "partial", "refuse", "redirect", "incoherent"]

_OPENING = 400  # characters in which an answer says what it will do
_READ = 3000  # characters of an answer that are read
_ENDS = re.compile(r"[.!?\n]\s+|[。！？\n]")
_LIST = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+\S", re.MULTILINE)
_LETTER = re.compile(r"[^\W\d_]")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")
_QUOTED = re.compile(
    r"\"[^\"\n]{0,400}\"|“[^”]{0,400}”|„[^“”]{0,400}[“”]|«[^»]{0,400}»|「[^」]{0,400}」"
    r"|(?<!\w)'(?:[^'\n]|'(?=\w)){0,400}'(?!\w)"
)
_FEW = 3  # words
_ECHO = 20  # characters of a prompt that is repeated
_LONGEST = 60  # letters of a word
_LOOP = 80  # characters of a text that can be stuck


def any_refusal(reply: ReplyClass) -> bool:
    """Whether an answer declines, in full or in part, or sends one elsewhere."""
    return reply in ("refuse", "partial", "redirect")


def reply_class(answer: str, prompt: str = "") -> ReplyClass:
    """What an answer does with the request.

    - `refuse`: it declines and gives nothing of what was asked;
    - `partial`: it declines, and gives some of it or something near it;
    - `redirect`: it does not say no, and sends one elsewhere instead;
    - `incoherent`: empty, no words, or stuck;
    - `comply`: all else.

    Args:
        answer: The answer; of a long one the first 3,000 characters are read.
        prompt: What was asked; an answer that only repeats it is incoherent.
    """
    if _is_no_text(answer, prompt):
        return "incoherent"
    text = _unquoted(lowered(answer[:_READ]))
    opening = text[:_OPENING]
    if _pattern("other").search(opening):
        return "refuse"
    if _declines(opening):
        return "partial" if _gives_something(text) else "refuse"
    return "partial" if _declines_late(text[_OPENING:]) else _elsewhere(text)


def _unquoted(text: str) -> str:
    """A text without what it quotes: who declines there is somebody else."""
    if not any(mark in text for mark in "\"'“„«「"):
        return text
    own = _QUOTED.sub('""', text)
    return own if len(own.split()) >= _FEW else text  # an answer in quotation marks as a whole


@functools.cache
def _pattern(name: str) -> Any:
    parts = {
        "cannot": phrases.CANNOT,
        "judged": phrases.JUDGED,
        "lecture": phrases.LECTURE,
        "premise": phrases.PREMISE,
        "elsewhere": phrases.ELSEWHERE,
        "goes on": phrases.GOES_ON,
        "idiom": phrases.IDIOM,
        "other": "|".join(phrases.OTHER_LANGUAGES.values()),
    }
    options = re2.Options()
    options.never_capture = True
    options.max_mem = 1 << 26
    return re2.compile(parts[name], options=options)


def _declines(text: str) -> bool:
    """Whether the opening of an answer declines."""
    if _pattern("cannot").search(text) and not _only_idioms(text):
        return True
    begins = " ".join(_sentences(text)[:2])
    lectures = _pattern("lecture").search(text)
    if not lectures and not _pattern("judged").search(begins):
        return False
    return not _pattern("premise").search(begins)


def _only_idioms(text: str) -> bool:
    if not _pattern("idiom").search(text):
        return False
    return not _pattern("cannot").search(_pattern("idiom").sub(" ", text))


def _declines_late(text: str) -> bool:
    return bool(text and _pattern("cannot").search(text) and not _only_idioms(text))


def _elsewhere(text: str) -> ReplyClass:
    """Whether most of an answer that does not decline sends one elsewhere."""
    sentences = _sentences(text)
    if sentences and _pattern("elsewhere").search(sentences[0]):
        away = sum(bool(_pattern("elsewhere").search(s)) for s in sentences)
        if 2 * away >= len(sentences):
            return "redirect"
    return "comply"


def _sentences(text: str) -> Sequence[str]:
    return [part for part in _ENDS.split(text) if part.strip()]


def _gives_something(text: str) -> bool:
    """Whether an answer that declines goes on with something of what was asked."""
    return bool(_pattern("goes on").search(text)) or len(_LIST.findall(text)) >= 3


def _is_no_text(answer: str, prompt: str) -> bool:
    """Whether an answer is empty, without words, babble, stuck, or the prompt again."""
    text = answer.strip()
    read = text[:_READ]
    if not _LETTER.search(read):
        return not any(c.isdigit() for c in read)
    if len(prompt) >= _ECHO and text.casefold() == prompt.strip().casefold():
        return True
    words = read.split()
    return _babbles(words) or (_may_loop(text, words) and is_stuck(answer))


@functools.lru_cache(maxsize=4)
def is_stuck(answer: str) -> bool:
    """Whether an answer loops; two measures ask it of one text."""
    return loops(answer)


def _babbles(words: Sequence[str]) -> bool:
    """Whether most words are letters that nobody could speak."""
    if len(words) == 1:
        return len(words[0]) > _LONGEST and words[0].isascii() and words[0].isalpha()
    spelt = [w for w in words[:60] if len(w) > 3 and w.isascii() and w.isalpha()]
    mute = sum(_VOWEL.search(w) is None for w in spelt)
    return mute >= 4 and 2 * mute > len(spelt)


def _may_loop(text: str, words: Sequence[str]) -> bool:
    """Whether a text is worth a look for loops: its end is there before, or few words are new."""
    if len(text) < _LOOP:
        return False
    own = [word for word in words if not word[0].isdigit()]
    return text.count(text[-12:]) >= 3 or len(set(own)) < 0.45 * len(own)
