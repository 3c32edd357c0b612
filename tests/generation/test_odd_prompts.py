"""Prompts of odd files through `cai generate`: the good ones are made, the odd ones are told."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

import cai
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError, InputError
from tests.odd_rows import ODD

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


def go(prompts: str | Path, **given: Any) -> cai.Run:
    named = {"out": "run", "stages": ("sft",), "revisions": 0, "engine": ScriptedEngine()}
    named |= {"kind": "borderline", "prompts": str(prompts)}  # unchanged answers are rows
    return cai.generate(**{**named, **given})


def mixed(path: Path, good: int, odd: int) -> dict[int, str]:
    """A file of good rows with odd ones all over it; the error that each odd line becomes."""
    lines = [json.dumps({"prompt": f"Question {n}?"}).encode() for n in range(good)]
    expected = {}
    step = (good + odd) // odd
    for n, (line, error) in enumerate(islice(cycle(ODD.values()), odd)):
        lines.insert(n * step, line)
        expected[n * step + 1] = error
    path.write_bytes(b"\n".join(lines) + b"\n")
    return expected


def test_thirty_odd_rows_among_a_thousand(tmp_path: Path) -> None:
    expected = mixed(tmp_path / "mixed.jsonl", 1000, 30)
    command = [*CAI, "generate", "--model", "scripted", "--prompts", "mixed.jsonl", "--out", "run"]
    command += ["--kind", "borderline"]
    command += ["--stages", "sft", "--revisions", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    run = cai.Run.load("run")
    assert run.manifest.prompts["rows"] == 1000
    assert sum(len(run.sft[split]) for split in run.sft) == 1000
    failures = {f.where: f.error for f in run.failures}
    assert failures == {f"mixed.jsonl:{line}": error for line, error in expected.items()}
    assert {f.stage for f in run.failures} == {"ingest"}
    assert "30 of 1,030 rows cannot be used: 7 broken line, " in done.stderr
    for line in sorted(expected)[:10]:
        assert f"mixed.jsonl:{line}: " in done.stderr
    assert "… and 20 more" in done.stderr
    assert "failures.jsonl has them all" in done.stderr
    plan = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True)
    assert "Rows: 1,000, of which 1,000 are whole" in plan.stdout
    assert "30 of 1,030 rows cannot be used" in plan.stderr


def test_too_many_odd_rows_stop_the_run(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    expected = mixed(path, 100, 6)
    with pytest.raises(InputError) as caught:
        go(path)
    for line in expected:
        assert f"{path}:{line}: " in caught.value.message
    assert "6 of 106 rows cannot be used: " in caught.value.message
    assert "(5.7%; at most 5% may be)" in caught.value.message
    assert "--max-bad-rows" in caught.value.hint
    assert not Path("run").exists()
    run = go(path, max_bad_rows=0.06)
    assert (run.manifest.prompts["rows"], len(run.failures)) == (100, 6)
    with pytest.raises(InputError):
        go(path, max_bad_rows=0, out="strict")


def test_the_share_is_of_the_rows_that_were_read(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    mixed(path, 300, 3)  # the lines 1, 102 and 203
    with pytest.raises(InputError, match=r"1 of 11 rows"):
        go(path, limit=10)
    assert len(go(path, limit=50).failures) == 1


def test_an_allowance_for_bad_rows_changes_nothing_that_stands(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    mixed(path, 60, 3)
    go(path)
    again = go(path, max_bad_rows=0.5)  # asks for no consent: nothing is replaced
    assert again.manifest.calls["made"] == 0


def test_a_journal_of_a_version_without_the_settings_goes_on(
    prompts_file: Callable[..., str],
) -> None:
    prompts = prompts_file(5)
    go(prompts)
    db = sqlite3.connect("run/calls.sqlite")
    for key, value in db.execute("SELECT key, value FROM meta").fetchall():
        facts = json.loads(value)
        settings = facts.get("settings", facts) if isinstance(facts, dict) else {}
        for name in ("ignore_columns", "max_bad_rows"):
            settings.pop(name, None)
        db.execute("UPDATE meta SET value = ? WHERE key = ?", (json.dumps(facts), key))
    db.commit()
    db.close()
    changed = []
    again = go(prompts, approve=lambda plan: bool(changed.append(plan)))
    assert again.manifest.calls["made"] == 0
    assert changed == []


def test_ids_that_two_files_share_are_made_unique_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in (("a", "One"), ("b", "Two")):
        rows = [{"id": n, "prompt": f"{text} {n}?"} for n in range(3)]
        rows.append({"id": 9, "prompt": "The same in both?"})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = go(folder, test_share=0)
    asked = {row["id"]: row["prompt"][0]["content"] for row in run.sft["train"]}
    assert asked == {
        "0": "One 0?", "1": "One 1?", "2": "One 2?", "9": "The same in both?",
        "b.jsonl:0": "Two 0?", "b.jsonl:1": "Two 1?", "b.jsonl:2": "Two 2?",
    }  # fmt: skip
    assert run.manifest.prompts["duplicates"] == 1
    assert run.failures == []


def test_one_id_twice_in_a_file_is_a_bad_row(tmp_path: Path) -> None:
    rows = [{"id": str(n), "prompt": f"Question {n}?"} for n in range(40)]
    rows[30]["id"] = "7"
    path = tmp_path / "ids.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = go(path)
    (failure,) = run.failures
    assert (failure.where, failure.prompt_id, failure.error) == (f"{path}:31", "7", "bad_field")
    assert "id: '7' stands for two different prompts" in failure.message
    assert run.manifest.prompts["rows"] == 39
    whole = go(path, ignore_columns=("id",), out="whole")
    assert whole.manifest.prompts["rows"] == 40


def test_columns_that_mean_something_else_are_ignored_by_name(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Question {n}?", "id": n / 2, "kind": "open_qa", "tags": {"a": n}}
        for n in range(30)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [*CAI, "generate", "--model", "scripted", "--prompts", "rows.jsonl", "--out", "run"]
    command += ["--kind", "borderline"]
    command += ["--stages", "sft", "--revisions", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "30 of 30 rows cannot be used: 30 bad field" in done.stderr
    assert "--ignore-columns id" in done.stderr
    assert not Path("run").exists()
    subprocess.run([*command, "--ignore-columns", "id,kind,tags"], check=True, capture_output=True)
    run = cai.Run.load("run")
    assert run.manifest.prompts["rows"] == 30
    with pytest.raises(CaiError, match="nothing is read from a column 'colour'"):
        go("rows.jsonl", ignore_columns=("colour",), out="other")


def test_compressed_prompts_are_the_same_prompts(prompts_file: Callable[..., str]) -> None:
    plain = Path(prompts_file(5))
    packed = plain.with_name("packed.jsonl")  # without the end that says so
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, two = go(plain), go(packed, out="two")
    texts = [Counter(row["prompt"][0]["content"] for row in run.sft["train"]) for run in (one, two)]
    assert texts[0] == texts[1]
