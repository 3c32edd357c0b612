"""The tables of a journal, and how an empty one is made."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cai.files import publish

VERSION = 1


_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE calls
    (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value TEXT NOT NULL);
CREATE TABLE attempts
    (address TEXT PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID;
"""


PROMPTS = """
CREATE TABLE {name} (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
                     digest TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE {name}_failures (position INTEGER PRIMARY KEY, record TEXT NOT NULL);
"""


# Texts that were forgotten, by digest: they are not taken in again.
TOMBSTONES = "CREATE TABLE IF NOT EXISTS {schema}forgotten (digest TEXT PRIMARY KEY) WITHOUT ROWID"


class Store(Protocol):
    """Where results of calls are kept, by key."""

    def get(self, key: bytes) -> str | None: ...
    async def put(self, entries: Mapping[bytes, str]) -> None: ...
    def first_attempt(self, address: str) -> int: ...
    async def raise_attempt(self, address: str, first: int) -> None: ...


def create(path: Path) -> None:
    """An empty journal: whole, or not there."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    db = sqlite3.connect(new, isolation_level=None)
    try:
        db.executescript(_SCHEMA + PROMPTS.format(name="prompts"))
        db.execute("INSERT INTO meta VALUES ('version', ?)", (json.dumps(VERSION),))
    finally:
        db.close()
    publish(new, path)


class Transaction:
    """BEGIN … COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
            return
        with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
            self._db.execute("ROLLBACK")
