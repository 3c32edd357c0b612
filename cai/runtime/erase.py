"""Taking prompts, and the calls that no other prompt uses, out of a journal for good."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType

from cai.errors import CaiError
from cai.runtime.journal import Journal
from cai.runtime.tables import TOMBSTONES

_OWN = """
CREATE TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE kept_addresses (address TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE gone (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE uses (key BLOB, prompt TEXT);
CREATE TABLE address_uses (address TEXT, prompt TEXT);
"""


class Eraser:
    """What stays in a journal and what goes; its own notes are in a file that has no name.

    Args:
        path: The journal.
        readonly: Only count; the file is not written.

    Raises:
        CaiError: When used: the file is damaged, not writable, or read by another process.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self._path = path
        alone = not path.with_name(f"{path.name}-wal").exists()
        mode = "rw" if not readonly else "ro&immutable=1" if alone else "ro"
        self._db = sqlite3.connect("", uri=True, isolation_level=None)
        self._db.executescript(_OWN)
        self._db.execute("PRAGMA main.journal_mode = OFF")  # its own notes need no way back
        self._db.execute("PRAGMA main.synchronous = OFF")
        self._db.execute("ATTACH ? AS run", (f"{path.absolute().as_uri()}?mode={mode}",))
        self._db.execute("PRAGMA busy_timeout = 10000")

    def __enter__(self) -> Eraser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def note_uses(self, prompt: str, keys: Iterable[bytes], addresses: Iterable[str]) -> None:
        """The calls that a prompt uses, and the addresses whose attempts it looks up."""
        insert = self._db.executemany
        insert("INSERT INTO uses VALUES (?, ?)", [(key, prompt) for key in keys])
        insert("INSERT INTO address_uses VALUES (?, ?)", [(name, prompt) for name in addresses])

    def users(self, holds: Callable[[str], bool]) -> set[str]:
        """The prompts that use a call whose result holds something."""
        calls = self._db.execute("SELECT key, value FROM run.calls")
        hits = [(key,) for key, value in calls if holds(value)]
        self._db.execute("CREATE TABLE hits (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._db.executemany("INSERT INTO hits VALUES (?)", hits)
        query = "SELECT DISTINCT prompt FROM uses WHERE key IN (SELECT key FROM hits)"
        prompts = {str(name) for (name,) in self._db.execute(query)}
        self._db.execute("DROP TABLE hits")
        return prompts

    def keep_others(self, ids: Iterable[str]) -> int:
        """Keep the calls of all noted prompts but these; how many calls these alone use."""
        db = self._db
        db.execute("DELETE FROM gone")
        db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", [(name,) for name in ids])
        stays = "WHERE prompt NOT IN (SELECT id FROM gone)"
        db.execute(f"INSERT OR IGNORE INTO kept SELECT key FROM uses {stays}")
        db.execute(f"INSERT OR IGNORE INTO kept_addresses SELECT address FROM address_uses {stays}")
        query = "SELECT count(DISTINCT key) FROM uses WHERE key NOT IN (SELECT key FROM kept)"
        return int(db.execute(query).fetchone()[0])

    def surplus(self) -> int:
        """How many calls are not kept."""
        query = "SELECT count(*) FROM run.calls WHERE key NOT IN (SELECT key FROM kept)"
        return int(self._db.execute(query).fetchone()[0])

    def erase(self, ids: Iterable[str], failed: Iterable[str], tombstones: Iterable[str]) -> None:
        """Remove prompts by id, input that `failed` by id, and calls that are not kept, at once.

        The tombstones are stored with it. Doing it twice is doing it once.
        """
        db, failed = self._db, set(failed)
        db.execute("DELETE FROM gone")
        db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", [(name,) for name in ids])
        try:
            db.execute("BEGIN IMMEDIATE")
            forgotten = db.execute(
                "DELETE FROM run.prompts WHERE id IN (SELECT id FROM gone)"
            ).rowcount
            db.execute("DELETE FROM run.calls WHERE key NOT IN (SELECT key FROM kept)")
            db.execute(
                "DELETE FROM run.attempts WHERE address NOT IN (SELECT address FROM kept_addresses)"
            )
            rows = db.execute("SELECT position, record FROM run.prompts_failures").fetchall()
            places = [(place,) for place, text in rows if json.loads(text)["prompt_id"] in failed]
            db.executemany("DELETE FROM run.prompts_failures WHERE position = ?", places)
            for table in ("staged", "staged_failures"):  # of an ingest that was killed
                db.execute(f"DROP TABLE IF EXISTS run.{table}")
            db.execute(TOMBSTONES.format(schema="run."))
            db.executemany(
                "INSERT OR IGNORE INTO run.forgotten VALUES (?)", [(name,) for name in tombstones]
            )
            self._count(forgotten)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _count(self, forgotten: int) -> None:
        """Add to how many prompts of the source are left out."""
        row = self._db.execute("SELECT value FROM run.meta WHERE key = 'source'").fetchone()
        if row is None or not forgotten:
            return
        source = json.loads(row[0])
        source["forgotten"] = source.get("forgotten", 0) + forgotten
        self._db.execute(
            "UPDATE run.meta SET value = ? WHERE key = 'source'", (json.dumps(source),)
        )

    def compact(self) -> None:
        """Write the file anew without what was removed, and empty its write-ahead log."""
        try:
            self._db.execute("VACUUM run")
            busy = self._db.execute("PRAGMA run.wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        if busy:
            raise self._unusable("another process reads it")

    def _unusable(self, error: object) -> CaiError:
        return CaiError(
            f"{self._path}: cannot take the prompt out of the journal: {error}",
            "Make room or end what uses the folder, and run the same command again: it goes on.",
        )


class Listening:
    """A journal that is read by a replay, which tells what it took.

    Args:
        journal: The journal.
        called: Takes the key and the result of each call that is there.
        raised: Takes each address whose attempts are looked up.
    """

    def __init__(
        self,
        journal: Journal,
        called: Callable[[bytes, str], None],
        raised: Callable[[str], None] = lambda address: None,
    ) -> None:
        self._journal, self._called, self._raised = journal, called, raised

    def get(self, key: bytes) -> str | None:
        value = self._journal.get(key)
        if value is not None:
            self._called(key, value)
        return value

    def first_attempt(self, address: str) -> int:
        self._raised(address)
        return self._journal.first_attempt(address)

    async def put(self, entries: Mapping[bytes, str]) -> None:
        raise NotImplementedError("a replay writes nothing")

    async def raise_attempt(self, address: str, first: int) -> None:
        raise NotImplementedError("a replay writes nothing")
