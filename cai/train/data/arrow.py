"""Rows of token ids as TRL's trainers take them: their columns, their digest, their Arrow file."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cai.files import publish, sync
from cai.records import canonical_json
from cai.train.config import DatasetName
from cai.train.encoding import Encoded

if TYPE_CHECKING:
    from datasets import Dataset

TokenRow = dict[str, Any]

_IDS = pa.list_(pa.int32())
# What TRL's trainers take as it is: nothing is tokenised or cut after this step.
TOKENS: dict[DatasetName, pa.Schema] = {
    "sft": pa.schema([("input_ids", _IDS), ("completion_mask", pa.list_(pa.int8()))]),
    "preferences": pa.schema(
        [
            ("prompt_ids", _IDS),
            ("chosen_ids", _IDS),
            ("rejected_ids", _IDS),
            ("chosen_probability", pa.float64()),
        ]
    ),
}


def token_row(encoded: Encoded, probability: float) -> TokenRow:
    """A row as the trainers take it."""
    prompt, answers = encoded.prompt, encoded.answers
    if len(answers) == 1:
        mask = array("b", [0]) * len(prompt) + array("b", [1]) * len(answers[0])
        return {"input_ids": prompt + answers[0], "completion_mask": mask}
    return {
        "prompt_ids": prompt,
        "chosen_ids": answers[0],
        "rejected_ids": answers[1],
        "chosen_probability": probability,
    }


def rows_digest(rows: Iterable[TokenRow]) -> str:
    """SHA-256 over the ids of each row and what is learnt of them, in order."""
    total = hashlib.sha256()
    for row in rows:
        plain = {k: v.tolist() if isinstance(v, array) else v for k, v in row.items()}
        total.update(canonical_json(plain) + b"\n")
    return total.hexdigest()


def stored(rows: Iterable[TokenRow], dataset: DatasetName, path: Path) -> Dataset:
    """A dataset that is read from a file which its content names, and which is kept if it is there.

    So what is computed from the rows and cached beside the file stays valid with it.
    """
    from datasets import Dataset

    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        schema, left = TOKENS[dataset], iter(rows)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            while batch := list(islice(left, 1000)):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        sync(temporary)
        publish(temporary, path)
    return Dataset.from_file(str(path))
