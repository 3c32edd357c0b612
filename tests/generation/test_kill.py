"""kill -9 at any point, then the same command again: nothing lost, nothing doubled, same bytes."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.generation.kill_driver import SLOTS

DRIVER = Path(__file__).with_name("kill_driver.py")
PROMISED = ("sft/train.parquet", "sft/test.parquet", "traces/train.parquet", "failures.jsonl")
# How often each point is passed in an undisturbed run, at least; the seeded n stays below.
PASSES = {
    "served": 150,
    "mid-commit": 20,
    "committed": 20,
    "ingest": 60,
    "adopt": 2,
    "mid-parquet": 8,
    "before-rename": 7,
}
_dice = random.Random(20)
POINTS = [
    (point, _dice.randint(1, most))
    for point, times in zip(PASSES, (5, 4, 3, 2, 1, 3, 2), strict=True)
    for most in [PASSES[point]] * times
]


def run(folder: Path, prompts: str, log: Path, point: str = "nowhere", n: int = 0) -> int:
    command = [sys.executable, str(DRIVER), str(folder), prompts, str(log), point, str(n)]
    return subprocess.run(command, timeout=120, check=False).returncode


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PROMISED}


def committed(folder: Path) -> int:
    path = folder / "calls.sqlite"
    if not path.exists():
        return 0
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT count(*) FROM calls").fetchone()[0])
    except sqlite3.OperationalError:  # killed before the table was there
        return 0
    finally:
        db.close()


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    kinds = ("red-team", "helpful", "borderline")
    rows = [{"prompt": f"Question {n}, what to do?", "kind": kinds[n % 3]} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prompts: str) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    log = folder.with_suffix(".log")
    assert run(folder, prompts, log) == 0
    return folder, log.read_text().splitlines()


def test_undisturbed_run_has_every_kind_of_outcome(
    undisturbed: tuple[Path, list[str]], prompts: str
) -> None:
    folder, log = undisturbed
    counts = json.loads((folder / "manifest.json").read_text())["counts"]
    assert counts["failures"] >= 3
    assert counts["target.revision"] >= 5
    assert counts["target.unchanged"] >= 5
    assert counts["sft.test"] >= 5
    assert len(log) == len(set(log)) == committed(folder)


@pytest.mark.parametrize(("point", "n"), POINTS)
def test_kill_and_run_again(
    point: str, n: int, undisturbed: tuple[Path, list[str]], prompts: str, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "calls.log"
    assert run(folder, prompts, log, point, n) == -signal.SIGKILL
    before = log.read_text().splitlines() if log.exists() else []
    kept = committed(folder)
    assert run(folder, prompts, log) == 0
    after = log.read_text().splitlines()[len(before) :]

    again = Counter(before) & Counter(after)
    assert again.total() == len(before) - kept, "a committed call was made again"
    assert again.total() <= 2 * SLOTS, "more than the calls in flight (two labels at most each)"
    assert set(before) | set(after) == set(undisturbed[1])
    assert contents(folder) == contents(undisturbed[0])
    assert not list(folder.rglob("*.tmp"))


def test_kill_three_times_at_random_moments(
    undisturbed: tuple[Path, list[str]], prompts: str, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "calls.log"
    command = [sys.executable, str(DRIVER), str(folder), prompts, str(log), "nowhere", "0"]
    dice = random.Random(7)
    for _ in range(3):
        process = subprocess.Popen(command)
        try:
            process.wait(timeout=dice.uniform(0.3, 2.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert run(folder, prompts, log) == 0
    lines = log.read_text().splitlines()
    assert set(lines) == set(undisturbed[1])
    assert len(lines) - len(set(lines)) <= 3 * 2 * SLOTS
    assert contents(folder) == contents(undisturbed[0])
