"""A file of rows that is written batch by batch: Parquet or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cai.files import sync

Add = Callable[[Sequence[dict[str, Any]]], None]


@contextmanager
def table_file(path: Path, columns: pa.Schema) -> Iterator[Add]:
    """Open a new file by its suffix, give a function that adds rows, see them to the disk.

    Args:
        path: `.parquet` or `.jsonl`.
        columns: Of Parquet; lines of JSON have what the rows have.
    """
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, columns, compression="zstd") as writer:
            yield lambda rows: _add_group(writer, rows, columns)
    else:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield lambda rows: file.writelines(f"{_line(row)}\n" for row in rows)
    sync(path)


def _add_group(
    writer: pq.ParquetWriter, rows: Sequence[dict[str, Any]], columns: pa.Schema
) -> None:
    if rows:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=columns))


def _line(row: dict[str, Any]) -> str:
    """Text as it is; JSON escapes line ends, so a row is a line."""
    return json.dumps(row, ensure_ascii=False)
