"""The tables of a journal, and how an empty one is made."""

from __future__ import annotations

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
