"""Copies of a run's rows outside its datasets: exports, dry runs of a push, pages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.traces import lines_of, rows_of
from cai.errors import CaiError
from cai.generation.tombstones import is_forgotten
from cai.publish.croissant import CROISSANT
from cai.publish.export import export_again
from cai.publish.export_card import CARD, WRITTEN_BY
from cai.publish.export_record import (
    DRY_RUN,
    RECORD,
    STAGING,
    ExportRecord,
    copies_of,
    files_in,
    read_record,
)
from cai.records import Record

_EDITED = "changed by hand since; write it anew: cai export"
_KILLED = f"an export was killed there: remove {STAGING}"
_NO_RECORD = f"it has no {RECORD}; remove it and write it anew: cai export"
_DRY_RUN = "a dry run of cai push; remove it"
_PAGE = "a page that shows both runs; write it anew: cai report"


class Copy(Record):
    """A folder, or a page, that may still hold what was forgotten, and why it is as it was."""

    path: str
    why: str


class Copies(NamedTuple):
    """Copies of a run's rows.

    Attributes:
        exports: Exports that can be written anew.
        left: What cannot.
        gone: Folders that were noted and are not there.
    """

    exports: tuple[str, ...]
    left: tuple[Copy, ...]
    gone: tuple[str, ...]


def copies(run: Path, digests: set[str]) -> Copies:
    """The copies that a run has noted, and those that are in its folder or beside it.

    Args:
        run: The run folder.
        digests: Of the prompts that are forgotten.
    """
    run, noted = run.resolve(), dict(copies_of(run))
    exports: list[str] = []
    left = [Copy(path=str(page), why=_PAGE) for page in _pages(run)]
    gone = []
    for folder in sorted({*noted, *_near(run)}):
        if not folder.is_dir():
            gone.append(str(folder))
            continue
        why = _why_left(folder, run, noted.get(folder), digests)
        if why is None and _is_of(read_record(folder), folder, run):
            exports.append(str(folder))
        elif why is not None:
            left.append(Copy(path=str(folder), why=why))
    return Copies(tuple(exports), tuple(left), tuple(gone))


def _pages(run: Path) -> Iterator[Path]:
    """Pages in the folders beside a run that compare it with theirs."""
    yield from sorted(run.parent.glob(f"*/report-{run.name}.html"))


def _near(run: Path) -> Iterator[Path]:
    """Folders in a run or beside it that look like copies of rows, of whatever run."""
    signs = (RECORD, STAGING, CARD, CROISSANT)
    inside = (path.parent for sign in signs for path in run.rglob(sign))
    beside = (path.parent for sign in signs for path in run.parent.glob(f"*/{sign}"))
    yield from (folder.resolve() for folder in (*inside, *beside) if folder.resolve() != run)


def _why_left(folder: Path, run: Path, form: str | None, digests: set[str]) -> str | None:
    """Why a copy is not written anew; None where it is, or where it has nothing of the run."""
    record = read_record(folder)
    if record is not None and not _is_of(record, folder, run):
        return None
    if (folder / STAGING).exists():
        return _KILLED
    if record is not None:
        if not os.access(folder, os.W_OK):
            return "it cannot be written to"
        return _EDITED if files_in(folder) != record.files else None
    if form == DRY_RUN or is_dry_run(folder):
        return _DRY_RUN if _holds(folder, digests) else None
    if form is not None:
        return _NO_RECORD
    return _NO_RECORD if _is_export(folder) and _holds(folder, digests) else None


def _is_of(record: ExportRecord | None, folder: Path, run: Path) -> bool:
    """Whether an export is of a run: it names it, or a folder that is there no more."""
    if record is None:
        return False
    named = (folder / record.run).resolve()
    return named == run or not named.is_dir()


def is_dry_run(folder: Path) -> bool:
    """Whether a folder is what `cai push --dry-run` wrote of a run."""
    return (folder / CROISSANT).is_file() and not (folder / "config.yaml").is_file()


def _is_export(folder: Path) -> bool:
    try:
        return WRITTEN_BY in (folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _holds(folder: Path, digests: set[str]) -> bool:
    """Whether a row of a folder begins with a forgotten conversation, or a file is damaged."""
    try:
        return any(is_forgotten(talk, digests) for row in _rows(folder) for talk in _talks(row))
    except CaiError:
        return True


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.parquet")):
        yield from rows_of(path)
    for path in sorted(folder.rglob("*.jsonl")):
        yield from lines_of(path)


def _talks(row: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The columns that are lists of messages."""
    for value in row.values():
        if isinstance(value, list) and value and all(map(_is_message, value)):
            yield value


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and {"role", "content"} <= value.keys()


def write_exports_anew(run: Path, folders: Iterable[str]) -> tuple[Copy, ...]:
    """Write exports from a run as it is now; those that could not be, with the reason."""
    left: list[Copy] = []
    for folder in map(Path, folders):
        record = read_record(folder)
        if record is None:  # its last row went before a kill, or somebody changed it since
            left += [Copy(path=str(folder), why=_NO_RECORD)] if files_in(folder) else []
            continue
        try:
            export_again(run, record, folder)
        except (OSError, CaiError) as error:
            left.append(Copy(path=str(folder), why=str(error)))
    return tuple(left)
