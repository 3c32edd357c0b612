"""A conversation in any of the forms that data comes in, as turns of {role, content}.

The forms: a text; a transcript ("Human: …", "Assistant: …" after blank lines, as in hh-rlhf); a
list of {role, content}, or of {from, value} (ShareGPT); such a list written out in a cell. Text is
never cut or stripped.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from itertools import pairwise
from typing import Any

from cai.sources.bad_rows import RowError
from cai.sources.wording import a_kind_of, listed

Turns = list[dict[str, str]]

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", **_ROLES}
_TOOLS = ("tool", "function", "function_call", "function_response", "observation", "ipython")
_TEXT_PARTS = (None, "text", "input_text", "output_text")
MEDIA = ("image", "images", "audio", "audios", "video", "videos")  # beside a text
_MARKER = re.compile(r"\n\n(Human|Assistant):")
_WRITTEN = re.compile(r"\s*\[?\s*\{")
_TURN_KEYS = re.compile(r"""(['"])(role|from)\1\s*:""")
_TURN_VALUES = re.compile(r"""(['"])(content|value)\1\s*:""")

HINT = 'Write a text, or a list such as [{"role": "user", "content": "…"}].'


def turns_of(value: Any, where: str, *, text: bool = True) -> Turns:
    """All turns of a conversation in any of its forms; any other text is a turn of the user.

    An empty system message says nothing and is left out. A null is a user who says nothing.

    Args:
        value: The field.
        where: Its place, for errors.
        text: Whether a text that is no conversation may stand for a turn of the user.

    Raises:
        RowError: It is in none of these forms, or a turn is a tool's, an image, null, or by the
            same speaker as the one before.
    """
    if value is None:
        return [{"role": "user", "content": ""}]
    if isinstance(value, str):
        turns = transcript(value) if text else []
        if turns:
            return turns
        written = written_out(value, where)
        if written is None and text:
            return [{"role": "user", "content": value}]
        value = value if written is None else written
    if not isinstance(value, list):
        expected = "a text or a list of messages" if text else "a list of messages"
        raise RowError(where, "wrong type", f"must be {expected}, not {a_kind_of(value)}", HINT)
    if text and value and all(isinstance(turn, str) for turn in value):
        if len(value) == 1:
            return turns_of(value[0], where)
        message = f"{len(value)} turns without the answers between them; a prompt is never cut"
        hint = "Write one turn as `prompt`, or a conversation with its answers as `messages`."
        raise RowError(where, "no answers between", message, hint)
    return _messages(value, where)


def _messages(values: list[Any], where: str) -> Turns:
    if not values:
        raise RowError(where, "wrong type", "there is no user turn", HINT)
    turns = [_turn(value, f"{where}[{i}]") for i, value in enumerate(values)]
    turns = [t for t in turns if t["role"] != "system" or t["content"].strip()]
    for i, (before, after) in enumerate(pairwise(turns), 1):
        if before["role"] == after["role"]:
            message = f"two turns of the {after['role']} in a row (turn {i} and {i + 1})"
            raise RowError(where, "doubled turn", message, "Join the two, or take one out.")
    return turns


def transcript(text: str) -> Turns:
    """All turns of a text in the form of hh-rlhf; [] if it is not one.

    Only a marker at the start of a line after a blank one begins a turn, and one space after it is
    not text. Turns of one speaker in a row (they are in the data: jokes, quotes) are joined. A text
    whose lines end as on Windows is the same transcript.
    """
    if not text.lstrip().startswith("Human:"):
        return []
    if "\r\n\r\nHuman:" in text or "\r\n\r\nAssistant:" in text:
        text = text.replace("\r\n", "\n")
    body = text.lstrip()
    if not (text.startswith("\n\nHuman:") or "\n\nAssistant:" in body):
        return []
    parts = _MARKER.split("\n\n" + body)
    turns: Turns = []
    for speaker, content in zip(parts[1::2], parts[2::2], strict=True):
        role = "user" if speaker == "Human" else "assistant"
        words = content.removeprefix(" ")
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += "\n\n" + words
        else:
            turns.append({"role": role, "content": words})
    return turns


def _turn(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        message = f"a message must be an object, not {a_kind_of(value)}"
        raise RowError(where, "wrong type", message, HINT)
    share = "from" in value and "role" not in value
    speaker, speech = ("from", "value") if share else ("role", "content")
    name, roles = value.get(speaker), _SPEAKERS if share else _ROLES
    if any(value.get(key) for key in MEDIA):
        raise RowError(where, "not text", "the message has an image, a sound or a film")
    if name in _TOOLS or value.get("tool_calls") or value.get("function_call"):
        raise RowError(where, "tool call", "a tool is called or answers, which is no text")
    if not isinstance(name, str) or name not in roles:
        known = speaker in value
        message = f"unknown {speaker} {listed([name])}" if known else "the message has no role"
        hint = "Roles are system, user and assistant; of {from, value}: system, human and gpt."
        raise RowError(where, "unknown role", message, hint)
    return {"role": roles[name], "content": _content(value.get(speech), where)}


def _content(value: Any, where: str) -> str:
    """The text of a message; parts that are text are joined by a line break, as servers do."""
    if isinstance(value, str):
        return value
    if value is None:
        raise RowError(where, "null content", "the message's content is null or missing")
    if not isinstance(value, list):
        message = f"content must be text, not {a_kind_of(value)}"
        raise RowError(where, "wrong type", message, HINT)
    texts = []
    for part in value:
        text = part.get("text") if isinstance(part, dict) else part
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            what = f"of type {listed([kind])}" if kind is not None else a_kind_of(part)
            raise RowError(where, "not text", f"a part of the message is {what}, not text")
        texts.append(text)
    return "\n".join(texts)


def written_out(text: str, where: str) -> list[Any] | None:
    """The messages of a conversation that was written out as JSON or by Python; None of a text.

    Raises:
        RowError: It looks like one and cannot be read back: as text it would be garbage.
    """
    if not (_WRITTEN.match(text) and _TURN_KEYS.search(text) and _TURN_VALUES.search(text)):
        return None
    value = _parsed(text)
    if _holds_turns(value):
        turns: list[Any] = value
        return turns
    inside = value.values() if isinstance(value, dict) else ()
    if value is not None and not _is_turn(value) and not any(map(_holds_turns, inside)):
        return None  # data of another kind, which somebody asks about
    message = "a conversation that was written out and cannot be read back"
    hint = 'Write it as JSON, [{"role": "user", "content": "…"}], or save the table as Parquet.'
    raise RowError(where, "unreadable text", message, hint)


def _parsed(text: str) -> Any:
    """The value of a JSON text or of a Python literal; None if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape that Python does not know
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and any(
        {speaker, speech} <= value.keys()
        for speaker, speech in (("role", "content"), ("from", "value"))
    )


def _holds_turns(value: Any) -> bool:
    return isinstance(value, list) and any(map(_is_turn, value))
