"""Rows of prompts from files, folders and the Hub, one at a time: where each is, and its fields."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cai.assets import seeds_dir
from cai.errors import CaiError, InputError
from cai.records import Kind

Row = tuple[str, dict[str, Any]]  # where it is ("file:line"), its fields

SEEDS: tuple[Kind, ...] = ("red-team", "borderline", "helpful")  # they take turns in this order
_TEXT_FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
_FORMATS = (*_TEXT_FORMATS, *(f"{s}.gz" for s in _TEXT_FORMATS), ".parquet")
_FALLBACKS = ("question", "instruction", "text", "goal", "chosen", "turns")
_OTHER_FIELDS = ("id", "kind", "group", "source", "licence", "license", "tags", "input")
_BATCH = 256  # rows of Parquet in memory at a time

COLUMN_HINT = (
    "Name the column that holds the prompts: --prompt-column NAME."
    " (A CSV or TSV file begins with a line of column names.)"
)
_JSONL_HINT = (
    "Write one JSON object a line; to turn an array or indented JSON into lines:"
    " jq -c 'if type == \"array\" then .[] else . end' FILE > FILE.jsonl"
)
_HUB_HINT = (
    "Write hf:owner/name[@revision][:config][:split][:column]. A gated dataset needs"
    " `hf auth login`; without a network, give the folder of a local copy: hf:/path."
)


def files_of(source: str) -> list[Path]:
    if source == "seeds" or source.startswith("seeds:"):
        wanted = [k for k in SEEDS if source in ("seeds", f"seeds:{k}")]
        if not wanted:
            hint = f"Write seeds, or one of: {', '.join(f'seeds:{k}' for k in SEEDS)}."
            raise CaiError(f"{source}: no such seeds", hint)
        return [seeds_dir() / f"{k}.jsonl" for k in wanted]
    path, usable = Path(source), f"Usable files are {', '.join(_TEXT_FORMATS)} (or .gz), .parquet."
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        files = [p for p in inside if p.name.lower().endswith(_FORMATS)]
        if not files:
            raise InputError(source, "the folder has no file of prompts", usable)
        return files
    if not path.exists():
        hint = "Check the path; shipped prompts are `seeds`, a dataset on the Hub is hf:owner/name."
        raise InputError(source, "no such file or folder", hint)
    if not path.name.lower().endswith(_FORMATS):
        raise InputError(source, "unknown kind of file", usable)
    return [path]


def file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error}", "Check the file.") from error


def file_rows(path: Path, prompt_column: str | None) -> Iterator[Row]:
    row = None
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in (".csv", ".tsv"):
        rows = _csv_rows(path, prompt_column, "," if suffix == ".csv" else "\t")
    elif suffix == ".parquet":
        rows = _parquet_rows(path, prompt_column)
    else:
        rows = _txt_rows(path) if suffix == ".txt" else _jsonl_rows(path)
    for row in rows:
        yield row
    if row is None:
        raise InputError(str(path), "there is no prompt in it", "Give a file with prompts.")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends, divided at newlines only (U+2028 is text), without a BOM."""
    offset = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    at = offset + error.start
                    message = f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {at}"
                    hint = "Save the file as UTF-8: iconv -f LATIN1 -t UTF-8 FILE > NEW"
                    raise InputError(f"{path}:{number}", message, hint) from None
                offset += len(raw)
                yield number, line.removeprefix("\ufeff") if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        hint = "Check the file and whether you may read it; a .gz may be cut: fetch it again."
        raise InputError(str(path), f"cannot be read: {error}", hint) from error


