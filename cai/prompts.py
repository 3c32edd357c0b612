"""Prompts from files, folders, the shipped seeds and the Hub, read one row at a time.

Text is never cut or stripped: what is in the file is what the model gets. A file that is malformed
is an error that names the file and the line (for Parquet and the Hub: the row); a row that is well
formed and cannot be used is a `Failure`, and the rest is read on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from cai.errors import InputError
from cai.prompt_files import (
    COLUMN_HINT,
    Row,
    a_kind_of,
    file_digest,
    file_rows,
    files_of,
    hub,
    hub_rows,
    hub_spec,
    listed,
    prompt_columns,
)
from cai.records import KINDS, Failure, Kind, Message, Prompt, digest, encodable

_MARKER = re.compile(r"\n\n(Human|Assistant):")


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
        prompt_column = hub_spec(source).column or prompt_column
        rows = hub_rows(source, prompt_column)
    else:
        files = [file_rows(path, prompt_column) for path in files_of(source)]
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
        spec = hub_spec(source)
        name = f"{spec.config}:{spec.split}:{spec.column}"
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
    given = {key: value for key, value in options.items() if value is not None}
    return digest({"source": name, "contents": contents, "options": given})


def _prompt(
    row: dict[str, Any], where: str, prompt_column: str | None, kind: Kind | None
) -> Prompt | Failure:
    columns = prompt_columns(row, prompt_column, where)
    column = next((name for name in columns if row[name] is not None), columns[0])
    if prompt_column is None:
        _check_guess(row, column, where)
    turns = message_turns(row[column], f"{where}: {column}", text=column != "messages")
    fields = {name: _text(row, name, where) for name in ("id", "group", "source")}
    fields["licence"] = _text(row, "licence", where) or _text(row, "license", where)
    tags = [] if row.get("tags") is None else row["tags"]
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        hint = 'Write "tags": ["one", "two"].'
        raise InputError(f"{where}: tags", f"must be a list of texts, not {a_kind_of(tags)}", hint)
    own_kind = row.get("kind")
    if own_kind is None or own_kind == "":
        own_kind = kind or "red-team"
    if own_kind not in KINDS:
        hint = f"Write one of: {', '.join(KINDS)}."
        raise InputError(f"{where}: kind", f"unknown kind {listed([own_kind])}", hint)
    error = message = ""
    if not encodable([turns, fields, tags]):
        error, message = "lone_surrogate", "half of a surrogate pair, which UTF-8 cannot hold"
    elif not turns[-1]["content"].strip():
        error, message = "empty_prompt", "the prompt is empty"
    if error:
        name = fields["id"] if fields["id"] and encodable(fields["id"]) else where
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
        raise InputError(f"{where}: {column}", message, COLUMN_HINT)


def message_turns(value: Any, where: str, *, text: bool = True) -> list[dict[str, str]]:
    """The messages up to the last user turn; a reply after it is not part of the prompt."""
    hint = 'Write a text, or a list such as [{"role": "user", "content": "…"}].'
    if value is None:
        return [{"role": "user", "content": ""}]
    if isinstance(value, str) and text:
        return _transcript(value) or [{"role": "user", "content": value}]
    if not isinstance(value, list):
        expected = "a text or a list of messages" if text else "a list of messages"
        raise InputError(where, f"must be {expected}, not {a_kind_of(value)}", hint)
    if value and text and all(isinstance(turn, str) for turn in value):
        if len(value) == 1:
            return message_turns(value[0], where)
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
        raise InputError(where, f"a message must be an object, not {a_kind_of(value)}", hint)
    role, content = value.get("role"), value.get("content")
    if role not in ("system", "user", "assistant"):
        message = f"unknown role {listed([role])}" if "role" in value else "the message has no role"
        raise InputError(where, message, "Roles are system, user and assistant.")
    if not isinstance(content, str):
        raise InputError(where, f"content must be text, not {a_kind_of(content)}", hint)
    return {"role": role, "content": content}


def _transcript(text: str) -> list[dict[str, str]]:
    """The turns of a text in the form of hh-rlhf up to the last human one; [] if it is not one."""
    turns = transcript(text)
    return turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns


def transcript(text: str) -> list[dict[str, str]]:
    """All turns of a text in the form of hh-rlhf; [] if it is not one.

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
    return turns


def _text(row: dict[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) or type(value) is int:  # many datasets number their rows
        return str(value)
    hint = f"Write a text, or rename the column if it is not the {name} of the prompt."
    raise InputError(f"{where}: {name}", f"must be text, not {a_kind_of(value)}", hint)
