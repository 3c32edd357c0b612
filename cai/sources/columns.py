"""Which column of a row is the prompt, and which others belong to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cai.errors import CaiError
from cai.records import KINDS, Kind
from cai.sources.bad_rows import RowError
from cai.sources.conversations import CONVERSATIONS, SYSTEM
from cai.sources.files import Columns
from cai.sources.turns import MEDIA, transcript
from cai.sources.wording import a_kind_of, listed

_NAMED = (*CONVERSATIONS, "prompt")
_GUESSED = ("question", "instruction", "text", "goal", "chosen", "turns")
_FIELDS = ("id", "kind", "group", "source", "licence", "license", "tags")
# Beside a column that was only guessed, these are likely a part of the prompt.
_COMPANIONS = ("input", "context", "choices", "options")
_KNOWN = (*_NAMED, *_GUESSED, *_FIELDS, *SYSTEM, *_COMPANIONS, *MEDIA)

COLUMN_HINT = (
    "Name the column that holds the prompts: --prompt-column NAME."
    " (A CSV or TSV file begins with a line of column names.)"
)


def check_ignored(names: Collection[str]) -> None:
    """Raise `CaiError` where a column that is to be ignored would not be read anyway."""
    unknown = [name for name in names if name not in _KNOWN]
    if unknown:
        raise CaiError(
            f"ignore_columns: nothing is read from a column {listed(unknown)}",
            f"Columns that are read by their names: {', '.join(_KNOWN)}.",
        )


def ignore(*names: str) -> str:
    """What to do about a column that means something else."""
    return f"if it means something else: --ignore-columns {','.join(names)}."


def tags_of(value: Any, where: str, otherwise: str = "") -> list[str]:
    """The tags of a row: a list of texts, or a cell that holds one as JSON.

    Raises:
        RowError: They are something else.
    """
    tags = [] if value in (None, "") else value
    if isinstance(tags, str):  # a cell
        try:
            tags = json.loads(tags)
        except (ValueError, RecursionError):
            tags = value
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        message = f"must be a list of texts, not {a_kind_of(tags)}"
        hint = 'Write a JSON list, ["one", "two"]' + (f"; {otherwise}" if otherwise else ".")
        raise RowError(where, "bad field", message, hint)
    return tags


def needed_columns(prompt_column: str | None, ignored: Collection[str]) -> Columns:
    """Chooses the columns to read: no other (an image, a vector) is worth its memory."""

    def choose(names: Sequence[str], where: str) -> list[str]:
        names = [name for name in names if name not in ignored]
        columns = {*prompt_columns(names, prompt_column, where), *_FIELDS}
        if prompt_column is None:
            columns |= {*SYSTEM, *_COMPANIONS}
            _refuse_media([name for name in names if name in MEDIA], where)
        return [name for name in names if name in columns]

    return choose


def prompt_columns(names: Sequence[str], prompt_column: str | None, where: str) -> list[str]:
    """The columns that may hold the prompt; a row uses the first that holds something in it.

    Raises:
        RowError: There is none, or it is not clear which.
    """
    if prompt_column is not None:
        if prompt_column in names:
            return [prompt_column]
        message = f"no column {prompt_column!r}; there are: {listed(names)}"
        raise RowError(where, "no column", message, COLUMN_HINT)
    named = [name for name in _NAMED if name in names]
    if named:
        return named
    guesses = [name for name in _GUESSED if name in names]
    if len(guesses) == 1:
        return guesses
    if guesses:
        message = f"each of {listed(guesses)} could be the prompt; there are: {listed(names)}"
    else:
        message = f"no column `prompt` or `messages`; there are: {listed(names)}"
    raise RowError(where, "no column", message, COLUMN_HINT)


def whole_prompt(row: Mapping[str, Any], column: str, where: str) -> Any:
    """The value of a column that nobody named, with what belongs to it in other columns.

    An `instruction` is followed by its `input`, as in alpaca's data.

    Raises:
        RowError: It would be half of a prompt, or a reply.
    """
    value = row[column]
    _refuse_media([name for name in MEDIA if row.get(name)], where)
    if column not in _GUESSED:
        return value
    if column == "chosen" and isinstance(value, str) and value.strip() and not transcript(value):
        message = "the text is no transcript (Human: …, Assistant: …), so it may be a reply"
        raise RowError(f"{where}: {column}", "lost column", message, COLUMN_HINT)
    for name in _COMPANIONS:
        more = row.get(name)
        if more in (None, "", [], {}) or (isinstance(more, str) and not more.strip()):
            continue
        if (column, name) == ("instruction", "input") and isinstance(value, str):
            if not isinstance(more, str):
                message = f"must be text, not {a_kind_of(more)}"
                hint = f"Write a text; {ignore(name)}"
                raise RowError(f"{where}: {name}", "bad field", message, hint)
            value = f"{value}\n\n{more}"
            continue
        message = f"`{name}` may belong to the {column}, and would be lost"
        hint = (
            f"Join the two in a column `prompt`; or take {column} alone: --prompt-column {column}"
        )
        raise RowError(f"{where}: {column}", "lost column", message, hint)
    return value


def known_kind(value: Any, where: str, otherwise: str = "") -> Kind:
    """The kind of a prompt by its name, or a `RowError` with the names and what else to do."""
    for kind in KINDS:
        if value == kind:
            return kind
    hint = f"Write one of: {', '.join(KINDS)}{f'; {otherwise}' if otherwise else '.'}"
    raise RowError(where, "bad field", f"unknown kind {listed([value])}", hint)


def _refuse_media(names: Sequence[str], where: str) -> None:
    if names:
        message = "a prompt is text, and the image, sound or film would be lost"
        hint = f"Take out such rows; or read the text alone: {ignore(*names)}"
        raise RowError(f"{where}: {names[0]}", "not text", message, hint)
