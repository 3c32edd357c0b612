"""The rows of a run, a file or a dataset on the Hub, and what is learnt of each."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cai.errors import CaiError, InputError
from cai.records import (
    Message,
    Record,
    digest,
    encodable,
    messages_as_data,
)
from cai.sources.bad_rows import MAX_BAD_ROWS, BadRows, Fault, RowError
from cai.sources.conversations import CONVERSATIONS, SYSTEM, answered, check_answers, last_answered
from cai.sources.files import TABLES, Columns, Row, file_digest, file_rows
from cai.sources.hub import HUB_HINT, hub_spec, hub_splits
from cai.sources.wording import a_kind_of, listed
from cai.train.config import DatasetName

_ANSWERS: dict[DatasetName, tuple[str, ...]] = {
    "sft": ("completion",),
    "preferences": ("chosen", "rejected"),
}
_RUN_COLUMNS: dict[DatasetName, tuple[str, ...]] = {
    "sft": ("id", "prompt"),
    "preferences": ("id", "prompt", "chosen_probability", "pair_source"),
}
_EXTRA_COLUMNS = ("id", "chosen_probability", "pair_source", *SYSTEM)
_COLUMNS_HINT = (
    "sft learns from the columns prompt and completion, or messages; dpo from prompt, chosen and "
    "rejected, or from chosen and rejected as whole conversations. A column holds texts, "
    "transcripts, or lists of {role, content}."
)
_LABEL_HINT = (
    "chosen_probability is how sure it is that chosen is better: a number from 0 to 1 (80 per cent "
    "is 0.8), in every row. Without the column every label is sure."
)
_AGAIN = "Run the same cai generate command again."


class Example(Record):
    """A row to learn from: one answer to imitate, or two of which the first is preferred."""

    id: str
    origin: str
    prompt: tuple[Message, ...]
    answers: tuple[str, ...]
    probability: float = 1.0
    pair_source: str | None = None

    @property
    def content_digest(self) -> str:
        return digest([messages_as_data(self.prompt), *self.answers])

    @property
    def prompt_key(self) -> str:
        """The turns, so that a change of case, of white space or of the system text is none."""
        turns = [(m.role, _normalised(m.content)) for m in self.prompt if m.role != "system"]
        return digest(turns)


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Dropped(NamedTuple):
    """A row that nothing is learnt from: where it is, and why."""

    where: str
    fault: Fault
    prompt_key: str | None = None  # if its prompt can be told: a test row's must not be trained on


class Source(NamedTuple):
    """What is learnt of each row, split by split, and the digests of the files."""

    origin: str
    train: Sequence[Example | Dropped]
    test: Sequence[Example | Dropped]
    files: dict[str, str]


def examples(rows: Iterable[Row], origin: str, dataset: DatasetName) -> list[Example | Dropped]:
    """What is learnt of each row, in order.

    Raises:
        InputError: Too many rows are malformed; a label is no probability, or some rows lack one.
    """
    found: list[Example | Dropped] = []
    bad, labels = BadRows(), _Labels()
    for where, row in rows:
        bad.rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            probability = labels.read(row, where) if dataset == "preferences" else 1.0
            example = _example(row, where, origin, dataset, probability)
            useless = _useless(example, where)
            found.append(Dropped(where, useless, example.prompt_key) if useless else example)
        except RowError as error:
            found.append(Dropped(where, error.fault))
            if error.malformed:
                bad.add(error)
    bad.check(MAX_BAD_ROWS)
    return found


class _Labels:
    """Reads `chosen_probability`, which all rows have or none."""

    def __init__(self) -> None:
        self.first: dict[bool, str] = {}  # where the first row with, and without, a label is

    def read(self, row: Mapping[str, Any], where: str) -> float:
        """The label of a row; 1 where no row has one.

        Raises:
            InputError: It is no number from 0 to 1, or only some rows have one.
        """
        value = row.get("chosen_probability")
        self.first.setdefault(value is not None, where)
        if len(self.first) == 2:
            other = self.first[True]
            message = f"no chosen_probability, and {other} has one"
            raise InputError(self.first[False], message, _LABEL_HINT)
        if value is None:
            return 1.0
        place = f"{where}: chosen_probability"
        if isinstance(value, bool) or not isinstance(value, int | float):
            what = f"{a_kind_of(value)} ({listed([value])})"
            raise InputError(place, f"must be a number, not {what}", _LABEL_HINT)
        if not 0 <= value <= 1:
            raise InputError(place, f"{value:g} is not from 0 to 1", _LABEL_HINT)
        return float(value)


def _example(
    row: Mapping[str, Any], where: str, origin: str, dataset: DatasetName, probability: float
) -> Example:
    turns, answers = _conversation(row, where, dataset)
    identity, pair_source = (_name(row, key, where) for key in ("id", "pair_source"))
    if not encodable([turns, answers, identity, pair_source]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    return Example(
        id=identity or digest([turns, *answers])[:16],
        origin=origin,
        prompt=tuple(Message.model_validate(turn) for turn in turns),
        answers=tuple(answers),
        probability=probability,
        pair_source=pair_source,
    )


def _name(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value in (None, ""):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    hint = "Write a text, or give the column another name."
    message = f"must be text, not {a_kind_of(value)}"
    raise RowError(f"{where}: {key}", "bad field", message, hint)


def _useless(example: Example, where: str) -> Fault | None:
    """Why nothing can be learnt of an example that is well formed, or None."""
    try:
        check_answers(example.answers, where)
    except RowError as error:
        return error.fault
    return "no preference" if example.probability <= 0.5 else None


def _conversation(
    row: Mapping[str, Any], where: str, dataset: DatasetName
) -> tuple[list[dict[str, str]], list[str]]:
    """Prompt and answers of a row; of demonstrations, a conversation may stand for both."""
    if dataset == "sft" and row.get("completion") is None:
        whole = [name for name in CONVERSATIONS if row.get(name) not in (None, "")]
        if whole:
            return last_answered(row[whole[0]], row, f"{where}: {whole[0]}")
    missing = _missing(list(row), dataset)
    if missing is not None:
        message = f"no column {missing}; there are: {listed(row)}"
        raise RowError(where, "no column", message, _COLUMNS_HINT)
    return answered(row, _ANSWERS[dataset], where)


def _missing(names: Sequence[str], dataset: DatasetName) -> str | None:
    """The first column that is needed and not there."""
    if dataset == "sft" and any(name in names for name in CONVERSATIONS):
        return None
    return next((name for name in _ANSWERS[dataset] if name not in names), None)


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


def _rows(path: Path, dataset: DatasetName, more: Sequence[str] = ()) -> Iterator[Row]:
    table = path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    for where, row in file_rows(path, _columns(dataset, more)):
        if table and not isinstance(row, RowError):
            row = _from_cells(row)
        yield where, row


def _from_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a table's row, in which all is text and nothing is null."""
    fields = {name: None if cell == "" else cell for name, cell in row.items()}
    label = fields.get("chosen_probability")
    if label is not None:
        with suppress(ValueError):  # told as what it is, a text
            fields["chosen_probability"] = float(label)
    return fields


