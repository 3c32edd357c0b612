"""Reasoning is cut out of a model's output here, before anything else reads it."""

from __future__ import annotations

import re

TAGS = ("think", "thinking", "reasoning")
_TAG = re.compile(rf"<(/?)(?:{'|'.join(TAGS)})>", re.IGNORECASE)


def split_reasoning(text: str) -> tuple[str, str | None]:
    """The answer and the reasoning of an output; `None` and the text untouched if it has no tag.

    What stands between an opening and its closing tag is reasoning. So is everything before a
    closing tag without an opening one (the chat template wrote it) and everything after an
    opening tag without a closing one (the output was cut): the answer may then be empty.
    """
    answer: list[str] = []
    reasoning: list[str] = []
    depth = position = 0
    for tag in _TAG.finditer(text):
        piece, position = text[position : tag.start()], tag.end()
        (reasoning if depth else answer).append(piece)
        if not tag[1]:
            depth += 1
        elif depth:
            depth -= 1
        else:
            reasoning = [*answer, *reasoning]
            answer = []
    if not position:
        return text, None
    (reasoning if depth else answer).append(text[position:])
    return "".join(answer).strip(), "".join(reasoning).strip() or None
