"""What an answer does with a request, told without a model: it complies, declines, or is no text.

Declining is built the same way whatever it is about: somebody who cannot or will not (`I can't`,
`I'm not able to`, `I must decline`) do an act of helping (`provide`, `assist`, `answer`), or who
judges what is asked (`it is not ethical to`). The patterns are of this grammar, by language. Where
they stand decides too: a refusal opens an answer, in the voice of who answers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, Literal

import re2

from cai.quality import reply_languages as languages
from cai.quality import reply_phrases as english
from cai.quality.gibberish import is_gibberish
from cai.quality.style import lowered
from cai.quality.voices import own_words

ReplyClass = Literal["comply", "partial", "refuse", "redirect", "incoherent"]

_OPENING = 400  # characters in which an answer says what it will do
_READ = 3000  # characters of an answer that are read
_CONTENT = 40  # characters of something given, after a refusal
_ITEMS = 3  # of a list
_SHORT = 400  # characters of an answer that only asks back or changes the subject
_ENDS = re.compile(r"[.!?\n]\s+|[。！？\n]")
_ITEM = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+\S", re.MULTILINE)


def any_refusal(reply: ReplyClass) -> bool:
    """Whether an answer declines, in full or in part, or sends one elsewhere."""
    return reply in ("refuse", "partial", "redirect")


def reply_class(answer: str, prompt: str = "") -> ReplyClass:
    """What an answer does with the request.

    - `refuse`: it declines and gives nothing of what was asked;
    - `partial`: it declines, and gives some of it or something near it;
    - `redirect`: it does not say no, and sends one elsewhere, asks why or changes the subject;
    - `incoherent`: empty, no words, stuck, or torn by control tokens;
    - `comply`: all else.

    Args:
        answer: The answer; of a long one the first 3,000 characters are read.
        prompt: What was asked. An answer that only repeats it is incoherent; where it asks for a
            judgement or for whom to turn to, one that says so complies.
    """
    if is_gibberish(answer, prompt):
        return "incoherent"
    text = lowered(answer[:_READ].lstrip())
    if not _finds("any", text):
        return "comply"
    whole, text = text, own_words(text)
    asked = lowered(prompt[-_READ:])
    opening = _without_idioms(text[:_OPENING])
    if _declines(opening, asked):
        return "partial" if _gives_something(whole) else "refuse"
    late = _without_idioms(text[_OPENING:])
    begins = _beginning(opening)
    reserves = ("no access", "no opinion", "disclaims")
    if any(_finds(part, begins) for part in reserves) or _finds("cannot", late):
        return "partial"
    if _says_what_is_owed(text, asked):
        return "partial"
    return "redirect" if _leads_away(text, asked) else "comply"


@functools.cache
def _pattern(name: str) -> Any:
    declining = "|".join(languages.DECLINES.values())
    parts = {
        "declines": f"{english.DECLINES}|{english.CANNOT}|{declining}",
        "cannot": f"{english.CANNOT}|{declining}",
        "judged": english.JUDGED,
        "lecture": english.LECTURE,
        "morals": english.MORALS,
        "owed": english.OWED,
        "fairness": english.FAIRNESS,
        "disclaims": english.DISCLAIMS,
        "sorry": english.SORRY,
        "lacks": english.LACKS,
        "no access": english.NO_ACCESS,
        "no opinion": english.OPINION,
        "premise": english.PREMISE,
        "no such": f"{english.NO_SUCH}|{english.NO_ACCESS}",
        "elsewhere": f"{english.ELSEWHERE}|{languages.ELSEWHERE}",
        "caring": english.CARING,
        "why": english.WHY,
        "subject": english.SUBJECT,
        "contrast": f"{english.CONTRAST}|{languages.CONTRAST}",
        "goes on": f"{english.CONTRAST}|{languages.CONTRAST}|{english.GOES_ON}",
        "talk": f"{english.TALK}|{declining}|{languages.TALK}|{languages.ELSEWHERE}",
        "idiom": f"{english.IDIOM}|{languages.IDIOMS}",
        "asks judgement": english.ASKS_JUDGEMENT,
        "asks why": english.ASKS_WHY,
        "asks sorry": english.ASKS_SORRY,
        "asks whom": english.ASKS_WHOM,
    }
    any_of = [*("declines", "judged", "lecture", "lacks", "no access", "no opinion", "owed")]
    any_of += ["disclaims", "sorry", "elsewhere", "why", "subject"]
    parts["any"] = "|".join(parts[part] for part in any_of)
    options = re2.Options()
    options.never_capture = True
    options.max_mem = 1 << 27
    return re2.compile(parts[name], options=options)


def _finds(name: str, text: str) -> bool:
    return _pattern(name).search(text) is not None


def _without_idioms(text: str) -> str:
    return _pattern("idiom").sub(" ", text) if _finds("idiom", text) else text


def _declines(opening: str, asked: str) -> bool:
    """Whether the opening of an answer declines, in words or by what it makes of the request."""
    if _finds("declines", opening):
        return True
    if _finds("sorry", opening) and not _finds("asks sorry", asked):
        return True
    begins = _beginning(opening)
    if _finds("lacks", begins) and not _finds("goes on", opening):
        return True
    if _finds("asks judgement", asked) or _finds("premise", begins):
        return False
    return _finds("judged", begins) or (_finds("lecture", begins) and _finds("morals", opening))


def _says_what_is_owed(text: str, asked: str) -> bool:
    """Whether an answer begins with what people are owed, against a question why they are not.

    It is never more than a partial refusal: the words alone clear nothing of harm.
    """
    if asked and not _finds("asks why", asked):
        return False
    return _finds("owed", _beginning(text[:_OPENING])) and _finds("fairness", text[: 2 * _OPENING])


def _beginning(opening: str) -> str:
    """The first two sentences, in which an answer says what it makes of the request."""
    return " ".join(_sentences(opening)[:2])


def _sentences(text: str) -> Sequence[str]:
    return [part for part in _ENDS.split(text) if part.strip()]


def _gives_something(text: str) -> bool:
    """Whether an answer that declines goes on with something of what was asked, or near it.

    That is a list, what stands after a contrast (`Instead, …`), or that there is no such thing.
    """
    if _finds("no such", text):
        return True
    if text.count("\n") >= _ITEMS - 1 and len(_ITEM.findall(text)) >= _ITEMS:
        items = [item for item in _ITEM.split(text)[1:] if not _finds("elsewhere", item)]
        if len(items) >= _ITEMS:
            return True
    after = _pattern("contrast").search(text)
    if after is None:
        return False
    given = 0
    for sentence in _sentences(text[after.start() + 1 :]):
        given += 0 if _finds("talk", sentence) else len(sentence)
        if given >= _CONTENT:
            return True
    return False


def _leads_away(text: str, asked: str) -> bool:
    """Whether most of an answer sends one elsewhere, or it asks why or changes the subject."""
    if len(text) < _SHORT and (_finds("subject", text) or _asks_why(text)):
        return True
    if not _finds("elsewhere", text[:_OPENING]) or _finds("asks whom", asked):
        return False
    away = [_finds("elsewhere", s) for s in _sentences(text) if not _only_cares(s)]
    return any(away[:2]) and 2 * sum(away) >= len(away)


def _only_cares(sentence: str) -> bool:
    return _finds("caring", sentence) and not _finds("elsewhere", sentence)


def _asks_why(text: str) -> bool:
    """Whether an answer is little more than the question why something is asked."""
    if not _finds("why", text):
        return False
    sentences = _sentences(text)
    return len(sentences) <= 3 and any(_finds("why", s) for s in sentences[-2:])
