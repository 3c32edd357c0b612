"""Rows of a file, one at a time: where each stands, and its fields.

A file is read in constant memory. What it is made of is told by its name, how it is written by its
first bytes: gzip, UTF-16 and UTF-32 are read as what they are. A line that cannot be read is a
`RowError` in its place and the reading goes on; a file that cannot be read is an error.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from cai import files
from cai.errors import InputError
from cai.sources.bad_rows import RowError
from cai.sources.wording import a_kind_of, first_line, listed

SourceRow = tuple[str, "dict[str, Any] | RowError"]  # where it is ("file:line"), its fields
# From the names of all columns and the place of a header: the columns to read, or an error.
Columns = Callable[[Sequence[str], str], Sequence[str]]

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_BATCH = 256  # rows of Parquet in memory at a time

_JSONL_HINT = (
    "Write one JSON object a line; to turn an array or indented JSON into lines:"
    " jq -c 'if type == \"array\" then .[] else . end' FILE > FILE.jsonl"
)
_UTF8_HINT = (
    "Save the file as UTF-8: iconv -f ENCODING -t UTF-8 FILE > NEW, with the encoding that it is"
    " in (a spreadsheet often writes WINDOWS-1252)."
)
_CELLS_HINT = 'Put "…" around a cell with a separator, a quote or a line break in it.'
_BOMS = {  # the longer first: the mark of UTF-32 begins with that of UTF-16
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_OTHERS = {
    b"PK\x03\x04": ("a zip archive, as a spreadsheet is", "Unpack it, or save it as CSV in UTF-8."),
    b"PAR1": ("a Parquet file", "Let its name end in .parquet."),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "Unpack it: zstd -d FILE"),
    b"\xfd7zXZ": ("compressed by xz", "Unpack it: xz -d FILE"),
    b"BZh91AY&SY": ("compressed by bzip2", "Unpack it: bzip2 -d FILE"),
    b"%PDF-": ("a PDF file", "Give its text, a prompt a line."),
    b"SQLite format 3": ("a SQLite database", "Write its rows as JSON, one object a line."),
}


def file_rows(path: Path, columns: Columns) -> Iterator[SourceRow]:
    """The rows of a file by the end of its name, `.gz` aside; `.txt` has a `prompt` a line.

    Args:
        path: JSON lines, CSV, TSV, text or Parquet.
        columns: Chooses the columns of CSV, TSV and Parquet that are read; rows of JSON are whole.

    Raises:
        InputError: The file cannot be read, its columns are others, or it is not what its name
            says.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in (".csv", ".tsv"):
        return _csv_rows(path, columns, "," if suffix == ".csv" else "\t")
    if suffix == ".parquet":
        return _parquet_rows(path, columns)
    return _txt_rows(path) if suffix == ".txt" else _jsonl_rows(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises `InputError` if the file cannot be read."""
    try:
        return files.file_digest(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error}", "Check the file.") from error


def only_once(names: Sequence[str], where: str) -> None:
    """Raise `InputError` where two columns that are read have one name."""
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        message = f"two columns have one name: {listed(sorted(twice))}"
        raise InputError(where, message, "Give each column a name of its own.")


# A line, numbered, and what is wrong with its bytes; these stand in it as halves of surrogates.
_Line = tuple[int, str, "RowError | None"]


def _lines(path: Path) -> Iterator[_Line]:
    """Lines with their ends, divided at newlines only (U+2028 is text), without a BOM."""
    try:
        with path.open("rb") as raw:
            zipped = path.suffix.lower() == ".gz" or raw.peek(2)[:2] == b"\x1f\x8b"
            file = gzip.GzipFile(fileobj=raw) if zipped else raw
            head = file.peek(16)[:16]
            _refuse_binary(path, head)
            encoding = next((name for bom, name in _BOMS.items() if head.startswith(bom)), None)
            if encoding is None:
                yield from _utf8_lines(path, cast("IO[bytes]", file))
            else:
                yield from _decoded_lines(path, cast("IO[bytes]", file), encoding)
    except (OSError, EOFError, zlib.error) as error:
        hint = "Check the file and whether you may read it; a .gz may be cut: fetch it again."
        raise InputError(str(path), f"cannot be read: {error}", hint) from error


def _refuse_binary(path: Path, head: bytes) -> None:
    for start, (what, hint) in _OTHERS.items():
        if head.startswith(start):
            raise InputError(str(path), f"not text, but {what}", hint)
    pairs = [(head[i] == 0, head[i + 1] == 0) for i in range(0, min(len(head), 8) - 1, 2)]
    for order, zeros in (("LE", (False, True)), ("BE", (True, False))):
        if len(pairs) > 1 and all(pair == zeros for pair in pairs):
            hint = f"Save the file as UTF-8: iconv -f UTF-16{order} -t UTF-8 FILE > NEW"
            raise InputError(str(path), "UTF-16 without the mark that says so", hint)


def _utf8_lines(path: Path, file: IO[bytes]) -> Iterator[_Line]:
    offset = 0
    for number, raw in enumerate(file, 1):
        wrong = None
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            at = offset + error.start
            message = f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {at}"
            wrong = RowError(f"{path}:{number}", "broken line", message, _UTF8_HINT)
            line = raw.decode("utf-8", "surrogateescape")
        offset += len(raw)
        yield number, line.removeprefix("\ufeff") if number == 1 else line, wrong


def _decoded_lines(path: Path, file: IO[bytes], encoding: str) -> Iterator[_Line]:
    try:
        with io.TextIOWrapper(file, encoding=encoding, newline="\n") as text:
            for number, line in enumerate(text, 1):
                yield number, line, None
    except UnicodeDecodeError as error:
        message = f"not {encoding.upper()}: {error.reason}"
        hint = "The file may be cut: fetch or write it again."
        raise InputError(str(path), message, hint) from None


def _txt_rows(path: Path) -> Iterator[SourceRow]:
    for number, line, wrong in _lines(path):
        text = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
        if text.strip():
            yield f"{path}:{number}", wrong or {"prompt": text}


def _jsonl_rows(path: Path) -> Iterator[SourceRow]:
    for number, line, wrong in _lines(path):
        if line.strip():
            where = f"{path}:{number}"
            yield where, wrong or _object(line, number, where)


def _object(line: str, number: int, where: str) -> dict[str, Any] | RowError:
    try:
        row = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} (line {number}, column {error.colno})"
    except (ValueError, RecursionError) as error:  # a number of 5000 digits; [[[[…
        message = f"not JSON that can be read: {error}"
    else:
        if isinstance(row, dict):
            return row
        message = f"the line is {a_kind_of(row)}, not an object"
    return RowError(where, "broken line", message, _JSONL_HINT)


def _csv_rows(path: Path, columns: Columns, delimiter: str) -> Iterator[SourceRow]:
    """Rows of a CSV file with a header; a cell is a text."""
    csv.field_size_limit(sys.maxsize)
    damage: list[RowError] = []  # in the lines of the row that is read
    reader = csv.reader(_noting(path, damage), delimiter=delimiter, strict=True)
    header: list[str] = []
    places: dict[str, int] = {}
    start = 1
    try:
        for cells in reader:
            where, start = f"{path}:{start}", reader.line_num + 1
            if damage and not header:
                raise damage[0]
            if not cells:
                continue
            if not header:
                header = cells
                _refuse_other_mark(header, delimiter, where)
                chosen = set(columns(header, where))
                only_once([name for name in header if name in chosen], where)
                places = {name: i for i, name in enumerate(header) if name in chosen}
            elif damage:
                yield where, damage[0]
            elif len(cells) != len(header):
                message = f"{len(cells)} cells, but the header has {len(header)}"
                yield where, RowError(where, "broken line", message, _CELLS_HINT)
            else:
                yield where, {name: cells[i] for name, i in places.items()}
            damage.clear()
    except csv.Error as error:
        # Where the quotes are wrong, nobody knows which line begins a row.
        hint = 'Put "…" around a cell with a line break or a quote in it; write a quote twice.'
        raise InputError(f"{path}:{reader.line_num}", f"not CSV: {error}", hint) from None


def _refuse_other_mark(header: list[str], delimiter: str, where: str) -> None:
    """A header of one cell with another separator in it: all rows would be one cell."""
    if len(header) > 1:
        return
    for mark in ",;\t|":
        if mark != delimiter and mark in header[0]:
            message = f"the header is one cell, {header[0]!r:.80}, and {mark!r} is in it"
            hint = "Cells are separated by a comma in .csv, by a tab in .tsv: save the file so."
            raise InputError(where, message, hint)


def _noting(path: Path, damage: list[RowError]) -> Iterator[str]:
    for _, line, wrong in _lines(path):
        if wrong is not None:
            damage.append(wrong)
        yield line


def _parquet_rows(path: Path, columns: Columns) -> Iterator[SourceRow]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            chosen = list(dict.fromkeys(columns(names, str(path))))
            only_once([name for name in names if name in chosen], str(path))
            for batch in file.iter_batches(_BATCH, columns=chosen):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        where = f"{path}: row {number + 1} or after" if number else str(path)
        message = f"not Parquet that can be read: {first_line(error)}"
        hint = "The file may be cut or damaged: write or fetch it again."
        raise InputError(where, message, hint) from error
