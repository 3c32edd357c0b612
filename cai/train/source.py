"""The rows of a run, a file or a dataset on the Hub, and what is learnt of each."""

from __future__ import annotations

import hashlib
import json
import math
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from cai.errors import CaiError, InputError
from cai.records import Message, Record, assistant, digest, encodable, messages_as_data, user
from cai.train.config import DatasetName

_ANSWERS: dict[DatasetName, tuple[str, ...]] = {
    "sft": ("completion",),
    "preferences": ("chosen", "rejected"),
}
_RUN_COLUMNS: dict[DatasetName, tuple[str, ...]] = {
    "sft": ("id",),
    "preferences": ("id", "chosen_probability", "pair_source"),
}
_EXTRA_COLUMNS = ("id", "chosen_probability", "pair_source")
_COLUMNS_HINT = (
    "sft learns from the columns prompt and completion, or messages; dpo from prompt, chosen and "
    "rejected. A column holds texts, or lists of {role, content}."
)
_AGAIN = "Run the same cai generate command again."
_HUB_HINT = (
    "Write hf:owner/name[@revision][:config][:split]. A gated dataset needs `hf auth login`; "
    "without a network, give the folder of a local copy: hf:/path."
)


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

    def data(self) -> dict[str, Any]:
        """The columns that TRL reads."""
        names = _ANSWERS["sft" if len(self.answers) == 1 else "preferences"]
        row: dict[str, Any] = {"prompt": messages_as_data(self.prompt)}
        for name, answer in zip(names, self.answers, strict=True):
            row[name] = messages_as_data([assistant(answer)])
        return row if len(names) == 1 else {**row, "chosen_probability": self.probability}


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Source(NamedTuple):
    """Rows as they stand in a file, split by split, and the digests of the files."""

    origin: str
    train: Sequence[Mapping[str, Any]]
    test: Sequence[Mapping[str, Any]]
    files: dict[str, str]


def examples(rows: Iterable[Mapping[str, Any]], origin: str) -> list[Example | None]:
    """A row each; None for one that is no conversation that ends with a user and an answer."""
    return [_example(row, origin) for row in rows]


def _example(row: Mapping[str, Any], origin: str) -> Example | None:
    prompt, answers = _conversation(row)
    if not prompt or prompt[-1].role != "user" or not prompt[-1].content.strip():
        return None
    identity = row.get("id")
    if None in answers or not encodable([messages_as_data(prompt), answers, identity]):
        return None
    p = row.get("chosen_probability", 1.0)
    number = isinstance(p, int | float) and not isinstance(p, bool)
    texts = tuple(a for a in answers if a is not None)
    pair_source = row.get("pair_source")
    return Example(
        id=digest([messages_as_data(prompt), *texts])[:16] if identity is None else str(identity),
        origin=origin,
        prompt=prompt,
        answers=texts,
        probability=float(p) if number else math.nan,
        pair_source=None if pair_source is None else str(pair_source),
    )


def _conversation(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], list[str | None]]:
    """Prompt and answers of a row; `messages` are split before the last."""
    if "chosen" not in row and "completion" not in row:
        turns = _turns(row["messages"])
        return turns[:-1], [_answer(row["messages"], turns[:-1])]
    prompt = _turns(row["prompt"])
    names = _ANSWERS["preferences" if "chosen" in row else "sft"]
    return prompt, [_answer(row[name], prompt) for name in names]


def _turns(value: Any) -> tuple[Message, ...]:
    """A text as a user's turn, or a list of turns; nothing if it is neither."""
    if isinstance(value, str):
        return (user(value),)
    try:
        return tuple(Message(role=turn["role"], content=turn["content"]) for turn in value)
    except (TypeError, KeyError, ValidationError):
        return ()


def _answer(value: Any, prompt: tuple[Message, ...]) -> str | None:
    """The answer's text, which may stand alone, as a turn, or at the end of the conversation."""
    if isinstance(value, str):
        return value
    turns = _turns(value)
    if not turns or turns[-1].role != "assistant" or turns[:-1] not in ((), prompt):
        return None
    return turns[-1].content


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
    if path.suffix == ".parquet":
        rows = _parquet(path, dataset)
    elif path.suffix in (".jsonl", ".ndjson"):
        rows = _jsonl(path, dataset)
    else:
        raise InputError(name, "unknown kind of file", "Give a run folder, .parquet or .jsonl.")
    return Source(name, rows, [], {name: _sha256(path)})


