"""A run's rows in the form that a trainer reads, in a folder that is whole or not there."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.run import Run
from cai.dataset.schema import ANSWERS, SPLITS, Split
from cai.errors import CaiError
from cai.files import publish, sync
from cai.publish.export_card import CARD, export_card
from cai.publish.export_record import RECORD, STAGING, ExportRecord, files_in, note_copy, seen_from
from cai.publish.formats.records import Data, Format, Shape, Table, Tables
from cai.publish.formats.table import FORMATS
from cai.publish.table_file import table_file

BATCH = 1000  # rows in memory at once
_ROUNDING = 1e-9  # 2 x 0.7 - 1 is a little less than 0.4 in floating point
_MARGIN = "the label's margin 2p - 1 is less than --min-margin"


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        folder: Where, as the user named it.
        form: How.
        tables: The files.
        lost: In sentences what they do not say of the run.
        noted: Whether the run could write down that it was exported.
    """

    folder: Path
    form: Format
    tables: tuple[Table, ...]
    lost: tuple[str, ...]
    noted: bool = True


def export_run(
    folder: str | Path,
    form: str,
    out: str | Path,
    *,
    splits: Sequence[Split] = SPLITS,
    min_margin: float = 0.0,
) -> Export:
    """Write the datasets of a run as a trainer reads them, with a README.md that says how.

    Args:
        folder: The run.
        form: A name of `FORMATS`.
        out: A folder that does not exist or is empty.
        splits: Those to write.
        min_margin: Pairs whose label has a margin 2p - 1 below this are left out.

    Raises:
        CaiError: No run, no such format, a folder with files in it, or no row to write.
    """
    run, target = Run.load(folder), Path(out)
    if form not in FORMATS:
        raise CaiError(f"{form}: no such format", f"Give one of: {', '.join(FORMATS)}.")
    with _new(target):
        result = _write(run, target, target, form, splits, min_margin)
        # Before the files: an export that is killed here is noted, and is not there.
        noted = note_copy(run.folder, target, form)
        _move(target)
    return replace(result, noted=noted)


def export_again(folder: Path, record: ExportRecord, target: Path) -> bool:
    """Write an export anew from its run as that is now, in the place of its files.

    Each file is whole at every moment, and what is killed can be done again.

    Returns:
        Whether a row was left to write; without one the files are gone.

    Raises:
        CaiError: There is no run.
        OSError: The folder cannot be written to.
    """
    try:
        run, named = Run.load(folder), Path(record.named)
        _write(run, target, named, record.format, record.splits, record.min_margin)
        _move(target, record.files)
    except NothingLeftError:
        for name in (*record.files, RECORD):
            (target / name).unlink(missing_ok=True)
        return False
    finally:
        shutil.rmtree(target / STAGING, ignore_errors=True)
    return True


class NothingLeftError(CaiError):
    """An export would have no row."""


def _write(
    run: Run, target: Path, named: Path, form: str, splits: Sequence[Split], min_margin: float
) -> Export:
    """Write an export into the hidden folder inside its own."""
    staging = target / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # of an export that was killed
    staging.mkdir(parents=True)
    writer = _Writer(run, FORMATS[form], splits, min_margin)
    tables = writer.write(staging)
    if not tables:
        raise NothingLeftError(
            f"{run.folder}: no row to write as {form}: {' '.join(writer.lost())}",
            "Other splits (--split), another margin (--min-margin) or format may have rows.",
        )
    result = Export(named, FORMATS[form], tables, tuple(writer.lost()))
    _describe(staging, result, run)
    record = ExportRecord(
        run=seen_from(target, run.folder),
        format=form,
        named=str(named),
        splits=tuple(splits),
        min_margin=min_margin,
        files=files_in(staging),
    )
    _put(staging / RECORD, record.model_dump_json(indent=2) + "\n")
    return result


def _describe(staging: Path, result: Export, run: Run) -> None:
    """Write what stands beside the rows: the account, and files that the tool wants."""
    tables = Tables(result.folder, result.tables)
    card = export_card(run, result.form, tables, result.lost, staging)
    for name, text in {**result.form.more(tables), CARD: card}.items():
        _put(staging / name, text)


