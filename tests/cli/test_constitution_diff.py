"""`cai constitution diff`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cai.cli.constitution import app
from cai.errors import CaiError
from tests.dataset.test_diff import AFTER, BEFORE, RULES, edited, pair, row, write_run


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*args: object) -> Result:
    result = CliRunner().invoke(app, ["diff", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    rules = edited(1, compare="Which is kinder?", why="It matters.")
    return write_run(tmp_path / "a", BEFORE), write_run(tmp_path / "b", AFTER, rules)


def test_the_tables(runs: tuple[Path, Path]) -> None:
    out = run(*runs).output
    lines = [line.split() for line in out.splitlines()]
    assert ["edited", "p1:", "compare,", "why"] in lines
    assert "Prompts: 8 in both, 1 only in A, 1 only in B; 6 of those in both changed" in out
    # Revisions, then judgements; the columns stand as in their heads.
    assert ["p0", "7", "1", "1", "3", "1", "1"] in lines
    assert ["p1", "1", "1", "1", "1", "0", "0"] in lines
    assert ["(all)", "7", "1", "1", "3", "1", "1"] in lines
    assert "Answered only in A: 1, only in B: 0" in out
    assert ["p0", "3", "1", "0.167", "0", "0"] in lines
    assert ["p2", "0", "0", "–", "0", "1"] in lines
    assert re.search(r"flipped +1\b", out)
    assert "sampled, labelled only in A; in B: 1 no principle" in out
    assert "sampled, labelled only in B; in A: 1 no pair" in out


def test_the_largest_changes(runs: tuple[Path, Path]) -> None:
    out = run(*runs).output
    assert "answer 1 is better: 0.800 in A, 0.300 in B: flipped" in out
    assert "answer 1 is better: 0.650 in A, 0.800 in B\n" in out
    assert "asked: p0, p1 in A; p0, p2 in B" in out
    assert "prompt  Ask flips?\nanswer 1  f one\nanswer 2  f two\n" in out
    assert "one [-two-] {+three+}" in out
    assert "edit distance 0.50 of 1; another first answer\nrevised by: p0 in A; p1 in B" in out
    one = run(*runs, "--show", "1").output
    assert one.count("answer 1 is better") == one.count("edit distance") == 1
    none = run(*runs, "--show", "0").output
    assert "Largest" not in none


def test_long_texts_are_shortened(tmp_path: Path) -> None:
    texts = "x" * 299
    before, after = (
        write_run(tmp_path / name, [row("q", pairs=[pair(texts, p_a)])])
        for name, p_a in (("a", 0.8), ("b", 0.2))
    )
    out = run(before, after).output.replace("\n", "")
    assert f"answer 1  {texts} …answer 2  {texts} …" in out


def test_text_of_a_run_is_data_to_the_terminal(tmp_path: Path) -> None:
    hostile = "[red]boo[/red] \x1b[2J \u202eright"
    asked = [{"role": "user", "content": f"{hostile} asked"}]
    before, after = (
        write_run(
            tmp_path / name,
            [row("[b]id[/b]", f"{hostile} {name}", prompt=asked, pairs=[pair(hostile, p_a)])],
        )
        for name, p_a in (("a", 0.8), ("b", 0.2))
    )
    out = run(before, after).output
    assert out.count("[red]boo[/red] \\x1b[2J \\u202eright") == 5  # 2 prompts, 2 answers, 1 text
    assert "[b]id[/b]" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\u202e" not in run(before, after, "--json").output


def test_nothing_changed_is_said_plainly(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", BEFORE), write_run(tmp_path / "b", BEFORE)
    out = run(a, b).output
    assert "The constitutions are the same." in out
    assert "Nothing changed" in out
    assert "Revisions" not in out
    reworded = write_run(tmp_path / "c", BEFORE, {**RULES, "description": "New."}, seed=1)
    (a / "config.yaml").write_text("seed: 0\n")
    (reworded / "config.yaml").write_text("seed: 1\n")
    out = run(a, reworded).output
    assert "other    description" in out
    assert "The runs also differ in: seed." in out
    assert "No revision and no label changed." in out


def test_runs_with_no_prompt_in_common(tmp_path: Path) -> None:
    a, empty = write_run(tmp_path / "a", BEFORE), write_run(tmp_path / "b", [])
    for other in (empty, write_run(tmp_path / "c", [row("x")])):
        assert "No prompt is in both runs" in run(a, other).output
    assert "No prompt is in both runs" in run(empty, empty).output


def test_json_is_the_record(runs: tuple[Path, Path]) -> None:
    data = json.loads(run(*runs, "--json", "--show", "2").output)
    assert data["constitution"]["edited"] == [{"id": "p1", "fields": ["compare", "why"]}]
    assert data["prompts"] == {"both": 8, "only_before": 1, "only_after": 1}
    assert data["labels"]["sampled"]["flips"] == 1
    assert len(data["largest_label_changes"]) == len(data["largest_revision_changes"]) == 2
    flip = data["largest_label_changes"][0]
    assert (flip["prompt_id"], flip["p_a_before"], flip["p_a_after"]) == ("flips", 0.8, 0.3)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CaiError, match="not a run folder"):
        run(tmp_path, tmp_path)
