from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.files import Lock
from cai.records import Failure
from cai.runtime.journal import Journal
from tests.helpers import prompt


def test_results_are_there_when_put_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")

    async def one(n: int) -> None:
        key = n.to_bytes(32, "big")
        await journal.put({key: f"value {n}"})
        other = sqlite3.connect(tmp_path / "calls.sqlite")
        found = other.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
        other.close()
        assert found == (f"value {n}",)

    async def many() -> None:
        await asyncio.gather(*(one(n) for n in range(600)))

    asyncio.run(many())
    assert journal.get((599).to_bytes(32, "big")) == "value 599"
    assert journal.get(b"unknown") is None
    journal.close()


def test_a_group_is_more_than_one_statement_long(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    entries = {n.to_bytes(32, "big"): str(n) for n in range(1001)}
    asyncio.run(journal.put(entries))
    assert [journal.get(key) for key in entries] == list(entries.values())
    journal.close()


def test_a_write_that_fails_reaches_who_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    journal._db.execute("DROP TABLE calls")
    with pytest.raises(CaiError, match="no such table"):
        asyncio.run(journal.put({b"key": "value"}))
    journal.close()


def test_raised_attempts_persist(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    assert journal.first_attempt("a") == 0
    asyncio.run(journal.raise_attempt("a", 2))
    journal.close()
    assert Journal(tmp_path / "calls.sqlite", readonly=True).first_attempt("a") == 2


@pytest.mark.parametrize("content", [b"not a database, not at all" * 100, b"SQLite format 3\0" * 9])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(content)
    with pytest.raises(CaiError, match="cannot use the journal") as caught:
        Journal(path)
    assert "move it away" in caught.value.hint


def test_another_format_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    journal.set_meta({"version": 99})
    journal.close()
    with pytest.raises(CaiError, match="format 99"):
        Journal(tmp_path / "calls.sqlite")


def test_prompts_come_back_in_order_without_duplicates(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    texts = [f"Question {n}?" for n in range(2500)]
    failure = Failure(stage="ingest", prompt_id="x:1", error="empty_prompt", message="empty")
    items = [*(prompt(text) for text in texts), prompt(texts[7]), failure]
    assert journal.ingest(items) == 1
    assert list(journal.prompts()) == []  # staged, not in use
    journal.adopt({"source": 1}, staged=True)
    assert [(n, p.first_human_turn) for n, p in journal.prompts()] == list(enumerate(texts))
    assert list(journal.ingest_failures()) == [failure]
    assert journal.kinds() == {"red-team": 2500}
    journal.close()


def test_a_staging_that_was_cut_off_is_never_adopted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    journal.ingest([prompt("One?")])
    journal.adopt({}, staged=True)
    journal.ingest([prompt("Two?")])
    journal.close()
    journal = Journal(tmp_path / "calls.sqlite")
    journal.adopt({}, staged=False)
    assert [p.first_human_turn for _, p in journal.prompts()] == ["One?"]
    journal.ingest([prompt("Three?")])
    journal.adopt({}, staged=True)
    assert [p.first_human_turn for _, p in journal.prompts()] == ["Three?"]
    journal.close()


def test_the_limit_counts_prompts_not_duplicates(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.sqlite")
    asked = [prompt("One?"), prompt("One?"), prompt("Two?"), prompt("Three?")]
    assert journal.ingest(iter(asked), limit=2) == 1
    journal.adopt({}, staged=True)
    assert [p.first_human_turn for _, p in journal.prompts()] == ["One?", "Two?"]
    journal.close()


def test_the_lock_is_free_again_after_release(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(CaiError, match="another process"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()
