"""A line of a file of written prompts, and what such a line says when it is read again."""

from __future__ import annotations

import re
from typing import Any

from cai.prompting.records import Written, topics_of
from cai.records import Prompt, messages_as_data

EASY = "easy"
_SOURCE = re.compile(r"written by .+ \([0-9a-f]{12}\)", re.DOTALL)
_PLACE = re.compile(r"(?:[0-9]+-)?[0-9]+")


def line_of(
    one: Written, constitution: str, writer: str, seed: int, *, easy: bool = False
) -> dict[str, Any]:
    """The fields of a line.

    Files of different seeds may be used together: ids, groups and pairs are named by a seed that is
    not 0.

    Args:
        one: The prompt.
        constitution: The name of the constitution that it was written for.
        writer: The writer's name and, in brackets, its digest.
        seed: By which was drawn.
        easy: Whether the prompt tempts nobody.
    """
    slot, drawn = one.slot, f"{seed}-" if seed else ""
    topics = (*(slot.principle.tags or (slot.principle.id,)), *topics_of(slot.principle))
    return {
        "id": f"{constitution}-{slot.principle.id}-{one.kind}-{drawn}{slot.number:04d}",
        **_messages(one),
        "kind": one.kind,
        "tags": [*dict.fromkeys(topics), *map(_style, one.style), *([EASY] if easy else [])],
        "group": f"{constitution}/{slot.principle.id}/{drawn}{slot.place}",
        "source": f"written by {writer}",
        "principle": slot.principle.id,
        "situation": slot.situation,
        **(
            {}
            if slot.helpful
            else {"pair_id": f"{constitution}/{slot.principle.id}/twins/{drawn}{slot.number}"}
        ),
    }


def written_for(prompt: Prompt, constitution: str) -> str | None:
    """The principle of this constitution that a prompt was written for by `line_of`.

    None of any other prompt: `a/b/c` is a group in other people's files too.
    """
    name, _, rest = (prompt.group or "").partition("/")
    principle, _, place = rest.partition("/")
    ours = name == constitution and _PLACE.fullmatch(place) is not None
    return principle if ours and _SOURCE.fullmatch(prompt.source or "") else None


def _messages(one: Written) -> dict[str, Any]:
    if len(one.turns) == 1:
        return {"prompt": one.turns[0]}
    return {"messages": messages_as_data(one.messages)}


def _style(words: str) -> str:
    return words if words == "multi-turn" else f"style: {words}"
