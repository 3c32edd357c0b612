"""The first rows of a training as text, token by token, with what is learnt of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.files import replacing

EXAMPLES = "examples.jsonl"
ROWS, TOKENS = 8, 800  # shown, and of each answer with its prompt
_PAIR = ("chosen", "rejected")


def write_examples(folder: Path, rows: Iterable[Mapping[str, Any]], tokenizer: Any) -> None:
    """Write the first rows as a page shows them, a line each.

    Args:
        folder: Of the training.
        rows: Token ids, as TRL's trainers take them.
        tokenizer: That of the model.
    """
    with replacing(folder / EXAMPLES) as file:
        for number, row in zip(range(1, ROWS + 1), rows, strict=False):
            line = {
                "id": f"row {number}",
                "probability": row.get("chosen_probability"),
                "parts": list(_parts(row, tokenizer)),
            }
            file.write(json.dumps(line) + "\n")


def _parts(row: Mapping[str, Any], tokenizer: Any) -> Iterator[dict[str, Any]]:
    if "input_ids" in row:
        yield {"name": "", "tokens": tokens(row["input_ids"], row["completion_mask"], tokenizer)}
        return
    for name in _PAIR:
        prompt, answer = row["prompt_ids"], row[f"{name}_ids"]
        learnt = [0] * len(prompt) + [1] * len(answer)
        yield {"name": name, "tokens": tokens([*prompt, *answer], learnt, tokenizer)}


def tokens(ids: Sequence[int], learnt: Sequence[int], tokenizer: Any) -> list[dict[str, Any]]:
    """Tokens as text, each with whether it is learnt; parts of one character stand together."""
    shown: list[dict[str, Any]] = []
    waiting: list[int] = []
    for place, (token, is_learnt) in enumerate(zip(ids, learnt, strict=True)):
        if place == TOKENS:
            shown.append({"text": f" … and {len(ids) - TOKENS} more tokens", "learnt": False})
            break
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if text.endswith("\ufffd") and len(waiting) < 4:
            continue
        shown.append({"text": text, "learnt": bool(is_learnt)})
        waiting = []
    return shown
