"""pushes.jsonl: what was sent of a folder, where to and when."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Literal

from cai.errors import CaiError
from cai.files import sync
from cai.records import Record

PUSHES = "pushes.jsonl"


class Push(Record):
    """One commit of a folder's content.

    Attributes:
        time: When it was written down (UTC).
        repo: `owner/name`.
        type: What the repository is.
        revision: The branch.
        commit: The commit's id.
        digest: SHA-256 over names and contents of what was sent.
        include: What was sent beside the default.
        without: Prompts whose rows were left out.
        tag: The name that was given to the commit.
    """

    time: str
    repo: str
    type: Literal["dataset", "model"]
    revision: str
    commit: str
    digest: str
    include: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    tag: str | None = None


def now() -> str:
    """The time as a push has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def pushes(folder: Path) -> list[Push]:
    """What was sent of a folder, oldest first.

    Raises:
        CaiError: The file is damaged.
    """
    path = folder / PUSHES
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(Push.model_validate(json.loads(line)))
        except ValueError:
            hint = "Remove the line, if a crash cut it off."
            raise CaiError(f"{path}, line {number}: damaged", hint) from None
    return rows


def note(folder: Path, push: Push) -> None:
    """Write a push down, unless the last lines have it."""
    same = {"time": push.time}
    if any(push == old.model_copy(update=same) for old in pushes(folder)):
        return
    with (folder / PUSHES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(push.model_dump(mode="json")) + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync(folder)
