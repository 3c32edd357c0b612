"""The call journal: one SQLite file that makes a run resumable, editable and exactly-once.

A result is committed before anything that depends on it is sent. All results of one turn of the
event loop are committed together, on the loop: a writer thread fought it for the interpreter's
lock and made the whole chain a third slower.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.errors import CaiError
from cai.records import Failure, Prompt
from cai.runtime.tables import PROMPTS, TOMBSTONES, VERSION, Transaction, create

UNUSABLE = "Check disk space and permissions; if the file is damaged, move it away and run again."
CHUNK = 1000  # rows read or written at once: enough to be fast, little enough to be flat


# Table with its columns, rows, and who waits for the commit.
_Write = tuple[str, list[tuple[bytes | str, str | int]], "asyncio.Future[None]"]


class Journal:
    """The journal of a run folder. Raises `CaiError` when the file is damaged or not writable."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._readonly = readonly
        self._waiting: list[_Write] = []
        try:
            if not readonly and not path.exists():
                create(path)
            self._db = self._connect()
            self._check_version()
            self._any_raised = self._first_raised() is not None
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _connect(self) -> sqlite3.Connection:
        # Reading alone leaves no file behind: without a log there is nothing to share.
        alone = not self.path.with_name(f"{self.path.name}-wal").exists()
        mode = "?immutable=1" if alone else "?mode=ro"
        uri = f"{self.path.absolute().as_uri()}{mode if self._readonly else ''}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        if not self._readonly:
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine costs calls, not order
        db.execute("PRAGMA busy_timeout = 10000")
        db.execute("PRAGMA cache_size = -16000")
        return db

    def _unusable(self, error: Exception) -> CaiError:
        return CaiError(f"{self.path}: cannot use the journal: {error}", UNUSABLE)

    def _check_version(self) -> None:
        version = self.meta("version")
        if version != VERSION:
            raise CaiError(
                f"{self.path}: a journal of format {version}, this cai reads format {VERSION}",
                "Use the version of cai that wrote it, or another --out.",
            )

    # --- small facts about the run ---

    def meta(self, key: str) -> Any:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_meta(self, values: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def _transaction(self) -> Transaction:
        return Transaction(self._db)

    # --- calls ---

    def get(self, key: bytes) -> str | None:
        row = self._db.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def has_call(self, pattern: str) -> bool:
        """Whether a result is like a pattern of SQL."""
        query = "SELECT 1 FROM calls WHERE value LIKE ? LIMIT 1"
        return self._db.execute(query, (pattern,)).fetchone() is not None

    def _first_raised(self) -> str | None:
        row = self._db.execute("SELECT address FROM attempts LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def first_attempt(self, address: str) -> int:
        """The attempt that a call starts from: 0 unless `raise_attempt` said otherwise."""
        if not self._any_raised:
            return 0
        row = self._db.execute(
            "SELECT first FROM attempts WHERE address = ?", (address,)
        ).fetchone()
        return 0 if row is None else int(row[0])

    async def put(self, entries: Mapping[bytes, str]) -> None:
        """Commit results, all or none; returns when they are committed."""
        await self._write("calls (key, value)", list(entries.items()))

    async def raise_attempt(self, address: str, first: int) -> None:
        """Persist that a call starts from this attempt on."""
        self._any_raised = True
        await self._write("attempts (address, first)", [(address, first)])

    async def _write(self, table: str, rows: list[tuple[bytes | str, str | int]]) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._commit)
        self._waiting.append((table, rows, done))
        await done

    def _commit(self) -> None:
        """Commit all that has gathered, in one transaction, and tell who waits."""
        group, self._waiting = self._waiting, []
        problem: CaiError | None = None
        rows: dict[str, list[Any]] = {}
        for table, values, _ in group:
            rows.setdefault(table, []).extend(values)
        try:
            with self._transaction():
                for table, values in rows.items():
                    _insert(self._db, table, values)
        except sqlite3.Error as error:
            problem = self._unusable(error)
        _resolve([done for _, _, done in group], problem)

    # --- prompts ---

    def ingest(
        self,
        prompts: Iterable[Prompt | Failure | None],
        limit: int | None = None,
        shard: str | None = None,
        renamed: Callable[[Prompt], Prompt | Failure] | None = None,
    ) -> int:
        """Copy prompts into a staging table and return how many were duplicates.

        Nothing is in use until `adopt`; a killed ingest leaves nothing but the staging table, which
        the next one drops. A prompt whose id stands for another text is what `renamed` makes of it.
        None holds the place of a prompt that is left out: it counts for `limit` and `shard`.

        Raises:
            CaiError: One id stands for two different texts, and there is no `renamed`.
        """
        self._db.executescript("DROP TABLE IF EXISTS staged; DROP TABLE IF EXISTS staged_failures;")
        self._db.executescript(PROMPTS.format(name="staged"))
        position = duplicates = 0
        with self._transaction():
            for n, item in enumerate(prompts, 1):
                if n % (10 * CHUNK) == 0:  # keeps the write-ahead log small
                    self._db.execute("COMMIT")
                    self._db.execute("BEGIN")
                result: bool | Failure = True
                if isinstance(item, Failure):
                    result = item
                elif item is not None:
                    result = self._stage(position, item, renamed)
                if isinstance(result, Failure):
                    record = result.model_dump_json(exclude_none=True)
                    self._db.execute("INSERT INTO staged_failures (record) VALUES (?)", (record,))
                elif result:
                    position += 1
                else:
                    duplicates += 1
                if limit is not None and position >= limit:
                    break
            if shard is not None:
                self._keep_shard(*map(int, shard.split("/")))
        return duplicates

    def _keep_shard(self, part: int, parts: int) -> None:
        """Keep every `parts`-th prompt; unusable input is told of by the first part alone."""
        self._db.execute("DELETE FROM staged WHERE position % ? <> ?", (parts, part - 1))
        if part > 1:
            self._db.execute("DELETE FROM staged_failures")

    def _stage(
        self,
        position: int,
        prompt: Prompt,
        renamed: Callable[[Prompt], Prompt | Failure] | None,
    ) -> bool | Failure:
        """Stage a prompt; False if it is a duplicate, a failure if its id is another's."""
        row = (position, prompt.id, prompt.text_digest, prompt.kind)
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO staged VALUES (?, ?, ?, ?, ?)",
            (*row, prompt.model_dump_json(exclude_none=True)),
        )
        if cursor.rowcount:
            return True
        same = self._db.execute("SELECT 1 FROM staged WHERE digest = ?", (row[2],)).fetchone()
        if same is not None:
            return False
        if renamed is None:
            raise CaiError(
                f"{prompt.source or 'prompts'}: id {prompt.id!r} stands for two different prompts",
                "Give each prompt an id of its own, or leave the ids out.",
            )
        other = renamed(prompt)
        return other if isinstance(other, Failure) else self._stage(position, other, renamed)

    def adopt(self, meta: Mapping[str, Any], *, staged: bool) -> None:
        """Store facts about the run and make the staged prompts its own, in one transaction."""
        with self._transaction():
            if staged:
                for name in ("prompts", "prompts_failures"):
                    self._db.execute(f"DROP TABLE {name}")
                    self._db.execute(
                        f"ALTER TABLE {name.replace('prompts', 'staged')} RENAME TO {name}"
                    )
            self.set_meta(meta)

    def prompts(self, table: str = "prompts") -> Iterator[tuple[int, Prompt]]:
        """Positions and prompts, in order, a chunk in memory at a time."""
        position = -1
        while True:
            rows = self._db.execute(
                f"SELECT position, record FROM {table} WHERE position > ? "
                "ORDER BY position LIMIT ?",
                (position, CHUNK),
            ).fetchall()
            if not rows:
                return
            for position, record in rows:
                yield position, Prompt.model_validate_json(record)

    def place(self, prompt_id: str) -> tuple[int, str] | None:
        """The position of a prompt and its record, as JSON."""
        query = "SELECT position, record FROM prompts WHERE id = ?"
        return self._db.execute(query, (prompt_id,)).fetchone() or None

    def count_missing(self, other: Journal) -> int:
        """How many of the prompts in use are not among those that `other` has staged."""
        query = "SELECT id, digest, kind FROM prompts"
        staged = "SELECT 1 FROM staged WHERE id = ? AND digest = ? AND kind = ?"
        return sum(
            other._db.execute(staged, row).fetchone() is None for row in self._db.execute(query)
        )

    def kinds(self, table: str = "prompts") -> dict[str, int]:
        query = f"SELECT kind, count(*) FROM {table} GROUP BY kind ORDER BY kind"
        return {str(kind): int(n) for kind, n in self._db.execute(query)}

    def ingest_failures(self) -> Iterator[Failure]:
        query = "SELECT record FROM prompts_failures ORDER BY position"
        for (record,) in self._db.execute(query):
            yield Failure.model_validate_json(record)

    def tombstones(self) -> frozenset[str]:
        """Digests of texts that must not be taken in."""
        there = "SELECT 1 FROM sqlite_master WHERE name = 'forgotten'"  # not in one of before
        if self._db.execute(there).fetchone() is None:
            return frozenset()
        return frozenset(digest for (digest,) in self._db.execute("SELECT digest FROM forgotten"))

    def add_tombstones(self, digests: Iterable[str]) -> None:
        self._db.execute(TOMBSTONES.format(schema=""))
        rows = [(digest,) for digest in digests]
        self._db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", rows)

    def close(self) -> None:
        """Commit what waits, then let go of the file."""
        if self._waiting:
            self._commit()
        self._db.close()


def _insert(db: sqlite3.Connection, table: str, rows: list[Any]) -> None:
    """Insert rows of two columns, many in one statement."""
    for start in range(0, len(rows), 250):
        some = rows[start : start + 250]
        places = ",".join(["(?,?)"] * len(some))
        flat = [value for row in some for value in row]
        db.execute(f"INSERT OR REPLACE INTO {table} VALUES {places}", flat)


def _resolve(futures: list[asyncio.Future[None]], problem: CaiError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(problem)
