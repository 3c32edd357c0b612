"""`cai forget` and `cai audit` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cai
from cai.cli import app
from cai.engines.scripted import ScriptedEngine


@pytest.fixture
def run(tmp_path: Path) -> str:
    rows = [{"id": f"q{i}", "prompt": f"Question {i}?", "kind": "borderline"} for i in range(8)]
    Path("p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cai.generate(prompts="p.jsonl", out="run", engine=ScriptedEngine(), revisions=1)
    return "run"


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output if done.exception is None else f"{done.exception}"


def test_forget_asks_shows_and_does(run: str) -> None:
    code, said = call("forget", run, "--id", "q3", "--dry-run")
    assert code == 0
    assert "would go: 1 prompts" in said
    assert "prompts: q3" in said
    code, said = call("forget", run, "--id", "q3")
    assert code == 1
    assert "--yes" in said
    assert not Path(run, "forgotten.jsonl").exists()
    code, said = call("forget", run, "--id", "q3", "--yes")
    assert code == 0
    assert "taken out: 1 prompts" in said
    assert Path(run, "forgotten.jsonl").exists()
    code, said = call("forget", run, "--id", "q3", "--yes")
    assert code == 1
    assert "no prompt is like that" in said


def test_forget_keeps_what_is_known_of_the_judge(run: str) -> None:
    check = ("check", "judge", "--judge", "scripted:", "--constitution", "default.yaml")
    assert call(*check, "--limit", "20")[0] == 0
    assert call("quality", run)[0] in (0, 1)
    before = json.loads(Path(run, "quality.json").read_text())
    assert before["judge_check"]["scored"] == 20
    assert call("forget", run, "--id", "q3", "--yes")[0] == 0
    after = json.loads(Path(run, "quality.json").read_text())
    assert after["judge_check"] == before["judge_check"]
    assert after["rows"]["sft"] == before["rows"]["sft"] - 1


def test_forget_wants_one_thing(run: str) -> None:
    assert "Give one of --id, --source and --match" in call("forget", run, "--yes")[1]
    assert "not a run folder" in call("forget", "nowhere", "--id", "a", "--yes")[1]


def test_audit_writes_and_verifies(run: str) -> None:
    code, said = call("audit", run, "--out", "audit")
    assert code == 0
    assert "rows traced" in said
    assert call("audit", run, "--out", "audit", "--verify")[0] == 0
    Path(run, "README.md").write_text("other")
    code, said = call("audit", run, "--out", "audit", "--verify")
    assert code == 1
    assert "changed: run/README.md" in said
