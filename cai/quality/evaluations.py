"""The texts of evaluation sets: the prompts in files, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from cai.errors import InputError
from cai.prompts import files_of
from cai.sources.bad_rows import MAX_BAD_ROWS, BadRows, RowError
from cai.sources.conversations import CONVERSATIONS
from cai.sources.files import SourceRow, file_rows
from cai.sources.hub import hub_rows, hub_spec
from cai.sources.turns import turns_of
from cai.sources.wording import listed

# The first of these that a row has, in any case, is taken; `Goal` is a goal.
_COLUMNS = ("prompt", *CONVERSATIONS, "turns", "question", "instruction", "goal", "text")
_INPUT = "input"  # of an instruction, as in alpaca's data
_HINT = f"Name the column of prompts one of: {', '.join(_COLUMNS)}."


class EvaluationText(NamedTuple):
    """A turn of the user in an evaluation set: the file as it was given, its place, its text."""

    file: str
    where: str
    text: str


def evaluation_texts(source: str, bad: BadRows | None = None) -> Iterator[EvaluationText]:
    """Every turn of the user in a set of prompts; answers are left out.

    Args:
        source: A file (JSONL, CSV, TSV, TXT, Parquet), a folder of them, or
            `hf:owner/name[@revision][:config][:split][:column]`.
        bad: Counts the rows, and those that cannot be used.

    Raises:
        CaiError: There is no such source, it has no prompt, or more than 5 % of the rows cannot be
            used.
    """
    bad = bad if bad is not None else BadRows()
    column = hub_spec(source).column if source.startswith("hf:") else None
    for where, row in _rows(source, column):
        bad.rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            texts = _texts(row, column, where)
        except RowError as error:
            bad.add(error)
            continue
        for turn, text in enumerate(texts, 1):
            place = f"{where}, turn {turn}" if len(texts) > 1 else where
            yield EvaluationText(source, place, text)
    bad.check(MAX_BAD_ROWS)
    if bad.rows == bad.bad:
        raise InputError(source, "no prompt in it, so no row could stand there", _HINT)


def _rows(source: str, column: str | None) -> Iterator[SourceRow]:
    def choose(names: Sequence[str], where: str) -> list[str]:
        prompts = [_column(names, column, where)]
        return prompts + [name for name in names if name == _INPUT and name not in prompts]

    if source.startswith("hf:"):
        return hub_rows(source, choose)
    return chain.from_iterable(file_rows(path, choose) for path in files_of(source))


def _column(names: Sequence[str], column: str | None, where: str) -> str:
    wanted = (column,) if column else _COLUMNS
    for one in wanted:
        for name in names:
            if name == column or name.lower() == one:
                return name
    raise InputError(where, f"no column of prompts; there are: {listed(names)}", _HINT)


def _texts(row: Mapping[str, Any], column: str | None, where: str) -> list[str]:
    try:
        name = _column(list(row), column, where)
    except InputError as error:  # of a row of JSON, which has columns of its own
        raise RowError(
            where, "no column", error.message.removeprefix(f"{where}: "), _HINT
        ) from None
    value, more = row[name], row.get(_INPUT)
    if isinstance(value, list) and all(isinstance(turn, str) for turn in value):
        texts = value  # turns without the answers between them, as in MT-Bench
    else:
        turns = turns_of(value, f"{where}: {name}")
        texts = [turn["content"] for turn in turns if turn["role"] == "user"]
    if name == "instruction" and isinstance(more, str) and more.strip() and len(texts) == 1:
        texts = [f"{texts[0]}\n\n{more}"]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise RowError(where, "empty prompt", "the prompt is empty")
    return texts
