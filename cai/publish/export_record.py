"""What an export says of itself, and what a run knows of the copies of its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from cai.dataset.schema import Split
from cai.errors import CaiError
from cai.files import file_digest, sync
from cai.publish.history import now
from cai.records import Record

RECORD = ".export.json"  # hidden: no loader takes it for data
STAGING = ".export.tmp"  # inside it, while it is written
EXPORTS = "exports.jsonl"
DRY_RUN = "push --dry-run"


class ExportRecord(Record):
    """How an export was made, so that it can be made again.

    Attributes:
        run: The run folder; seen from the export where this lies in it or beside it.
        format: A name of `FORMATS`.
        named: The folder as the user named it.
        splits: Those that were asked for.
        min_margin: The least margin of a label.
        files: SHA-256 of each other file by its path.
    """

    version: Literal[1] = 1
    run: str
    format: str
    named: str
    splits: tuple[Split, ...]
    min_margin: float
    files: dict[str, str]


class Copied(Record):
    """A folder into which rows of a run were written.

    Attributes:
        time: When (UTC).
        format: A name of `FORMATS`, or `push --dry-run`.
        folder: The folder; seen from the run where it lies in it or beside it.
    """

    time: str
    format: str
    folder: str


def seen_from(folder: Path, other: Path) -> str:
    """A path that stays right when both are moved together, if they lie near each other."""
    folder, other = folder.resolve(), other.resolve()
    near = other.is_relative_to(folder.parent) or folder.is_relative_to(other.parent)
    return os.path.relpath(other, folder) if near else str(other)


def files_in(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of an export by its path, without those that are hidden."""
    inside = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")))
    return {
        name.as_posix(): file_digest(path)
        for name, path in inside
        if path.is_file() and not any(part.startswith(".") for part in name.parts)
    }


def read_record(folder: Path) -> ExportRecord | None:
    """What an export says of itself; None where it says nothing that can be read."""
    try:
        return ExportRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def copies_of(run: Path) -> Iterator[tuple[Path, str]]:
    """The folders that a run has noted, each once, with the last format.

    Raises:
        CaiError: The file is damaged.
    """
    path, folders = run / EXPORTS, dict[Path, str]()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            copied = Copied.model_validate_json(line)
        except ValidationError:
            hint = "Remove the line, if a crash cut it off."
            raise CaiError(f"{path}, line {number}: damaged", hint) from None
        folders[(run / copied.folder).resolve()] = copied.format
    yield from folders.items()


def note_copy(run: Path, folder: Path, form: str) -> bool:
    """Write down in a run that its rows were copied; whether that could be done.

    A run of somebody else, which cannot be written to, can be copied all the same.
    """
    where = seen_from(run, folder)
    if (folder.resolve(), form) in set(copies_of(run)):
        return True
    try:
        with (run / EXPORTS).open("a", encoding="utf-8") as file:
            copied = Copied(time=now(), format=form, folder=where)
            file.write(json.dumps(copied.model_dump(mode="json")) + "\n")
            file.flush()
            os.fsync(file.fileno())
        sync(run)
    except OSError:
        return False
    return True
