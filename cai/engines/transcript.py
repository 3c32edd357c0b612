"""The plain transcript: the form for models without a chat template."""

from __future__ import annotations

Turns = list[dict[str, str]]

TRANSCRIPT_STOPS = ("\n\nHuman:", "\n\nAssistant:")
_SPEAKERS = {"user": "Human", "assistant": "Assistant"}


def transcript(turns: Turns) -> str:
    """The format for models without a chat template: speakers named, system text in front."""
    lines = [
        turn["content"]
        if turn["role"] == "system"
        else f"{_SPEAKERS[turn['role']]}: {turn['content']}"
        for turn in turns
    ]
    return "\n\n".join([*lines, "Assistant:"])


def fold_system(turns: Turns) -> Turns:
    """The same turns with the system text at the head of the first user turn."""
    system = "\n\n".join(t["content"] for t in turns if t["role"] == "system")
    rest = [dict(t) for t in turns if t["role"] != "system"]
    if system and rest:
        rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    return rest
