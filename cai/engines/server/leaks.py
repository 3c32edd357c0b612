"""What a server lets through of a template is no text: end tokens, role words, invented turns.

A server that was started with another template than the model's writes the model's own tokens out
as text, and does not end an answer where the model ended it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cai.records import Leak

_NAME = r"[^|｜<>\s]{1,40}"
_TOKEN = (
    rf"<[|｜]{_NAME}[|｜]>|</s>|<\|\w{{1,20}}>|<\w{{1,20}}\|>"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos)>|\[/?INST\]"
)
# Tokens by which a model ends its turn: what stands before is what it wanted to say.
_END = re.compile(
    r"</s>|<eos>|<end_of_turn>|<turn\|>|<[|｜](?=[^>]*(?:end|eot|eom|eos|return))[^|｜<>\s]{1,40}[|｜]>",
    re.IGNORECASE,
)
_ROLE = r"(?:user|human|system|assistant|model|developer|tool)"
# The head of a turn: a token with a role in it or after it.
_HEAD = re.compile(rf"<[|｜]{_ROLE}[|｜]>|\[INST\]|(?:{_TOKEN})[ \t]*{_ROLE}\b", re.IGNORECASE)
# After a colon it is a dialogue that the answer tells.
_SPOKEN = re.compile(r"(?<!:)\n[ \t]*\n(?:(?:\*\*|### )?Human|USER):")
_LAST_TOKEN = re.compile(rf"(?:{_TOKEN})\Z")
_LONGEST = 64  # characters of a token
# At the start: tokens of the generation prompt, and a line that is the role alone.
_OWN_HEAD = re.compile(
    rf"\A\s*(?:(?:{_TOKEN})\s*)*(?:assistant|model)[ \t]*:?[ \t]*(?:{_TOKEN}|\n)\s*"
)
_OTHERS_HEAD = re.compile(r"\A\s*(?:user|human|system)[ \t]*:?[ \t]*\n", re.IGNORECASE)
# gpt-oss without its reasoning parser: channels as words, with or without their tokens.
_CHANNEL = re.compile(
    r"\A\s*(?:<\|channel\|>)?(?:analysis|commentary)(?:<\|message\|>|(?=[A-Z\"“'(]))"
    r"|assistantfinal|<\|channel\|>final"
)


class Trimmed(NamedTuple):
    """A text without what is a template's, and how it was with it."""

    text: str
    leak: Leak | None


def trimmed(text: str) -> Trimmed:
    """Cut what is no text of an answer.

    Where no whole answer stands before the cut the text is left as it is, and `torn`.
    """
    if is_channels(text) or _OTHERS_HEAD.match(text):
        return Trimmed(text, "torn")
    head = _OWN_HEAD.match(text)
    body = text[head.end() :] if head else text
    at, ended = _cut_at(body)
    if at is None:
        return Trimmed(body, "cut" if head else None)
    before = body[:at].rstrip()
    if not before or not (ended or _is_whole(before)):
        return Trimmed(text, "torn")
    return Trimmed(before, "cut")


def is_channels(text: str) -> bool:
    """Whether a text is a model's channels, of which only the last is an answer."""
    return _CHANNEL.search(text) is not None


def _cut_at(text: str) -> tuple[int | None, bool]:
    """Where the template's part begins, and whether an end token of the model stands there."""
    places = [m.start() for m in (*_HEAD.finditer(text), *_SPOKEN.finditer(text))]
    body = _without_last_tokens(text)
    places += [len(body)] if body != text.rstrip() else []
    first = min((at for at in places if not _in_code(text, at)), default=None)
    if first is None:
        return None, False
    # An end token before the head of the next turn, with nothing but white space between.
    ends = [m for m in _END.finditer(text) if not _in_code(text, m.start())]
    for end in ends:
        if end.start() <= first and not text[end.end() : first].strip():
            return end.start(), True
    return first, False


def _without_last_tokens(text: str) -> str:
    text = text.rstrip()
    while last := _LAST_TOKEN.search(text, max(0, len(text) - _LONGEST)):
        text = text[: last.start()].rstrip()
    return text


def _in_code(text: str, at: int) -> bool:
    """Whether a place is in a code block, or in backticks within its line."""
    if text.count("```", 0, at) % 2:
        return True
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line.replace("```", "").count("`") % 2 == 1


def _is_whole(text: str) -> bool:
    """Whether a text may end here: after the end of a sentence, a list or a block."""
    return text.count("```") % 2 == 0 and not (text[-1].isalnum() or text[-1] in ",;-–—(<")
