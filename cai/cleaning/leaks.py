"""What comes of a template is no text: end tokens, role words, invented turns.

A server that was started with another template than the model's writes the model's own tokens out
as text, and does not end an answer where the model ended it. A model that has learnt from
transcripts goes on with the user's next turn, on any engine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cai.cleaning.phrases import choices, starts
from cai.records import Completion, Leak

_NAME = r"[^|｜<>\s]{1,40}"
_TOKEN = (
    rf"<[|｜]{_NAME}[|｜]>|</s>|<\|\w{{1,20}}>|<\w{{1,20}}\|>"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos)>|\[/?INST\]|<</?SYS>>"
)
# Tokens by which a model ends its turn: what stands before is what it wanted to say.
_END = re.compile(
    r"</s>|<eos>|<end_of_turn>|<turn\|>|<[|｜](?=[^>]*(?:end|eot|eom|eos|return))[^|｜<>\s]{1,40}[|｜]>",
    re.IGNORECASE,
)
_ROLE = r"(?:user|human|system|assistant|model|developer|tool)"
# The head of a turn: a token with a role in it or after it.
_HEAD = re.compile(rf"<[|｜]{_ROLE}[|｜]>|\[INST\]|(?:{_TOKEN})[ \t]*{_ROLE}\b", re.IGNORECASE)
_SPEAKING = re.compile(r"[*_#>\-–—\"“« ]{0,4}[^\W\d][\w .'’-]{0,20}[*_]{0,2}[:：]")  # "Bob: Hi."
_LAST_TOKEN = re.compile(rf"(?:{_TOKEN})\Z")
_LONGEST = 64  # characters of a token
# At the start: tokens of the generation prompt, and a line that is the role alone.
_OWN_HEAD = re.compile(
    rf"\A\s*(?:(?:{_TOKEN})\s*)*(?:assistant|model)[ \t]*:?[ \t]*(?:{_TOKEN}|\n)\s*"
    r"|\A\s*(?:(?:<s>|<bos>|\[/INST\]|<\|(?:begin_of_text|startoftext)\|>)\s*)+"
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
    before = _without_last_tokens(body[:at])
    if not before or not (ended or _is_whole(before)):
        return Trimmed(text, "torn")
    return Trimmed(before, "cut")


def without_leak(completion: Completion) -> Completion:
    """A completion as it is after `trimmed`; one in which a leak was found before stays."""
    if completion.leak is not None:
        return completion
    text, leak = trimmed(completion.text)
    return completion.model_copy(update={"text": text, "leak": leak})


def is_channels(text: str) -> bool:
    """Whether a text is a model's channels, of which only the last is an answer."""
    return _CHANNEL.search(text) is not None


def _cut_at(text: str) -> tuple[int | None, bool]:
    """Where the template's part begins, and whether an end token of the model stands there."""
    places = [m.start() for m in _HEAD.finditer(text)] + list(_spoken(text))
    body = _without_last_tokens(text)
    places += [len(body)] if body != text.rstrip() else []
    first = _outside_code(text, places)
    if first is None:
        return None, False
    # An end token before the head of the next turn, with nothing but white space between.
    end = len(text[:first].rstrip())
    ends = _END.finditer(text, max(0, end - _LONGEST), end)
    before = next((m.start() for m in ends if m.end() == end), None)
    if before is not None and _outside_code(text, [before]) is not None:
        return before, True
    return first, _END.match(text, first) is not None


def _spoken(text: str) -> Iterator[int]:
    """Where a turn begins that the model made up: its speaker and a colon, after a whole line.

    Where someone speaks before, or a colon announces it, it is a dialogue that the answer tells.
    """
    turn, speaker = _speakers()
    found = turn.search(text)
    if found is None:
        return
    before = text[: found.start()].rstrip()
    line = before[before.rfind("\n") + 1 :].rstrip("*_ ")
    alone = text[found.start() : found.end()].count("\n") > 1
    told = _SPEAKING.match(line) and not starts("note_label").match(line)
    if line[-1:] in ":：" or told or speaker.search(before):
        return
    if alone or line[-1:] in '!?.…。！？।؟"”»)）」':
        yield found.start()


@functools.cache
def _speakers() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The head of a turn that is spoken, and a line that user, model or a machine speaks."""
    user, assistant = choices("user"), choices("assistant")
    turn = rf"(?:\*\*|#{{2,4}} )?(?:{user}|{assistant})(?:\*\*)?[ \t]?[:：]"
    tutorial = r"#{2,4} (?:Instruction|Input|Response)[ \t]?:"
    return (
        re.compile(rf"\n(?:[ \t]{{0,8}}\n)?[ \t]{{0,8}}(?:{turn}|{tutorial})"),
        re.compile(
            rf"^[\W_]{{0,4}}(?:{user}|{assistant}|AI|Bot|Chatbot|Robot)\W{{0,2}}[:：]", re.M
        ),
    )


def _without_last_tokens(text: str) -> str:
    end = _end_of_words(text, len(text))
    while last := _LAST_TOKEN.search(text, max(0, end - _LONGEST), end):
        end = _end_of_words(text, last.start())
    return text[:end]


def _end_of_words(text: str, end: int) -> int:
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _outside_code(text: str, places: Iterable[int]) -> int | None:
    """The first place that is neither in a code block nor in backticks within its line."""
    blocks = ticks = last = 0
    for at in sorted(places):
        line = text.rfind("\n", last, at) + 1
        fences = text.count("```", last, at)
        blocks += fences
        if line:
            ticks = text.count("`", line, at) - 3 * text.count("```", line, at)
        else:
            ticks += text.count("`", last, at) - 3 * fences
        if blocks % 2 == 0 and ticks % 2 == 0:
            return at
        last = at
    return None


def _is_whole(text: str) -> bool:
    """Whether a text may end here: after the end of a sentence, a list or a block."""
    return text.count("```") % 2 == 0 and not (text[-1].isalnum() or text[-1] in ",;-–—(<")
