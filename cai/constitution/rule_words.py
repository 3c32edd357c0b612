"""What a rule allows, in words: for a model that is to keep it, and for a person who reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cai.constitution.language import NAMES
from cai.constitution.records import Check

_UNITS = ("words", "sentences", "paragraphs", "characters")
_MARKS = {
    "lists": "no lists",
    "headings": "no headings",
    "links": "no links",
    "emoji": "no emoji",
    "exclamation_marks": "no exclamation marks",
    "personal_data": "no personal data",
}


def allowed(check: Check) -> str:
    """What a text has to be, as one sentence: "At most 40 words, no lists."."""
    words = ", ".join(_parts(check))
    return f"{words[:1].upper()}{words[1:]}."


def _parts(check: Check) -> Iterator[str]:
    for unit in _UNITS:
        yield from _number(unit, getattr(check, f"min_{unit}"), getattr(check, f"max_{unit}"))
    for pattern in check.forbid:
        yield f"nothing that matches {_quoted(pattern)}"
    for pattern in check.require:
        yield f"something that matches {_quoted(pattern)}"
    yield from _ends(check)
    yield from (words for name, words in _MARKS.items() if getattr(check, name) is False)
    if check.language is not None:
        yield f"written in {NAMES.get(check.language, check.language)}"
    if check.valid_json:
        yield "valid JSON as a whole and nothing else"


def _number(unit: str, least: int | None, most: int | None) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"{least} to {most} {unit}"
    elif most is not None:
        yield f"at most {most} {unit[:-1] if most == 1 else unit}"
    elif least is not None:
        yield f"at least {least} {unit[:-1] if least == 1 else unit}"


def _ends(check: Check) -> Iterator[str]:
    if check.starts_with is not None:
        yield f"begins with {_quoted(check.starts_with)}"
    if check.ends_with is not None:
        yield f"ends with {_quoted(check.ends_with)}"
    if check.ends_with_question is not None:
        yield "ends with a question" if check.ends_with_question else "ends without a question"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
