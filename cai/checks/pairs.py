"""Labelled pairs: two answers to a prompt, of which people say which is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cai.errors import InputError
from cai.records import KINDS, Message, Prompt, Record, digest, encodable, messages_as_data
from cai.sources.bad_rows import MAX_BAD_ROWS, BadRows, RowError
from cai.sources.conversations import SYSTEM, answered, check_answers
from cai.sources.files import TABLES, SourceRow, file_rows
from cai.sources.wording import a_kind_of, listed

_FORMATS = "Give .jsonl, .csv or .parquet with prompt, chosen and rejected, or hh-rlhf's two texts."
_SHAPE = (
    "Each row has `prompt`, `chosen` and `rejected` (texts or messages), or `chosen` and `rejected`"
    " as whole conversations that differ in the last answer."
)
_COLUMNS = ("id", "prompt", "chosen", "rejected", "prompt_kind", "kind", "difficulty", *SYSTEM)


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
    bad = BadRows()
    for where, row in _rows(path):
        bad.rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            pair = _pair(row, where)
        except RowError as error:
            skipped.append(Skipped(where=where, why=error.inside(where)))
            if error.malformed:
                bad.add(error)
            continue
        if pair.prompt.id not in pairs:
            pairs[pair.prompt.id] = pair
        elif pairs[pair.prompt.id] == pair:
            skipped.append(Skipped(where=where, why="a pair that was there already"))
        else:
            raise InputError(
                f"{where}: id", f"{pair.prompt.id!r} is another pair's", "Give each its own id."
            )
    bad.check(MAX_BAD_ROWS)
    if not pairs:
        why = f" ({skipped[0].where}: {skipped[0].why})" if skipped else ""
        raise InputError(str(path), f"no usable pair{why}", _SHAPE)
    return list(pairs.values()), skipped


def _rows(path: Path) -> Iterator[SourceRow]:
    if not path.is_file():
        missing = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(str(path), missing, _FORMATS)
    name = path.name.lower()
    if not name.endswith(".parquet") and not name.removesuffix(".gz").endswith(TABLES):
        raise InputError(str(path), "not a kind of file that holds pairs", _FORMATS)
    yield from file_rows(path, _columns)


def _columns(names: Sequence[str], where: str) -> list[str]:
    for name in ("chosen", "rejected"):
        if name not in names:
            message = f"no column {name!r}; there are: {listed(names)}"
            raise InputError(where, message, _SHAPE)
    return [name for name in names if name in _COLUMNS]


def _pair(row: dict[str, Any], where: str) -> LabelledPair:
    name, kind, difficulty = (_word(row, n, where) for n in ("id", "kind", "difficulty"))
    turns, answers = answered(row, ("chosen", "rejected"), where)
    if not encodable([turns, answers, name, kind, difficulty]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    check_answers(answers, where)
    chosen, rejected = (answer.strip() for answer in answers)
    prompt_kind = row.get("prompt_kind")
    if prompt_kind in (None, ""):
        prompt_kind = "red-team"
    if prompt_kind not in KINDS:
        hint = f"Write one of: {', '.join(KINDS)}."
        message = f"unknown kind {listed([prompt_kind])}"
        raise RowError(f"{where}: prompt_kind", "bad field", message, hint)
    messages = tuple(Message.model_validate(turn) for turn in turns)
    identity = digest([messages_as_data(messages), chosen, rejected])[:16]
    return LabelledPair(
        prompt=Prompt(id=name or identity, messages=messages, kind=prompt_kind),
        chosen=chosen,
        rejected=rejected,
        kind=kind,
        difficulty=difficulty,
    )


def _word(row: dict[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value in (None, ""):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    hint = "Write a text or a number, or give the column another name."
    raise RowError(f"{where}: {name}", "bad field", f"must be text, not {a_kind_of(value)}", hint)
