"""What a person noted of rows: the file that the page of `cai report` saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cai.errors import InputError

DROPPED = "dropped by review"
_HINT = 'Each line is {"id": "…", "flag": true, "note": "…"}, as the page of cai report saves it.'


def flagged(path: Path) -> frozenset[str]:
    """The ids of the prompts that are flagged in a file.

    Raises:
        InputError: The file cannot be read, or a line is no note of a row.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(str(path), error.strerror or "cannot be read", _HINT) from None
    except UnicodeDecodeError:
        raise InputError(str(path), "not UTF-8 text", _HINT) from None
    notes = [_note(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    return frozenset(str(note["id"]) for note in notes if note.get("flag") is True)


def _note(line: str, where: str) -> dict[str, Any]:
    try:
        note = json.loads(line)
    except ValueError as error:
        raise InputError(where, f"no JSON: {error}", _HINT) from None
    if not (isinstance(note, dict) and isinstance(note.get("id"), str)):
        raise InputError(where, "no object with an id", _HINT)
    if not isinstance(note.get("flag", False), bool):
        raise InputError(f"{where}: flag", "must be true or false", _HINT)
    return note