def _put(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _move(target: Path, before: Iterable[str] = ()) -> None:
    """Put the files of the hidden folder in place, the account last; others of before go.

    They are renamed within one folder, so it may be a mount point.
    """
    staging = target / STAGING
    new = files_in(staging)
    for name in new.keys() - {CARD}:
        (target / name).parent.mkdir(exist_ok=True)
        publish(staging / name, target / name)
    for name in set(before) - new.keys():
        (target / name).unlink(missing_ok=True)
    for name in (RECORD, CARD):
        publish(staging / name, target / name)


@contextmanager
def _new(folder: Path) -> Iterator[None]:
    """A folder that is empty, and gone again where nothing was written into it."""
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if folder.exists() and (not folder.is_dir() or set(there) - {STAGING}):
        raise CaiError(
            f"{folder}: not an empty folder", "Give another --out; nothing is written over."
        )
    try:
        yield
    finally:
        shutil.rmtree(folder / STAGING, ignore_errors=True)
        if not there:
            with suppress(OSError):  # it has files: the export came to its end
                folder.rmdir()


class _Writer:
    """Writes the datasets of a run batch by batch, and counts what the rows do not say."""

    def __init__(self, run: Run, form: Format, splits: Sequence[Split], min_margin: float) -> None:
        self._run, self._form, self._splits = run, form, splits
        self._min_margin = min_margin
        self._seen: Counter[str] = Counter()  # rows by dataset
        self._losses: Counter[tuple[str, str]] = Counter()  # by dataset and words
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._columns: dict[str, list[str]] = {}

    def write(self, folder: Path) -> tuple[Table, ...]:
        tables = []
        for dataset in ANSWERS:
            shape = self._form.shapes.get(dataset)
            for split in self._splits:
                path = self._run.folder / dataset / f"{split}.parquet"
                if not path.is_file():
                    continue
                with pq.ParquetFile(path) as file:
                    if shape is None:
                        self._seen[dataset] += file.metadata.num_rows
                        continue
                    written = shape.path.format(split=split)
                    rows = self._write_table(file, folder / written, dataset, shape)
                if rows:
                    tables.append(Table(dataset, split, written, rows))
        for name in {Path(table.path).parent for table in tables}:
            sync(folder / name)
        return tuple(tables)

    def _write_table(self, file: pq.ParquetFile, path: Path, dataset: str, shape: Shape) -> int:
        """Write one file; it is not there if it has no row."""
        self._columns[dataset] = file.schema_arrow.names
        columns: pa.Schema = shape.columns or file.schema_arrow
        count = 0
        path.parent.mkdir(exist_ok=True)
        with table_file(path, columns) as add:
            for batch in file.iter_batches(BATCH):
                kept = [row for row in batch.to_pylist() if self._keep(row, dataset, shape)]
                made = [data for row in kept for data in shape.rows(row)]
                add(made)
                count += len(made)
        if not count:
            path.unlink()
            with suppress(OSError):  # the other split has rows
                path.parent.rmdir()
        return count

    def _keep(self, row: Data, dataset: str, shape: Shape) -> bool:
        """Whether a row is written; what its form loses is counted."""
        self._seen[dataset] += 1
        if 2 * row.get("chosen_probability", 1.0) - 1 < self._min_margin - _ROUNDING:
            self._left_out[dataset, _MARGIN] += 1
            return False
        for loss in (loss for loss in shape.losses if loss.left_out):
            if loss.concerns(row):
                self._left_out[dataset, loss.words] += 1
                return False
        for loss in shape.losses:
            self._losses[dataset, loss.words] += loss.concerns(row)
        return True

    def lost(self) -> Iterator[str]:
        """In sentences, what the files do not say of the run."""
        for dataset in ANSWERS:
            shape, seen = self._form.shapes.get(dataset), self._seen[dataset]
            if not seen:
                where = "" if len(self._splits) == len(SPLITS) else f" in {self._splits[0]}"
                yield f"{dataset} is not written: the run has no rows of it{where}."
                continue
            if shape is None:
                yield f"{dataset} ({seen:,} rows) is not written: the format has pairs alone."
                continue
            for (name, words), n in self._left_out.items():
                if name == dataset:
                    yield f"{dataset}: {n:,} of {seen:,} rows are left out: {words}."
            columns = shape.lost_columns(self._columns[dataset])
            if columns:
                yield f"{dataset}: the columns {', '.join(columns)} are not written."
            for (name, words), n in self._losses.items():
                if name == dataset and n:
                    yield f"{dataset}, {n:,} of {seen:,} rows: {words}."
        yield "Chains, judgements, failures, and sources and licences of prompts stay in the run."