def _txt_rows(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        text = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
        if text.strip():
            yield f"{path}:{number}", {"prompt": text}


def _jsonl_rows(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line.rstrip())
        except json.JSONDecodeError as error:
            message = f"not JSON: {error.msg} (line {number}, column {error.colno})"
            raise InputError(where, message, _JSONL_HINT) from None
        except (ValueError, RecursionError) as error:  # a number of 5000 digits; [[[[…
            raise InputError(where, f"not JSON that can be read: {error}", _JSONL_HINT) from None
        if not isinstance(row, dict):
            raise InputError(where, f"the line is {a_kind_of(row)}, not an object", _JSONL_HINT)
        yield where, row


def _csv_rows(path: Path, prompt_column: str | None, delimiter: str) -> Iterator[Row]:
    """Rows of a CSV file with a header; cells of `messages` and `tags` hold JSON."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line for _, line in _lines(path)), delimiter=delimiter, strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            where, start = f"{path}:{start}", reader.line_num + 1
            if not cells:
                continue
            if not header:
                header = cells
                prompt_columns(header, prompt_column, where)
                twice = {name for name in header if name and header.count(name) > 1}
                if twice:
                    message = f"two columns have one name: {listed(sorted(twice))}"
                    raise InputError(where, message, "Give each column a name of its own.")
                continue
            if len(cells) != len(header):
                message = f"{len(cells)} cells, but the header has {len(header)}"
                hint = 'Put "…" around a cell with a separator, a quote or a line break in it.'
                raise InputError(where, message, hint)
            yield where, {k: _cell(k, v, where) for k, v in zip(header, cells, strict=True)}
    except csv.Error as error:
        hint = 'Put "…" around a cell with a line break or a quote in it; write a quote twice.'
        raise InputError(f"{path}:{reader.line_num}", f"not CSV: {error}", hint) from None


def _cell(column: str, text: str, where: str) -> Any:
    if column not in ("messages", "tags"):
        return text
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        hint = """Write a JSON list, as in ["one", "two"]."""
        raise InputError(f"{where}: {column}", "the cell is not JSON", hint) from None


def _parquet_rows(path: Path, prompt_column: str | None) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            columns = _needed(file.schema_arrow.names, prompt_column, str(path))
            for batch in file.iter_batches(_BATCH, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"not Parquet that can be read: {_first_line(error)}"
        hint = "The file may be cut or damaged: write or fetch it again."
        raise InputError(f"{path}:{number + 1}", message, hint) from error


class _HubSpec(NamedTuple):
    name: str
    revision: str | None
    config: str | None
    split: str
    column: str | None


def hub_spec(source: str) -> _HubSpec:
    name, *rest = source.removeprefix("hf:").split(":")
    if not name or len(rest) > 3:
        raise CaiError(f"{source}: not the name of a dataset", _HUB_HINT)
    config, split, column = (*rest, "", "", "")[:3]
    revision = ""
    if not Path(name).is_dir():
        name, _, revision = name.partition("@")
    return _HubSpec(name, revision or None, config or None, split or "train", column or None)


@contextmanager
def hub(source: str) -> Iterator[None]:
    """Telemetry off, and what goes wrong inside is a `CaiError`."""
    try:
        import datasets
        import huggingface_hub as hub
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its client
    except ImportError as error:
        hint = "Install them: pip install datasets huggingface_hub"
        raise CaiError(f"{source}: needs datasets and huggingface_hub ({error})", hint) from error
    hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    known = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError, HTTPError)
    try:
        yield
    except known as error:
        raise CaiError(f"{source}: {_first_line(error)}", _HUB_HINT) from error


def hub_rows(source: str, prompt_column: str | None) -> Iterator[Row]:
    spec = hub_spec(source)
    number = 0
    with hub(source):
        from datasets import load_dataset

        data = load_dataset(
            spec.name, spec.config, split=spec.split, revision=spec.revision, streaming=True
        )
        if data.column_names is not None:
            data = data.select_columns(_needed(data.column_names, prompt_column, source))
        for number, row in enumerate(data, 1):
            yield f"{source}: row {number}", row
    if not number:
        raise InputError(source, "there is no prompt in it", "Name another split or dataset.")


def _needed(columns: list[str], prompt_column: str | None, where: str) -> list[str]:
    """The columns to read: no other (an image, a vector) is worth its memory."""
    wanted = {*prompt_columns(columns, prompt_column, where), *_OTHER_FIELDS}
    return [name for name in columns if name in wanted]


def prompt_columns(columns: Iterable[str], prompt_column: str | None, where: str) -> list[str]:
    """The columns that may hold the prompt; a row uses the first that is not null in it."""
    columns = list(columns)
    if prompt_column is not None:
        if prompt_column in columns:
            return [prompt_column]
        message = f"no column {prompt_column!r}; there are: {listed(columns)}"
        raise InputError(where, message, COLUMN_HINT)
    named = [name for name in columns if name in ("messages", "prompt")]
    if named:
        return sorted(named)
    found = [name for name in _FALLBACKS if name in columns]
    if len(found) == 1:
        return found
    if found:
        message = f"each of {listed(found)} could be the prompt; there are: {listed(columns)}"
    else:
        message = f"no column `prompt` or `messages`; there are: {listed(columns)}"
    raise InputError(where, message, COLUMN_HINT)


def a_kind_of(value: Any) -> str:
    """What a value is, in the words of a JSON file."""
    number = "a number"
    names = {"NoneType": "null", "bool": "true or false", "int": number, "float": number}
    names |= {"str": "a text", "list": "a list", "dict": "an object"}
    return names.get(type(value).__name__, f"a value of type {type(value).__name__}")


def listed(names: Iterable[object]) -> str:
    """Names as they may be printed: escaped, and few and short even where they are data."""
    shown = [repr(name)[:60] for name in names]
    return ", ".join(shown[:20]) + (", …" if len(shown) > 20 else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
