"""One row of a dataset, to show what its rows are like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cai.dataset.schema import ANSWERS, SPLITS
from cai.markdown import fenced
from cai.personal import personal_spans

HARMLESS = ("helpful", "borderline")  # the kinds of prompts that may be shown
_LONGEST = 1500  # characters of a text that is shown
_ROWS = 1000  # rows among which a short one is looked for
_TITLES = {"completion": "Answer to learn", "chosen": "Chosen", "rejected": "Rejected"}


def example(folder: Path, configs: Sequence[str]) -> str:
    """A row of each dataset to train on, as Markdown; of a harmless kind, or none.

    The first row that is short and has no personal data, of prompts that ask for no harm.
    """
    parts = []
    for name in configs:
        row = _row(folder, name) if name in ANSWERS else None
        if row is not None:
            parts.append(_shown(name, row))
    return "\n\n".join(parts) or (
        "No row is shown: none of them comes from a prompt that is known to ask for no harm."
    )


def _row(folder: Path, name: str) -> dict[str, Any] | None:
    """The first short row of a harmless kind, else the first long one."""
    fallback = None
    for number, row in enumerate(_rows(folder, name)):
        if number == _ROWS:
            break
        texts = _texts(name, row)
        if row["prompt_kind"] not in HARMLESS or any(personal_spans(t[:100_000]) for t in texts):
            continue
        if sum(map(len, texts)) <= _LONGEST:
            return row
        fallback = fallback or row
    return fallback


def _rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    for split in SPLITS:
        path = folder / name / f"{split}.parquet"
        if path.is_file():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(100):
                    yield from batch.to_pylist()


def _texts(name: str, row: Mapping[str, Any]) -> list[str]:
    return [turn["content"] for key in ("prompt", *ANSWERS[name]) for turn in row[key]]


def _shown(name: str, row: Mapping[str, Any]) -> str:
    blocks = [f"A row of `{name}`:"]
    blocks += [_turn(turn["role"].capitalize(), turn["content"]) for turn in row["prompt"]]
    blocks += [_turn(_TITLES[key], row[key][-1]["content"]) for key in ANSWERS[name]]
    if "chosen_probability" in row:
        blocks.append(f"`chosen_probability`: {row['chosen_probability']:.4g}")
    return "\n\n".join(blocks)


def _turn(title: str, text: str) -> str:
    return f"{title}:\n\n{fenced(text, limit=_LONGEST)}"