def _columns(dataset: DatasetName, more: Sequence[str] = ()) -> Columns:
    """Chooses the columns that are read, of the names of all."""
    known = ("prompt", *_ANSWERS[dataset], *(CONVERSATIONS if dataset == "sft" else ()))

    def choose(names: Sequence[str], where: str) -> list[str]:
        lacking = [name for name in more if name not in names]
        missing = _missing(names, dataset) or next(iter(lacking), None)
        if missing is not None:
            message = f"no column {missing}; there are: {listed(names)}"
            raise InputError(where, message, _COLUMNS_HINT)
        return [name for name in names if name in (*known, *_EXTRA_COLUMNS)]

    return choose


def _from_run(folder: Path, name: str, dataset: DatasetName) -> Source:
    kinds = ("sft", "preferences", "traces")
    finished = (folder / "manifest.json").is_file()
    if (folder / "calls.sqlite").is_file() and not finished:
        raise CaiError(f"{name}: this run has not come to its end", _AGAIN)
    if not finished and not any((folder / kind).is_dir() for kind in kinds):
        raise CaiError(f"{name}: not a run folder", "Give the folder that cai generate wrote.")
    splits: dict[str, list[Example | Dropped]] = {"train": [], "test": []}
    files = {}
    for split, rows in splits.items():
        path = folder / dataset / f"{split}.parquet"
        if path.is_file():
            rows += examples(_rows(path, dataset, _RUN_COLUMNS[dataset]), name, dataset)
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
    found: dict[str, list[Example | Dropped]] = {"train": [], "test": []}
    files = {}
    for split in [spec.split] if spec.split else [split for split in found if split in splits]:
        where = f"{name} {split}"
        data = splits[split]
        data = data.select_columns(_columns(dataset)(data.column_names, where))
        total = hashlib.sha256()
        rows = examples(_hashed(data, where, total), name, dataset)
        found["train" if spec.split else split] = rows
        files[where] = total.hexdigest()
    return Source(name, found["train"], found["test"], files)


def _hashed(data: Iterable[dict[str, Any]], where: str, total: hashlib._Hash) -> Iterator[Row]:
    """The rows of a dataset; when they are all read, `total` is the digest of their list."""
    total.update(b"[")
    for number, row in enumerate(data, 1):
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), default=str)
        total.update((b"," if number > 1 else b"") + text.encode())
        yield f"{where}: row {number}", row
    total.update(b"]")
