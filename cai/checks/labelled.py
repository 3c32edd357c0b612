"""Rows that people have labelled, read from a file: what every such file has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cai.errors import CaiError, InputError
from cai.files import file_digest
from cai.records import Kind, Message, Prompt, Record, digest, encodable, messages_as_data
from cai.sources.bad_rows import MAX_BAD_ROWS, BadRows, RowError
from cai.sources.columns import known_kind
from cai.sources.files import TABLES, SourceRow, file_rows
from cai.sources.hub import hub_rows
from cai.sources.wording import a_kind_of, listed


class Labelled(Record):
    """A prompt with a person's label of what was answered to it."""

    prompt: Prompt


class Skipped(Record):
    """A row that cannot be used, and why."""

    where: str
    why: str


class Form(NamedTuple):
    """What the rows of a file are.

    Attributes:
        noun: One of them.
        formats: Which files are read, as a hint.
        shape: What a row has, as a hint.
        required: Columns that must be there.
        columns: All columns that are read.
    """

    noun: str
    formats: str
    shape: str
    required: tuple[str, ...]
    columns: tuple[str, ...]


T = TypeVar("T", bound=Labelled)


def read_labelled(
    path: Path | str, form: Form, parse: Callable[[dict[str, Any], str], T]
) -> tuple[list[T], list[Skipped]]:
    """The rows of a file or a dataset of the Hub; those that say nothing are set aside.

    Args:
        path: The file, or `hf:…`.
        form: What its rows are.
        parse: Makes one of a row and of where it stands; raises `RowError`.

    Raises:
        InputError: The file cannot be read, or a row has another shape; says where.
    """
    found: dict[str, T] = {}
    skipped: list[Skipped] = []
    bad = BadRows()
    for where, row in _rows(path, form):
        bad.rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            one = parse(row, where)
        except RowError as error:
            skipped.append(Skipped(where=where, why=error.inside(where)))
            if error.malformed:
                bad.add(error)
            continue
        if one.prompt.id not in found:
            found[one.prompt.id] = one
        elif found[one.prompt.id] == one:
            skipped.append(Skipped(where=where, why=f"a {form.noun} that was there already"))
        else:
            message = f"{one.prompt.id!r} is another {form.noun}'s"
            raise InputError(f"{where}: id", message, "Give each its own id.")
    bad.check(MAX_BAD_ROWS)
    if not found:
        why = f" ({skipped[0].where}: {skipped[0].why})" if skipped else ""
        raise InputError(str(path), f"no usable {form.noun}{why}", form.shape)
    return list(found.values()), skipped


def sample(rows: Sequence[T], limit: int | None) -> list[T]:
    """The first `limit` rows by a hash of their ids, in their own order."""
    if limit is not None and limit < 1:
        raise CaiError(f"limit is {limit}", "Take at least one.")
    ranked = sorted(rows, key=lambda row: digest(row.prompt.id))
    ids = {row.prompt.id for row in ranked[:limit]}
    return [row for row in rows if row.prompt.id in ids]


def _rows(source: Path | str, form: Form) -> Iterator[SourceRow]:
    def columns(names: Sequence[str], where: str) -> list[str]:
        for needed in form.required:
            if needed not in names:
                message = f"no column {needed!r}; there are: {listed(names)}"
                raise InputError(where, message, form.shape)
        return [n for n in names if n in form.columns]

    if is_of_hub(source):
        yield from hub_rows(str(source), columns)
        return
    path = Path(source)
    if not path.is_file():
        missing = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(str(path), missing, form.formats)
    name = path.name.lower()
    if not name.endswith(".parquet") and not name.removesuffix(".gz").endswith(TABLES):
        message = f"not a kind of file that holds {form.noun}s"
        raise InputError(str(path), message, form.formats)
    yield from file_rows(path, columns)


def is_of_hub(source: Path | str) -> bool:
    """Whether rows come from a dataset of the Hub."""
    return str(source).startswith("hf:")


def digest_of(source: Path | str, rows: Sequence[Labelled]) -> str:
    """SHA-256 of a file; of a dataset of the Hub, of the rows that were read."""
    if is_of_hub(source):
        return digest([row.model_dump(mode="json") for row in rows])
    return file_digest(Path(source))


def prompt_of(
    row: dict[str, Any], turns: Sequence[dict[str, str]], texts: Sequence[str | None], where: str
) -> Prompt:
    """The prompt of a row, by its own id or by that of its turns and of what else it holds.

    Raises:
        RowError: A text is not valid Unicode, or the kind of the prompt is none.
    """
    name = word(row, "id", where)
    _require_encodable([turns, texts], where)
    messages = tuple(Message.model_validate(turn) for turn in turns)
    identity = digest([messages_as_data(messages), *(t.strip() for t in texts if t)])[:16]
    return Prompt(id=name or identity, messages=messages, kind=_kind(row, where))


def _require_encodable(value: Any, where: str) -> None:
    if not encodable(value):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)


def _kind(row: dict[str, Any], where: str) -> Kind:
    kind = row.get("prompt_kind")
    if kind in (None, ""):
        return "red-team"
    return known_kind(kind, f"{where}: prompt_kind")


def word(row: dict[str, Any], name: str, where: str) -> str | None:
    """A field that holds a word or a number, as text; None where it is empty."""
    value = row.get(name)
    if value in (None, ""):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        _require_encodable(value, where)
        return str(value)
    hint = "Write a text or a number, or give the column another name."
    raise RowError(f"{where}: {name}", "bad field", f"must be text, not {a_kind_of(value)}", hint)
