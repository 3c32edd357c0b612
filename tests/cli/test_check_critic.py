"""`cai check critic`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_main import command

# With change=1 the scripted critic finds fault with everything, with 0 with nothing.
ALWAYS = "scripted:change=1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache"


def check(*arguments: str, critic: str = ALWAYS, code: int = 0) -> tuple[str, str]:
    return command("check", "critic", "--critic", critic, *arguments, code=code)


def test_what_is_printed_and_written(cache: Path) -> None:
    out, _ = check("--limit", "40")
    for name, value in {
        "cases": "40 scored, 0 not",
        "accuracy on breaches": "1.000",
        "accuracy on what is fine": "0.000",
        "false alarms": "1.000",
        "breaches called fine": "0.000",
        "same answer in both orders": "1.000",
        "label mass, mean / least": "0.900 / 0.900",
    }.items():
        assert any(name in line and value in line for line in out.splitlines()), name
    assert "assessment: no better than chance. Its assessments are right in" in out
    assert "verdict: no better than chance. Its verdicts are right in" in out
    folder = Path("outputs/critic-check/scripted-change-1")
    assert f"Result and cases: {folder}" in out
    result = json.loads((folder / "result.json").read_text())
    assert result["cases"]["file"] == "critic-check.jsonl"
    for way in ("assessment", "verdict"):
        stored = json.loads((cache / "critics" / f"{result[way]['key']}.json").read_text())
        assert stored == result
    assert len((folder / "cases.jsonl").read_text().splitlines()) == 40


def test_json_and_own_cases() -> None:
    rows = [
        {"prompt": f"Q {n}?", "response": f"A {n}.", "principle": "candid", "verdict": verdict}
        for n, verdict in enumerate(["violates", "fine", "fine"])
    ]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, _ = check("--cases", "own.jsonl", "--out", "check", "--json")
    result = json.loads(out)
    assert result["cases"]["used"] == 3
    assert result["assessment"]["accuracy"] == pytest.approx(1 / 3)
    assert set(result["verdict"]["principles"]) == {"candid"}


def test_a_second_run_asks_nothing_and_failures_are_asked_again_on_demand() -> None:
    critic = f"{ALWAYS},log=calls.log"
    first, _ = check("--limit", "5", "--out", "check", critic=critic)
    asked = Path("calls.log").read_text()
    assert len(asked.splitlines()) == 5 * 5  # a critique, two kinds of answer in two orders
    assert check("--limit", "5", "--out", "check", critic=critic)[0] == first
    assert Path("calls.log").read_text() == asked
    failing = "scripted:fail=1,log=failed.log"
    out, _ = check("--limit", "2", "--out", "failed", critic=failing)
    assert "0 scored, 2 not (2 call)" in out
    count = len(Path("failed.log").read_text().splitlines())
    check("--limit", "2", "--out", "failed", critic=failing)
    assert len(Path("failed.log").read_text().splitlines()) == count
    check("--limit", "2", "--out", "failed", "--retry-failed", critic=failing)
    assert len(Path("failed.log").read_text().splitlines()) == 2 * count


def test_what_is_refused() -> None:
    _, err = check("--cases", "missing.jsonl", code=1)
    assert "no such file" in err
    Path("own.jsonl").write_text('{"prompt": "Q", "response": "A"}\n')
    _, err = check("--cases", "own.jsonl", code=1)
    assert "own.jsonl:1: principle: is empty" in err
    check("--limit", "0", code=2)
