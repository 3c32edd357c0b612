"""What an answer says in its own voice: without quotations, code, drafts and dialogues.

Somebody who declines in a quotation, a letter that was asked for or a scene is not who answers.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

from cai.quality.reply_phrases import DRAFT

_FEW = 3  # words
_QUOTED = re.compile(
    r"\"[^\"\n]{0,400}\"|“[^”]{0,400}”|„[^“”]{0,400}[“”]|«[^»]{0,400}»|「[^」]{0,400}」"
)
_SINGLE = re.compile(r"(?<!\w)'(?:[^'\n]|'(?=\w)){0,400}'(?!\w)")
_CODE = re.compile(r"```.{0,3000}?(?:```|\Z)", re.DOTALL)
_COMMENT = re.compile(
    r"^(?:(?: {4,}|\t+)(?:#|//|--)|\s*(?:def |class |return |print|raise |import |>)).*$",
    re.MULTILINE,
)
_SPEECH = re.compile(r"^\W*([^\W\d_][\w .']{0,24})\**\s?[:：]\**\s.*$", re.MULTILINE)
_SPEAKERS = 2  # that make a dialogue
_NAMES_OF_ANSWER = ("note", "answer", "assistant", "ai", "response", "edit", "ps")


@functools.cache
def _draft() -> Any:
    options = re2.Options()
    options.never_capture = True
    return re2.compile(DRAFT, options=options)


def own_words(text: str) -> str:
    """The part of an answer in its own voice, which may be none of it.

    Args:
        text: In lower case with straight apostrophes, of at most some thousand characters.
    """
    own = text
    if any(mark in own for mark in '"“„«「'):
        own = _QUOTED.sub('""', own)
    if "'" in own[:1] or " '" in own or "\n'" in own:
        own = _SINGLE.sub('""', own)
    if len(own.split()) < _FEW:
        own = text  # an answer in quotation marks as a whole
    if "```" in own:
        own = _CODE.sub(" ", own)
    if "(" in own or "    " in own or "\t" in own:
        own = _COMMENT.sub("", own)
    if "\n" in own and own.count(":") + own.count("：") >= _SPEAKERS:
        own = _without_dialogue(own)
    draft = _draft().search(own)
    return own if draft is None else own[: draft.start()]


def _without_dialogue(text: str) -> str:
    """A text without the lines of a dialogue, if two speak in it."""
    speakers = {name.strip() for name in _SPEECH.findall(text)}
    if len(speakers) < _SPEAKERS or any(name in _NAMES_OF_ANSWER for name in speakers):
        return text
    return _SPEECH.sub("", text)
