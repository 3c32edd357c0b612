"""What a writer wrote as the turns of a conversation, by a strict form."""

from __future__ import annotations

import re

from cai.records import Message, Role, user

_TURN = re.compile(r"^[*_#> ]*(user|assistant)[*_ ]*[:：][*_ ]*", re.IGNORECASE | re.MULTILINE)
_FEWEST = 3


def conversation(text: str) -> tuple[Message, ...] | None:
    """A user's turn, an assistant's, a user's, and so on; None of anything else."""
    found = list(_TURN.finditer(text))
    if len(found) < _FEWEST or text[: found[0].start()].strip():
        return None
    turns: list[Message] = []
    ends = [match.start() for match in found[1:]] + [len(text)]
    for n, (match, end) in enumerate(zip(found, ends, strict=True)):
        role: Role = "assistant" if n % 2 else "user"
        content = text[match.end() : end].strip()
        if match[1].lower() != role or not content:
            return None
        turns.append(Message(role=role, content=content))
    return tuple(turns) if turns[-1].role == "user" else None


def single(text: str) -> tuple[Message, ...]:
    """One turn of the user."""
    return (user(text),)
