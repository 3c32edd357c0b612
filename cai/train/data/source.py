"""Where rows come from: a run, a file or a dataset on the Hub, split by split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.schema import DATASETS, SPLITS, Split
from cai.errors import CaiError, InputError
from cai.files import JOURNAL
from cai.sources.bad_rows import RowError
from cai.sources.files import TABLES, SourceRow, file_digest, file_rows
from cai.sources.hub import HUB_HINT, hub_spec, hub_splits
from cai.train.config import DatasetName
from cai.train.data.columns import CALIBRATED, PROBABILITY, columns_of_run, columns_to_read
from cai.train.data.examples import Dropped, Example, examples

_AGAIN = "Run the same cai generate command again."


class Source(NamedTuple):
    """What is learnt of each row, split by split, and the digests of the files."""

    origin: str
    train: Sequence[Example | Dropped]
    test: Sequence[Example | Dropped]
    files: dict[str, str]


def read_source(name: str, dataset: DatasetName) -> Source:
    """The rows of a run folder, of a file (all of them train) or of a dataset on the Hub.

    Raises:
        CaiError: There is no such data, it is damaged, or its columns are others.
    """
    if name.startswith("hf:"):
        return _from_hub(name, dataset)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_run(path, name, dataset)
    if not path.is_file():
        raise InputError(name, "no such run or file", "Check the path; on the Hub: hf:owner/name.")
    if not path.name.lower().removesuffix(".gz").endswith((*TABLES, ".parquet")):
        hint = f"Give a run folder, .parquet, or {', '.join(TABLES)} (or .gz)."
        raise InputError(name, "unknown kind of file", hint)
    rows = examples(_rows(path, dataset), name, dataset)
    return Source(name, rows, [], {name: file_digest(path)})


def _rows(path: Path, dataset: DatasetName, required: Sequence[str] = ()) -> Iterator[SourceRow]:
    table = path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    for where, row in file_rows(path, columns_to_read(dataset, required)):
        if table and not isinstance(row, RowError):
            row = _from_cells(row)
        yield where, row


def _from_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a table's row, in which all is text and nothing is null."""
    fields = {name: None if cell == "" else cell for name, cell in row.items()}
    label = fields.get(PROBABILITY)
    if label is not None:
        with suppress(ValueError):  # told as what it is, a text
            fields[PROBABILITY] = float(label)
    known = {"true": True, "false": False}
    if CALIBRATED in fields:
        value = fields[CALIBRATED]
        fields[CALIBRATED] = known.get(str(value).lower(), value)
    return fields


def _from_run(folder: Path, name: str, dataset: DatasetName) -> Source:
    finished = (folder / "manifest.json").is_file()
    if (folder / JOURNAL).is_file() and not finished:
        raise CaiError(f"{name}: this run has not come to its end", _AGAIN)
    if not finished and not any((folder / kind).is_dir() for kind in DATASETS):
        raise CaiError(f"{name}: not a run folder", "Give the folder that cai generate wrote.")
    splits: dict[Split, list[Example | Dropped]] = {split: [] for split in SPLITS}
    files = {}
    for split, rows in splits.items():
        path = folder / dataset / f"{split}.parquet"
        if path.is_file():
            rows += examples(_rows(path, dataset, columns_of_run(dataset)), name, dataset)
            files[str(Path(name) / dataset / path.name)] = file_digest(path)
    if not splits["train"]:
        if splits["test"]:
            message, hint = "has test rows only", "Generate from more prompts."
        else:
            message = "is empty or was not made"
            hint = f"See {folder / 'failures.jsonl'}, and stages in {folder / 'config.yaml'}."
        raise CaiError(f"{name}: the {dataset} dataset {message}", hint)
    return Source(name, splits["train"], splits["test"], files)


def _from_hub(name: str, dataset: DatasetName) -> Source:
    spec = hub_spec(name)
    if spec.column is not None:
        raise CaiError(f"{name}: names a column; training reads columns by name", HUB_HINT)
    splits = hub_splits(name, dataset)
    if (spec.split or "train") not in splits:
        there = ", ".join(splits)
        raise CaiError(f"{name}: no split {spec.split or 'train'}; there are: {there}", HUB_HINT)
    rows: dict[Split, list[Example | Dropped]] = {split: [] for split in SPLITS}
    files = {}
    # A split that is named is what is trained on, whatever its name.
    pairs = [(s, s) for s in SPLITS if s in splits]
    for split, theirs in [(SPLITS[0], spec.split)] if spec.split else pairs:
        where = f"{name} {theirs}"
        data = splits[theirs]
        data = data.select_columns(columns_to_read(dataset)(data.column_names, where))
        total = hashlib.sha256()
        rows[split] = examples(_hashed(data, where, total), name, dataset)
        files[where] = total.hexdigest()
    return Source(name, rows["train"], rows["test"], files)


def _hashed(
    data: Iterable[dict[str, Any]], where: str, total: hashlib._Hash
) -> Iterator[SourceRow]:
    """The rows of a dataset; when they are all read, `total` is the digest of their list."""
    total.update(b"[")
    for number, row in enumerate(data, 1):
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), default=str)
        total.update((b"," if number > 1 else b"") + text.encode())
        yield f"{where}: row {number}", row
    total.update(b"]")
