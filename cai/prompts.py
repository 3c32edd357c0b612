"""Prompts from files, folders, the shipped seeds and the Hub, read one row at a time.

Text is never cut or stripped: what is in the file is what the model gets. A row that cannot be used
is a `Failure` with its place (file and line; of Parquet and the Hub, the row), and the rest is read
on; a file that cannot be read is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from cai.errors import CaiError, InputError
from cai.files import seeds_dir
from cai.records import Failure, Kind, Message, Prompt, digest, encodable
from cai.sources.bad_rows import BadRows, RowError
from cai.sources.columns import (
    check_ignored,
    ignore,
    known_kind,
    needed_columns,
    prompt_columns,
    tags_of,
    whole_prompt,
)
from cai.sources.conversations import CONVERSATIONS, prompt_turns, with_system
from cai.sources.files import TABLES, Columns, SourceRow, file_digest, file_rows
from cai.sources.hub import hub, hub_rows, hub_spec
from cai.sources.wording import a_kind_of

SEEDS: tuple[Kind, ...] = ("red-team", "borderline", "helpful")  # they take turns in this order
_TEXT_FORMATS = (*TABLES, ".txt")
_FORMATS = (*_TEXT_FORMATS, *(f"{s}.gz" for s in _TEXT_FORMATS), ".parquet")


def read_prompts(
    source: str,
    *,
    prompt_column: str | None = None,
    kind: Kind | None = None,
    ignore_columns: Collection[str] = (),
    rejected: Callable[[Failure], None] | None = None,
) -> Iterator[Prompt]:
    """Read prompts lazily, in constant memory and in the order of the source.

    Args:
        source: A file (JSONL, CSV, TSV, TXT, each also gzipped; Parquet), a folder of such files,
            `seeds`, `seeds:KIND`, or `hf:owner/name[@revision][:config][:split][:column]`.
        prompt_column: The column with the prompts, where it cannot be told from the names.
        kind: The kind of prompts that do not say theirs; `red-team` if not given.
        ignore_columns: Columns that mean something else than their names say here.
        rejected: Takes each row that cannot be used; without it, such a row is an error.

    Raises:
        InputError: The file is missing or cannot be read.
        CaiError: The dataset cannot be loaded.
    """
    intake = Intake(source, prompt_column, kind, ignore_columns)
    for item in intake:
        if isinstance(item, Prompt):
            yield item
        elif rejected is not None:
            rejected(item)
        else:
            raise intake.bad.first[0]


class Intake:
    """The prompts of a source and, in their place, the rows that are none; `bad` counts them.

    Raises, when it is made or read, what `read_prompts` raises, and an `InputError` where none of
    the first 1,000 rows can be used.
    """

    def __init__(
        self,
        source: str,
        prompt_column: str | None = None,
        kind: Kind | None = None,
        ignore_columns: Collection[str] = (),
    ) -> None:
        check_ignored(ignore_columns)
        self.bad = BadRows()
        self._source, self._kind = source, kind
        self._column, self._ignored = prompt_column, frozenset(ignore_columns)
        self._later_file = ""  # the file that is read, if it is not the first
        self._where = ""

    def __iter__(self) -> Iterator[Prompt | Failure]:
        for later_file, (where, row) in self._rows():
            self._later_file, self._where = later_file, where
            self.bad.rows += 1
            try:
                if isinstance(row, RowError):
                    raise row
                fields = {name: row[name] for name in row if name not in self._ignored}
                yield _prompt(fields, where, self._column, self._kind)
            except RowError as error:
                self.bad.add(error)
                yield _failure(error, where, {} if isinstance(row, RowError) else row)

    def renamed(self, prompt: Prompt) -> Prompt | Failure:
        """The prompt last read, whose id stands for another text: with an id of its file's.

        In the first file, and where that one is taken too, it is a bad row.
        """
        start = f"{self._later_file}:"
        if self._later_file and not prompt.id.startswith(start):
            return prompt.model_copy(update={"id": start + prompt.id})
        message = f"{prompt.id!r} stands for two different prompts"
        hint = f"Give each prompt an id of its own; {ignore('id')}"
        error = RowError(f"{self._where}: id", "bad field", message, hint)
        self.bad.add(error)
        return _failure(error, self._where, {"id": prompt.id})

    def _rows(self) -> Iterator[tuple[str, SourceRow]]:
        """Rows, each with the name of its file unless that is the first."""
        if self._source.startswith("hf:"):
            self._column = hub_spec(self._source).column or self._column
            columns = needed_columns(self._column, self._ignored)
            rows = (("", row) for row in hub_rows(self._source, columns))
            yield from _some(rows, self._source, "Name another split or dataset.")
            return
        columns = needed_columns(self._column, self._ignored)
        paths = files_of(self._source)
        files = [_file(path, columns, path.name if i else "") for i, path in enumerate(paths)]
        if self._source == "seeds":  # one row of each kind in turn, so that a few rows have all
            yield from (row for turn in zip_longest(*files) for row in turn if row is not None)
        else:
            yield from chain.from_iterable(files)


def _file(path: Path, columns: Columns, name: str) -> Iterator[tuple[str, SourceRow]]:
    rows = ((name, row) for row in file_rows(path, columns))
    return _some(rows, str(path), "Give a file with prompts.")


def _some(
    rows: Iterator[tuple[str, SourceRow]], where: str, hint: str
) -> Iterator[tuple[str, SourceRow]]:
    row = None
    for row in rows:
        yield row
    if row is None:
        raise InputError(where, "there is no prompt in it", hint)


def files_of(source: str) -> list[Path]:
    """The files of a source: the shipped seeds, a file, or a folder's files by name.

    Raises:
        CaiError: There is none that can be read.
    """
    if source == "seeds" or source.startswith("seeds:"):
        kinds = [k for k in SEEDS if source in ("seeds", f"seeds:{k}")]
        if not kinds:
            hint = f"Write seeds, or one of: {', '.join(f'seeds:{k}' for k in SEEDS)}."
            raise CaiError(f"{source}: no such seeds", hint)
        return [seeds_dir() / f"{k}.jsonl" for k in kinds]
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


def source_digest(source: str, **options: Any) -> str:
    """SHA-256 of what a source holds and of the options it is read with (JSON values; None: unset).

    Files are hashed by content, a dataset on the Hub by its commit. A file that moved is the same.

    Raises:
        CaiError: There is no such source, or the Hub cannot be asked for the commit.
    """
    name: str | None = source if source == "seeds" else None  # its order is its own
    contents: Any
    if source.startswith("hf:"):
        spec = hub_spec(source)
        name = f"{spec.config}:{spec.split or 'train'}:{spec.column}"
        folder = Path(spec.name)
        if folder.is_dir():
            files = [(p.relative_to(folder), p) for p in folder.rglob("*") if p.is_file()]
            contents = [
                (str(inside), file_digest(path))
                for inside, path in sorted(files)
                if not any(part.startswith(".") for part in inside.parts)
            ]
        else:
            with hub(source):
                from huggingface_hub import HfApi

                info = HfApi().dataset_info(spec.name, revision=spec.revision)
            contents = [spec.name, info.sha]
    else:
        contents = [(path.name, file_digest(path)) for path in files_of(source)]
    values = {key: value for key, value in options.items() if value is not None}
    return digest({"source": name, "contents": contents, "options": values})


def _prompt(
    row: Mapping[str, Any], where: str, prompt_column: str | None, kind: Kind | None
) -> Prompt:
    columns = prompt_columns(list(row), prompt_column, where)
    column = next((name for name in columns if row[name] not in (None, "")), columns[0])
    value = row[column] if prompt_column else whole_prompt(row, column, where)
    turns = prompt_turns(value, f"{where}: {column}", text=column not in CONVERSATIONS)
    if prompt_column is None:
        turns = with_system(turns, row, where)
    fields = {name: _text(row, name, where) for name in ("id", "group", "source")}
    fields["licence"] = _text(row, "licence", where) or _text(row, "license", where)
    tags = tags_of(row.get("tags"), f"{where}: tags", ignore("tags"))
    own_kind = row.get("kind")
    if own_kind is None or own_kind == "":
        own_kind = kind or "red-team"
    own_kind = known_kind(own_kind, f"{where}: kind", ignore("kind"))
    if not encodable([turns, fields, tags]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    messages = tuple(Message.model_validate(turn) for turn in turns)
    fields["id"] = fields["id"] or Prompt.id_of(messages)
    return Prompt.model_validate({**fields, "messages": messages, "kind": own_kind, "tags": tags})


def _failure(error: RowError, where: str, row: Mapping[str, Any]) -> Failure:
    name = row.get("id")
    named = type(name) in (str, int) and str(name).strip() and encodable(name)
    return Failure(
        stage="ingest",
        prompt_id=str(name) if named else where,
        error=error.fault.replace(" ", "_"),
        message=error.inside(where),
        where=where,
    )


def _text(row: Mapping[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) or type(value) is int:  # many datasets number their rows
        return str(value)
    hint = f"Write a text; {ignore(name)}"
    message = f"must be text, not {a_kind_of(value)}"
    raise RowError(f"{where}: {name}", "bad field", message, hint)
