"""What a writer wrote as the turns of a conversation, by a strict form."""

from __future__ import annotations

import re

_TURN = re.compile(r"^[*_#> ]*(user|assistant)[*_ ]*[:：][*_ ]*", re.IGNORECASE | re.MULTILINE)
_FEWEST = 3


def conversation(text: str) -> tuple[str, ...] | None:
    """A user's turn, an assistant's, a user's, and so on; None of anything else."""
    found = list(_TURN.finditer(text))
    if len(found) < _FEWEST or len(found) % 2 == 0 or text[: found[0].start()].strip():
        return None
    turns: list[str] = []
    ends = [match.start() for match in found[1:]] + [len(text)]
    for n, (match, end) in enumerate(zip(found, ends, strict=True)):
        content = text[match.end() : end].strip()
        if match[1].lower() != ("assistant" if n % 2 else "user") or not content:
            return None
        turns.append(content)
    return tuple(turns)