def _from_run(folder: Path, name: str, dataset: DatasetName) -> Source:
    kinds = ("sft", "preferences", "traces")
    finished = (folder / "manifest.json").is_file()
    if (folder / "calls.sqlite").is_file() and not finished:
        raise CaiError(f"{name}: this run has not come to its end", _AGAIN)
    if not finished and not any((folder / kind).is_dir() for kind in kinds):
        raise CaiError(f"{name}: not a run folder", "Give the folder that cai generate wrote.")
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    files = {}
    for split, rows in splits.items():
        path = folder / dataset / f"{split}.parquet"
        if path.is_file():
            rows += _parquet(path, dataset, _RUN_COLUMNS[dataset])
            files[str(Path(name) / dataset / path.name)] = _sha256(path)
    if not splits["train"]:
        if splits["test"]:
            message, hint = "has test rows only", "Generate from more prompts."
        else:
            message = "is empty or was not made"
            hint = f"See {folder / 'failures.jsonl'}, and stages in {folder / 'config.yaml'}."
        raise CaiError(f"{name}: the {dataset} dataset {message}", hint)
    return Source(name, splits["train"], splits["test"], files)


def _parquet(path: Path, dataset: DatasetName, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            columns = needed_columns(file.schema_arrow, str(path), dataset, more)
            rows: list[dict[str, Any]] = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"not Parquet that can be read: {_first_line(error)}"
        raise InputError(str(path), message, f"It may be cut or damaged. {_AGAIN}") from None
    return rows


def _jsonl(path: Path, dataset: DatasetName) -> list[dict[str, Any]]:
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                hint = "Write one JSON object a line, in UTF-8."
                raise InputError(where, f"not JSON: {_first_line(error)}", hint) from None
            if not isinstance(row, dict):
                raise InputError(where, "no JSON object", _COLUMNS_HINT)
            rows.append({name: row[name] for name in _present(list(row), where, dataset)})
    return rows


def _from_hub(name: str, dataset: DatasetName) -> Source:
    repository, _, rest = name.removeprefix("hf:").partition(":")
    config, _, asked = rest.partition(":")
    revision = ""
    if not Path(repository).is_dir():
        repository, _, revision = repository.partition("@")
    splits = _hub_splits(name, repository, revision or None, config, dataset)
    if (asked or "train") not in splits:
        there = ", ".join(splits)
        raise CaiError(f"{name}: no split {asked or 'train'}; there are: {there}", _HUB_HINT)
    found: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    files = {}
    for split in [asked] if asked else [split for split in found if split in splits]:
        data = splits[split]
        where = f"{name} {split}"
        columns = needed_columns(data.features.arrow_schema, where, dataset)
        rows = data.select_columns(columns).to_list()
        found["train" if asked else split] = rows
        files[where] = digest(rows)
    return Source(name, found["train"], found["test"], files)


def _hub_splits(
    name: str, repository: str, revision: str | None, config: str, dataset: DatasetName
) -> Mapping[str, Any]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its client

    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    known = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError, HTTPError)
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if not config and dataset in datasets.get_dataset_config_names(
            repository, revision=revision
        ):
            config = dataset
        loaded: Mapping[str, Any] = datasets.load_dataset(
            repository, config or None, revision=revision
        )
    except known as error:
        raise CaiError(f"{name}: {_first_line(error)}", _HUB_HINT) from error
    finally:
        if bars:
            datasets.enable_progress_bars()
    return loaded


def needed_columns(
    schema: pa.Schema, where: str, dataset: DatasetName, more: Sequence[str] = ()
) -> list[str]:
    """The columns to read.

    Raises:
        InputError: One is missing or holds something else.
    """
    names = _present(schema.names, where, dataset, more)
    for name in names:
        kind = schema.field(name).type
        if name == "chosen_probability":
            right, wanted = pa.types.is_floating(kind) or pa.types.is_integer(kind), "numbers"
        elif name in ("id", "pair_source"):
            right, wanted = _is_text(kind) or pa.types.is_integer(kind), "texts"
        else:
            right, wanted = _holds_turns(kind), "texts or lists of {role, content}"
        if not right:
            raise InputError(where, f"column {name} holds {kind}, not {wanted}", _COLUMNS_HINT)
    return names


def _holds_turns(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        fields = {field.name: field.type for field in kind.value_type}
        return all(_is_text(fields.get(name)) for name in ("role", "content"))
    return _is_text(kind)


def _is_text(kind: pa.DataType | None) -> bool:
    return kind in (pa.string(), pa.large_string())


def _present(
    columns: Sequence[str], where: str, dataset: DatasetName, more: Sequence[str] = ()
) -> list[str]:
    """The columns of those that are there which are read."""
    wanted = ["prompt", *_ANSWERS[dataset]]
    if dataset == "sft" and "completion" not in columns and "messages" in columns:
        wanted = ["messages"]
    missing = [name for name in (*wanted, *more) if name not in columns]
    if missing:
        there = ", ".join(columns)
        raise InputError(where, f"no column {missing[0]}; there are: {there}", _COLUMNS_HINT)
    return wanted + [name for name in _EXTRA_COLUMNS if name in columns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
