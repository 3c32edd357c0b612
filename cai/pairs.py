"""Labelled pairs: two answers to a prompt, of which people say which is better."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cai.errors import InputError
from cai.prompt_files import a_kind_of, file_rows, listed
from cai.prompts import message_turns, transcript
from cai.records import KINDS, Message, Prompt, Record, digest, encodable, messages_as_data

_FORMATS = "Give .jsonl, .csv or .parquet with prompt, chosen and rejected, or hh-rlhf's two texts."
_SHAPE = (
    "Each row has `prompt`, `chosen` and `rejected` (texts or messages), or `chosen` and `rejected`"
    " as whole conversations that differ in the last answer."
)
_COLUMNS = ("id", "prompt", "chosen", "rejected", "prompt_kind", "kind", "difficulty")


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
        missing = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(str(path), missing, _FORMATS)
    name = path.name.lower()
    if name.endswith(".parquet"):
        yield from _parquet_rows(path)
        return
    if not name.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json", ".csv", ".tsv")):
        raise InputError(str(path), "not a kind of file that holds pairs", _FORMATS)
    try:
        yield from file_rows(path, "chosen")
    except InputError as error:
        if "prompts" in error.hint:  # it says what a file of prompts needs
            error.hint = _SHAPE
        raise


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            twice = [name for name in _COLUMNS if names.count(name) > 1]
            if twice:
                message = f"two columns have one name: {listed(twice)}"
                raise InputError(str(path), message, "Give each column a name of its own.")
            for batch in file.iter_batches(256, columns=[n for n in names if n in _COLUMNS]):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        where = f"{path}: row {number + 1} or after" if number else str(path)
        raise InputError(where, f"not readable as Parquet: {error}", _FORMATS) from None


def _pair(row: dict[str, Any], where: str) -> LabelledPair | str:
    """The pair of a row, or why it is none."""
    name, kind, difficulty = (_word(row, n, where) for n in ("id", "kind", "difficulty"))
    given = row.get("prompt")
    bare = given in (None, "")  # CSV has no null
    sides = [_side(row, side, where, bare) for side in ("chosen", "rejected")]
    talks = [talk for talk, _ in sides]
    if not bare:
        talks = [message_turns(given, f"{where}: prompt"), *filter(None, talks)]
    elif not any(talks):
        if given == "":
            return "the prompt is empty"
        raise InputError(where, "no prompt", _SHAPE)
    if not encodable([talks, sides, name, kind, difficulty]):
        return "half of a surrogate pair, which UTF-8 cannot hold"
    chosen, rejected = (answer.strip() for _, answer in sides)
    why = _unusable(talks, chosen, rejected)
    if why is not None:
        return why
    prompt_kind = row.get("prompt_kind")
    if prompt_kind in (None, ""):
        prompt_kind = "red-team"
    if prompt_kind not in KINDS:
        hint = f"Write one of: {', '.join(KINDS)}."
        raise InputError(f"{where}: prompt_kind", f"unknown kind {listed([prompt_kind])}", hint)
    messages = tuple(Message.model_validate(turn) for turn in talks[0])
    identity = digest([messages_as_data(messages), chosen, rejected])[:16]
    return LabelledPair(
        prompt=Prompt(id=name or identity, messages=messages, kind=prompt_kind),
        chosen=chosen,
        rejected=rejected,
        kind=kind,
        difficulty=difficulty,
    )


def _unusable(talks: list[list[dict[str, str]]], chosen: str, rejected: str) -> str | None:
    """Why these are not two different answers to one prompt, or None."""
    if any(talk != talks[0] for talk in talks):
        return "the two sides do not answer the same conversation"
    if talks[0][-1]["role"] != "user":
        return "the conversation does not end with a turn of the user"
    if not talks[0][-1]["content"].strip():
        return "the prompt is empty"
    if not chosen or not rejected:
        return "an answer is empty"
    return "the answers are the same" if chosen == rejected else None


def _side(
    row: dict[str, Any], name: str, where: str, bare: bool
) -> tuple[list[dict[str, str]], str]:
    """The conversation before an answer, if the column holds it, and the answer."""
    value = row.get(name)
    if isinstance(value, str):
        turns = transcript(value) if bare else []
        if not turns:
            return [], value
    elif isinstance(value, list) and value:
        before = message_turns([*value, {"role": "user", "content": ""}], f"{where}: {name}")
        turns = before[:-1]
    else:
        raise InputError(f"{where}: {name}", "missing, or neither text nor messages", _SHAPE)
    if turns[-1]["role"] != "assistant":
        return turns, ""
    return turns[:-1], turns[-1]["content"]


def _word(row: dict[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value in (None, ""):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    hint = "Write a text or a number, or give the column another name."
    raise InputError(f"{where}: {name}", f"must be text, not {a_kind_of(value)}", hint)
