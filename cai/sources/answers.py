"""Answers of any data: the rows of a run, a file or a dataset, each with its conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cai.errors import InputError
from cai.records import Message, Prompt, Record, digest, encodable, messages_as_data
from cai.sources.bad_rows import RowError
from cai.sources.columns import known_kind, tags_of
from cai.sources.conversations import CONVERSATIONS, SYSTEM, answered, check_answers, last_answered
from cai.sources.files import SourceRow, file_rows
from cai.sources.hub import hub_rows
from cai.sources.wording import listed

ANSWERS = ("completion", "response", "answer", "output", "chosen")  # the first there is, is taken
_SHAPE = (
    f"Each row has `prompt` and one of {listed(ANSWERS)}, or a whole conversation in `messages`."
)
_COLUMNS = (*CONVERSATIONS, "prompt", *ANSWERS, *SYSTEM, "id", "kind", "prompt_kind", "tags")


class AnsweredPrompt(Record):
    """A prompt and the answer that it got; `where` it stands."""

    where: str
    prompt: Prompt
    answer: str


def answered_prompts(source: str) -> Iterator[AnsweredPrompt | RowError]:
    """The answers of a run folder (its SFT rows), a file, or a dataset on the Hub (`hf:…`).

    Raises:
        CaiError: There is no such source, or it has no column of answers.
    """
    for where, row in _rows(source):
        if isinstance(row, RowError):
            yield row
            continue
        try:
            yield _answered(row, where)
        except RowError as error:
            yield error


def _rows(source: str) -> Iterator[SourceRow]:
    if source.startswith("hf:"):
        return hub_rows(source, _columns)
    path = Path(source)
    files = sorted(path.glob("sft/*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InputError(source, "the folder has no sft/*.parquet", "Give a run folder or a file.")
    if not files[0].is_file():
        raise InputError(source, "no such file or folder", "Give a run folder or a file.")
    return chain.from_iterable(file_rows(file, _columns) for file in files)


def _columns(names: Sequence[str], where: str) -> list[str]:
    if not {*CONVERSATIONS, *ANSWERS} & set(names):
        raise InputError(where, f"no column of answers; there are: {listed(names)}", _SHAPE)
    return [name for name in names if name in _COLUMNS]


def _answered(row: dict[str, Any], where: str) -> AnsweredPrompt:
    column = next((name for name in ANSWERS if row.get(name) not in (None, "")), None)
    talk = next((name for name in CONVERSATIONS if row.get(name)), None)
    if column is not None:
        turns, (answer,) = answered(row, (column,), where)
    elif talk is not None:
        turns, (answer,) = last_answered(row[talk], row, f"{where}: {talk}")
    else:
        raise RowError(where, "no column", "no answer", _SHAPE)
    check_answers([answer], where)
    if not encodable([turns, answer]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    messages = tuple(Message.model_validate(turn) for turn in turns)
    column = "prompt_kind" if row.get("prompt_kind") else "kind"
    kind = known_kind(row.get(column) or "unknown", f"{where}: {column}")
    prompt = Prompt(
        id=str(row.get("id") or digest([messages_as_data(messages), answer])[:16]),
        messages=messages,
        kind=kind,
        tags=_tags(row.get("tags"), where),
    )
    return AnsweredPrompt(where=where, prompt=prompt, answer=answer)


def _tags(value: Any, where: str) -> tuple[str, ...]:
    """The tags of a row, as far as they are tags: no answer is left out for their sake."""
    try:
        return tuple(tags_of(value, f"{where}: tags"))
    except RowError:
        return (value,) if isinstance(value, str) else ()
