"""What a format is: how a row is written, what it cannot say, and how its tool is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from cai.dataset.schema import Split

Data = dict[str, Any]


@dataclass(frozen=True)
class Loss:
    """Something that a format does not say: `words`, of the rows for which `concerns` is true.

    Rows that are `left_out` are not written at all.
    """

    words: str
    concerns: Callable[[Data], bool]
    left_out: bool = False


@dataclass(frozen=True)
class Shape:
    """How the rows of one dataset are written.

    Args:
        path: Of a split's file in the folder, with `{split}` in it. Its folder is the name of the
            config and its stem that of the split in `load_dataset`; its suffix is the file type.
        rows: What a row of the run becomes.
        kept: The columns of the run whose values are in those rows; empty for all.
        columns: The columns of a Parquet file; None for those of the run.
        losses: What the rows do not say, beside the columns that are not kept.
    """

    path: str
    rows: Callable[[Data], Sequence[Data]]
    kept: tuple[str, ...] = ()
    columns: pa.Schema | None = None
    losses: tuple[Loss, ...] = ()

    def lost_columns(self, columns: Sequence[str]) -> list[str]:
        """The columns of a run that nothing is written of."""
        return [name for name in columns if self.kept and name not in self.kept]


@dataclass(frozen=True)
class Table:
    """A file of rows that was written: `path` is in the folder, `rows` are those of the file."""

    dataset: str
    split: Split
    path: str
    rows: int

    @property
    def config(self) -> str:
        return str(PurePosixPath(self.path).parent)

    @property
    def name(self) -> str:
        """The split in `load_dataset`."""
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Tables:
    """The files of an export, and the folder as the user named it."""

    folder: Path
    tables: tuple[Table, ...]

    def paths(self, dataset: str) -> dict[Split, str]:
        """The paths of a dataset's files by split, as they are given to a tool."""
        return {
            table.split: (self.folder / table.path).as_posix()
            for table in self.tables
            if table.dataset == dataset
        }

    def __contains__(self, dataset: str) -> bool:
        return any(table.dataset == dataset for table in self.tables)


@dataclass(frozen=True)
class Format:
    """A form of the data that a trainer reads.

    Args:
        name: What `--format` takes.
        words: What it is, in a sentence.
        source: The page of the tool that says so, with the version that was read.
        shapes: How each dataset is written; a dataset without a shape is not.
        usage: How the tool is told of the files, in Markdown.
        more: Files beside the data, by path.
    """

    name: str
    words: str
    source: str
    shapes: Mapping[str, Shape]
    usage: Callable[[Tables], str]
    more: Callable[[Tables], Mapping[str, str]] = field(default=lambda tables: {})
