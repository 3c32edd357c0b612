"""Reasoning is cut out of a model's output here, before anything else reads it."""

from __future__ import annotations

import re

# Blocks that models write at the start of an output, also without a template that says so.
TAGS = ("think", "thinking", "reasoning", "seed:think")
_NAMES = "|".join(TAGS)
_OPENING = re.compile(rf"\s*(?:<({_NAMES})>|\[THINK\])", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{_NAMES})>|\[/?THINK\]", re.IGNORECASE)
_CLOSED = re.compile(rf"</(?:{_NAMES})>|\[/THINK\]", re.IGNORECASE)
# A closing tag that nothing has opened, at the end of a line and not in code.
_LONE = re.compile(rf"(?<!`)(?:{_CLOSED.pattern})(?=\s*\n|\s*\Z)", re.IGNORECASE)


def is_tag(token: str) -> bool:
    """Whether a token opens or closes a block of reasoning."""
    return _TAG.fullmatch(token) is not None


def split_reasoning(text: str, *, opened: bool | None = None) -> tuple[str, str | None]:
    """The answer and the reasoning of an output; `None` and the text untouched if there is none.

    Reasoning is a block at the start and nothing else: an answer may speak of `<think>`. A block
    that is not closed takes the whole output, and the answer is empty.

    Args:
        text: What the model wrote.
        opened: Whether the prompt ended inside a block, so that a closing tag ends it. `None`:
            that is not known; then a closing tag at the end of a line is taken to end one.
    """
    opening = _OPENING.match(text)
    if opening is not None:
        closing = _closing(text, opening)
        if closing is None:
            return "", text[opening.end() :].strip() or None
        return _parts(text, opening.end(), *closing)
    if opened is False:
        return text, None
    closed = (_CLOSED if opened else _LONE).search(text)
    if closed is not None:
        return _parts(text, 0, *closed.span())
    return ("", text.strip() or None) if opened else (text, None)


def _parts(text: str, begin: int, end: int, after: int) -> tuple[str, str | None]:
    return text[after:].strip(), text[begin:end].strip() or None


def _closing(text: str, opening: re.Match[str]) -> tuple[int, int] | None:
    """Where the tag stands that closes the first one; blocks of one name may be nested."""
    if opening[1] is None:
        at = text.upper().find("[/THINK]", opening.end())
        return (at, at + len("[/THINK]")) if at >= 0 else None
    depth = 1
    for tag in re.finditer(rf"<(/?){opening[1]}>", text[opening.end() :], re.IGNORECASE):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return opening.end() + tag.start(), opening.end() + tag.end()
    return None
