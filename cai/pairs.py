"""Labelled pairs: two answers to a prompt, of which people say which is better."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cai.errors import InputError
from cai.prompt_files import file_rows, listed
from cai.prompts import message_turns, transcript
from cai.records import KINDS, Message, Prompt, Record, digest, encodable, messages_as_data

_FORMATS = "Give .jsonl, .csv or .parquet with prompt, chosen and rejected, or hh-rlhf's two texts."
_SHAPE = (
    "Each row has `prompt`, `chosen` and `rejected` (texts or messages), or `chosen` and `rejected`"
    " as whole conversations that differ in the last answer."
)


class LabelledPair(Record):
    """`chosen` is the better answer; `kind` and `difficulty` group the figures of a check."""

    prompt: Prompt
    chosen: str
    rejected: str
    kind: str | None = None
    difficulty: str | None = None


class Skipped(Record):
    """A row that is no pair, and why."""

    where: str
    why: str


def read_pairs(path: Path) -> tuple[list[LabelledPair], list[Skipped]]:
    """The pairs of a file; rows without two different answers to one prompt are set aside.

    Raises:
        InputError: The file cannot be read, or a row has another shape; says where.
    """
    pairs: dict[str, LabelledPair] = {}
    skipped: list[Skipped] = []
    for where, row in _rows(path):
        found = _pair(row, where)
        if isinstance(found, str):
            skipped.append(Skipped(where=where, why=found))
        elif found.prompt.id not in pairs:
            pairs[found.prompt.id] = found
        elif pairs[found.prompt.id] == found:
            skipped.append(Skipped(where=where, why="a pair that was there already"))
        else:
            raise InputError(
                f"{where}: id", f"{found.prompt.id!r} is another pair's", "Give each its own id."
            )
    if not pairs:
        why = f" ({skipped[0].where}: {skipped[0].why})" if skipped else ""
        raise InputError(str(path), f"no usable pair{why}", _SHAPE)
    return list(pairs.values()), skipped


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise InputError(str(path), "no such file", _FORMATS)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(path)
    elif suffix in (".csv", ".tsv"):
        yield from _csv_rows(path, "\t" if suffix == ".tsv" else ",")
    elif suffix in (".jsonl", ".ndjson", ".json", ".gz"):
        yield from file_rows(path, None)
    else:
        raise InputError(str(path), "not a kind of file that holds pairs", _FORMATS)


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(256):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), f"not readable as Parquet: {error}", _FORMATS) from None


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            for row in reader:
                yield f"{path}:{reader.line_num}", {k: v for k, v in row.items() if k is not None}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(str(path), f"not readable as CSV: {error}", _FORMATS) from None


def _pair(row: dict[str, Any], where: str) -> LabelledPair | str:
    """The pair of a row, or why it is none."""
    if not encodable([row.get(name) for name in ("id", "prompt", "chosen", "rejected")]):
        return "half of a surrogate pair, which UTF-8 cannot hold"
    sides = [_side(row, name, where) for name in ("chosen", "rejected")]
    talks = [talk for talk, _ in sides if talk]
    if row.get("prompt") is not None:
        talks.insert(0, _messages(message_turns(row["prompt"], f"{where}: prompt")))
    if not talks:
        raise InputError(where, "no prompt", _SHAPE)
    if any(talk != talks[0] for talk in talks):
        return "the two sides do not answer the same conversation"
    chosen, rejected = (answer.strip() for _, answer in sides)
    if not chosen or not rejected:
        return "an answer is empty"
    if chosen == rejected:
        return "the answers are the same"
    prompt_kind = row.get("prompt_kind") or "red-team"
    if prompt_kind not in KINDS:
        hint = f"Write one of: {', '.join(KINDS)}."
        raise InputError(f"{where}: prompt_kind", f"unknown kind {listed([prompt_kind])}", hint)
    name = row.get("id")
    identity = digest([messages_as_data(talks[0]), chosen, rejected])[:16]
    return LabelledPair(
        prompt=Prompt(
            id=identity if name in (None, "") else str(name), messages=talks[0], kind=prompt_kind
        ),
        chosen=chosen,
        rejected=rejected,
        kind=_word(row, "kind"),
        difficulty=_word(row, "difficulty"),
    )


def _side(row: dict[str, Any], name: str, where: str) -> tuple[tuple[Message, ...], str]:
    """The conversation before an answer, if the column holds it, and the answer."""
    value = row.get(name)
    if isinstance(value, str):
        turns = transcript(value) if row.get("prompt") is None else []
        if not turns:
            return (), value
    elif isinstance(value, list) and value:
        before = message_turns([*value, {"role": "user", "content": ""}], f"{where}: {name}")
        turns = before[:-1]
    else:
        raise InputError(f"{where}: {name}", "missing, or neither text nor messages", _SHAPE)
    if turns[-1]["role"] != "assistant":
        return _messages(turns), ""
    return _messages(turns[:-1]), turns[-1]["content"]


def _messages(turns: Iterable[dict[str, str]]) -> tuple[Message, ...]:
    return tuple(Message.model_validate(turn) for turn in turns)


def _word(row: dict[str, Any], name: str) -> str | None:
    value = row.get(name)
    return str(value) if value not in (None, "") else None
