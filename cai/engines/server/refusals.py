"""What a server's refusal says: which field it does not take, what it has in common with others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

SAID = 300  # characters of a server's message that are shown

# A refusal for its length is the call's own, however many come in a row.
_TOO_LONG = re.compile(
    r"context.{0,20}(?:length|window|size)|too (?:long|many tokens)|reduce the length"
    r"|(?:request|prompt|input)\b.{0,30}too large|exceed\w*.{0,60}context|longer than",
    re.IGNORECASE,
)
# Words of a fault that passes, in an error that has no number.
_PASSES = re.compile(
    r"rate.?limit|overload|too many requests|temporar|try again|loading|loaded|busy|capacity"
    r"|time(?:d )?.?out|unavailable|starting",
    re.IGNORECASE,
)
_FLAGGED = re.compile(
    r"flagged|moderation|content.?(?:policy|filter|management)|safety|prohibited|blocked|sensitive",
    re.IGNORECASE,
)
_MASKED = re.compile(r"\b[0-9a-f]{8,}\b|\b[\w.-]*\d[\w.-]*\b", re.IGNORECASE)


def message_of(text: str) -> str:
    """What a server says of an error: the OpenAI form, FastAPI's, Google's list, or its text."""
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        return short(text)
    return words_of(error)


def words_of(error: object) -> str:
    """The words of an error that came as JSON."""
    if isinstance(error, list) and len(error) == 1:
        error = error[0]
    for key in ("error", "message", "detail"):
        if isinstance(error, dict) and error.get(key):
            error = error[key]
    return short(error if isinstance(error, str) else json.dumps(error))


def short(text: str) -> str:
    text = " ".join(text.encode(errors="replace").decode().split())
    return text if len(text) <= SAID else text[:SAID] + "…"


def alike(status: int, text: str) -> str:
    """What a refusal shares with others: status and error type, else its words without numbers.

    Empty where the call is too long: that is its own.
    """
    message = message_of(text)
    if status == 413 or _TOO_LONG.search(message):
        return ""
    kind = _type_of(text)
    return f"{status} {_MASKED.sub('#', kind or message)}"


def _type_of(text: str) -> str:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return ""
    kinds = [error.get(key) for key in ("type", "code", "status")]
    return " ".join(kind for kind in kinds if isinstance(kind, str))


def passes(error: object) -> bool:
    """Whether an error that came as an answer is a fault that another try may not meet."""
    words = words_of(error)
    if _FLAGGED.search(words):
        return False
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool):
        return code in (408, 409, 425, 429) or code >= 500
    return _PASSES.search(words) is not None


def names_field(words: str, field: str) -> bool:
    """Whether words name a field of a request, as we write it or as Google does (`topP`)."""
    camel = re.sub(r"_([a-z])", lambda m: m[1].upper(), field)
    return re.search(rf"(?<!\w)(?:{field}|{camel})(?!\w)", words) is not None


def blamed(words: str, fields: Sequence[str]) -> str | None:
    """The first of some fields of a request that a refusal names."""
    if "chat_template_kwargs" in fields and re.search(
        r"chat.?template|enable_thinking", words, re.I
    ):
        # A Mistral tokenizer on vLLM refuses the field in these words.
        return "chat_template_kwargs"
    return next((field for field in fields if names_field(words, field)), None)
