"""Prompts from files, folders, the shipped seeds and the Hub, read one row at a time.

Text is never cut or stripped: what is in the file is what the model gets. A file that is malformed
is an error that names the file and the line (for Parquet and the Hub: the row); a row that is well
formed and cannot be used is a `Failure`, and the rest is read on.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from cai.assets import seeds_dir
from cai.errors import CaiError, InputError
from cai.records import KINDS, Failure, Kind, Message, Prompt, digest

Row = tuple[str, dict[str, Any]]  # where it is ("file:line"), its fields

SEEDS: tuple[Kind, ...] = ("red-team", "borderline", "helpful")  # they take turns in this order
_TEXT_FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
_FORMATS = (*_TEXT_FORMATS, *(f"{s}.gz" for s in _TEXT_FORMATS), ".parquet")
_FALLBACKS = ("question", "instruction", "text", "goal", "chosen", "turns")
_OTHER_FIELDS = ("id", "kind", "group", "source", "licence", "license", "tags", "input")
_MARKER = re.compile(r"\n\n(Human|Assistant):")
_BATCH = 256  # rows of Parquet in memory at a time

_COLUMN_HINT = (
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


def read_prompts(
    source: str,
    *,
    prompt_column: str | None = None,
    kind: Kind | None = None,
    rejected: Callable[[Failure], None] | None = None,
) -> Iterator[Prompt]:
    """Read prompts lazily, in constant memory and in the order of the source.

    Args:
        source: A file (JSONL, CSV, TSV, TXT, each also gzipped; Parquet), a folder of such files,
            `seeds`, `seeds:KIND`, or `hf:owner/name[@revision][:config][:split][:column]`.
        prompt_column: The column with the prompts, where it cannot be told from the names.
        kind: The kind of prompts that do not say theirs; `red-team` if not given.
        rejected: Takes each row that is well formed and cannot be used; without it, such a row is
            an error.

    Raises:
        InputError: The file is missing or malformed.
        CaiError: The dataset cannot be loaded.
    """
    rows: Iterable[Row]
    if source.startswith("hf:"):
        prompt_column = _hub_spec(source).column or prompt_column
        rows = _hub_rows(source, prompt_column)
    else:
        files = [_file_rows(path, prompt_column) for path in _files(source)]
        rows = chain.from_iterable(files)
        if source == "seeds":  # one row of each kind in turn, so that a few rows have all kinds
            rows = (row for turn in zip_longest(*files) for row in turn if row is not None)
    for where, row in rows:
        result = _prompt(row, where, prompt_column, kind)
        if isinstance(result, Prompt):
            yield result
        elif rejected is not None:
            rejected(result)
        else:
            raise InputError(where, result.message, "Mend the row or take it out.")


def source_digest(source: str, **options: Any) -> str:
    """SHA-256 of what a source holds and of the options it is read with (JSON values; None: unset).

    Files are hashed by content, a dataset on the Hub by its commit. A file that moved is the same.

    Raises:
        CaiError: There is no such source, or the Hub cannot be asked for the commit.
    """
    name: str | None = source if source == "seeds" else None  # its order is its own
    contents: Any
    if source.startswith("hf:"):
        spec = _hub_spec(source)
        name = f"{spec.config}:{spec.split}:{spec.column}"
        folder = Path(spec.name)
        if folder.is_dir():
            files = [(p.relative_to(folder), p) for p in folder.rglob("*") if p.is_file()]
            contents = [
                (str(inside), _file_digest(path))
                for inside, path in sorted(files)
                if not any(part.startswith(".") for part in inside.parts)
            ]
        else:
            with _hub(source):
                from huggingface_hub import HfApi

                info = HfApi().dataset_info(spec.name, revision=spec.revision)
            contents = [spec.name, info.sha]
    else:
        contents = [(path.name, _file_digest(path)) for path in _files(source)]
    given = {key: value for key, value in options.items() if value is not None}
    return digest({"source": name, "contents": contents, "options": given})


def _files(source: str) -> list[Path]:
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


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error}", "Check the file.") from error


def _file_rows(path: Path, prompt_column: str | None) -> Iterator[Row]:
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
            raise InputError(where, f"the line is {_a(row)}, not an object", _JSONL_HINT)
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
                _prompt_columns(header, prompt_column, where)
                twice = {name for name in header if name and header.count(name) > 1}
                if twice:
                    message = f"two columns have one name: {_listed(sorted(twice))}"
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


def _hub_spec(source: str) -> _HubSpec:
    name, *rest = source.removeprefix("hf:").split(":")
    if not name or len(rest) > 3:
        raise CaiError(f"{source}: not the name of a dataset", _HUB_HINT)
    config, split, column = (*rest, "", "", "")[:3]
    revision = ""
    if not Path(name).is_dir():
        name, _, revision = name.partition("@")
    return _HubSpec(name, revision or None, config or None, split or "train", column or None)


@contextmanager
def _hub(source: str) -> Iterator[None]:
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


def _hub_rows(source: str, prompt_column: str | None) -> Iterator[Row]:
    spec = _hub_spec(source)
    number = 0
    with _hub(source):
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
    wanted = {*_prompt_columns(columns, prompt_column, where), *_OTHER_FIELDS}
    return [name for name in columns if name in wanted]


def _prompt_columns(columns: Iterable[str], prompt_column: str | None, where: str) -> list[str]:
    """The columns that may hold the prompt; a row uses the first that is not null in it."""
    columns = list(columns)
    if prompt_column is not None:
        if prompt_column in columns:
            return [prompt_column]
        message = f"no column {prompt_column!r}; there are: {_listed(columns)}"
        raise InputError(where, message, _COLUMN_HINT)
    named = [name for name in columns if name in ("messages", "prompt")]
    if named:
        return sorted(named)
    found = [name for name in _FALLBACKS if name in columns]
    if len(found) == 1:
        return found
    if found:
        message = f"each of {_listed(found)} could be the prompt; there are: {_listed(columns)}"
    else:
        message = f"no column `prompt` or `messages`; there are: {_listed(columns)}"
    raise InputError(where, message, _COLUMN_HINT)


def _prompt(
    row: dict[str, Any], where: str, prompt_column: str | None, kind: Kind | None
) -> Prompt | Failure:
    columns = _prompt_columns(row, prompt_column, where)
    column = next((name for name in columns if row[name] is not None), columns[0])
    if prompt_column is None:
        _check_guess(row, column, where)
    turns = _turns(row[column], f"{where}: {column}", text=column != "messages")
    fields = {name: _text(row, name, where) for name in ("id", "group", "source")}
    fields["licence"] = _text(row, "licence", where) or _text(row, "license", where)
    tags = [] if row.get("tags") is None else row["tags"]
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        hint = 'Write "tags": ["one", "two"].'
        raise InputError(f"{where}: tags", f"must be a list of texts, not {_a(tags)}", hint)
    own_kind = row.get("kind")
    if own_kind is None or own_kind == "":
        own_kind = kind or "red-team"
    if own_kind not in KINDS:
        hint = f"Write one of: {', '.join(KINDS)}."
        raise InputError(f"{where}: kind", f"unknown kind {_listed([own_kind])}", hint)
    error = message = ""
    if not _encodable([turns, fields, tags]):
        error, message = "lone_surrogate", "half of a surrogate pair, which UTF-8 cannot hold"
    elif not turns[-1]["content"].strip():
        error, message = "empty_prompt", "the prompt is empty"
    if error:
        name = fields["id"] if fields["id"] and _encodable(fields["id"]) else where
        return Failure(stage="ingest", prompt_id=name, error=error, message=message, where=where)
    messages = tuple(Message.model_validate(turn) for turn in turns)
    fields["id"] = fields["id"] or Prompt.id_of(messages)
    return Prompt.model_validate({**fields, "messages": messages, "kind": own_kind, "tags": tags})


def _check_guess(row: dict[str, Any], column: str, where: str) -> None:
    """A column that was taken for its name alone must not be half of a prompt, or a reply."""
    value = row[column]
    if column == "instruction" and row.get("input"):
        message = "`input` belongs to the instruction, and would be lost"
        hint = "Join the two in a column `prompt`, or write --prompt-column instruction."
        raise InputError(f"{where}: {column}", message, hint)
    if column == "chosen" and isinstance(value, str) and value.strip() and not _transcript(value):
        message = "the text is no transcript (Human: …, Assistant: …), so it may be a reply"
        raise InputError(f"{where}: {column}", message, _COLUMN_HINT)


def _turns(value: Any, where: str, *, text: bool = True) -> list[dict[str, str]]:
    """The messages up to the last user turn; a reply after it is not part of the prompt."""
    hint = 'Write a text, or a list such as [{"role": "user", "content": "…"}].'
    if value is None:
        return [{"role": "user", "content": ""}]
    if isinstance(value, str) and text:
        return _transcript(value) or [{"role": "user", "content": value}]
    if not isinstance(value, list):
        expected = "a text or a list of messages" if text else "a list of messages"
        raise InputError(where, f"must be {expected}, not {_a(value)}", hint)
    if value and text and all(isinstance(turn, str) for turn in value):
        if len(value) == 1:
            return _turns(value[0], where)
        message = f"{len(value)} turns without the answers between them; a prompt is never cut"
        hint = "Write one turn as `prompt`, or a conversation with its answers as `messages`."
        raise InputError(where, message, hint)
    turns = [_turn(turn, f"{where}[{i}]", hint) for i, turn in enumerate(value)]
    if turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not turns:
        raise InputError(where, "there is no user turn", hint)
    if turns[-1]["role"] != "user":
        message = f"ends with a turn of role {turns[-1]['role']!r}, not with one of the user"
        raise InputError(where, message, "End the conversation with the turn to be answered.")
    return turns


def _turn(value: Any, where: str, hint: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InputError(where, f"a message must be an object, not {_a(value)}", hint)
    role, content = value.get("role"), value.get("content")
    if role not in ("system", "user", "assistant"):
        message = (
            f"unknown role {_listed([role])}" if "role" in value else "the message has no role"
        )
        raise InputError(where, message, "Roles are system, user and assistant.")
    if not isinstance(content, str):
        raise InputError(where, f"content must be text, not {_a(content)}", hint)
    return {"role": role, "content": content}


def _transcript(text: str) -> list[dict[str, str]]:
    """The turns of a text in the form of hh-rlhf up to the last human one; [] if it is not one.

    Only a marker at the start of a line after a blank one begins a turn, and one space after it is
    not text. Turns of one speaker in a row (they are in the data: jokes, quotes) are joined.
    """
    body = text.lstrip()
    if not body.startswith("Human:") or not (
        text.startswith("\n\nHuman:") or "\n\nAssistant:" in body
    ):
        return []
    parts = _MARKER.split("\n\n" + body)
    turns: list[dict[str, str]] = []
    for speaker, content in zip(parts[1::2], parts[2::2], strict=True):
        role = "user" if speaker == "Human" else "assistant"
        said = content.removeprefix(" ")
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += "\n\n" + said
        else:
            turns.append({"role": role, "content": said})
    return turns[:-1] if turns[-1]["role"] == "assistant" else turns


def _text(row: dict[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) or type(value) is int:  # many datasets number their rows
        return str(value)
    hint = f"Write a text, or rename the column if it is not the {name} of the prompt."
    raise InputError(f"{where}: {name}", f"must be text, not {_a(value)}", hint)


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _a(value: Any) -> str:
    """What a value is, in the words of a JSON file."""
    number = "a number"
    names = {"NoneType": "null", "bool": "true or false", "int": number, "float": number}
    names |= {"str": "a text", "list": "a list", "dict": "an object"}
    return names.get(type(value).__name__, f"a value of type {type(value).__name__}")


def _listed(names: Iterable[object]) -> str:
    """Names as they may be printed: escaped, and few and short even where they are data."""
    shown = [repr(name)[:60] for name in names]
    return ", ".join(shown[:20]) + (", …" if len(shown) > 20 else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
