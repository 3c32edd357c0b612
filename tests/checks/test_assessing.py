"""Any data against a constitution: `cai assess`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engines.local.chat_template import today
from cai.errors import CaiError
from cai.runtime.folder import reading
from cai.sources.answers import AnsweredPrompt, answered_prompts
from cai.sources.bad_rows import RowError

RULES = """
name: rules
version: 1
principles:
  - {id: short, check: {max_words: 3}}
  - {id: calm, check: {exclamation_marks: false}}
"""
ROWS = [
    {"prompt": "Why?", "completion": "It is so."},
    {"prompt": "How?", "response": "You take it and you turn it round!"},
    {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me!"}]},
    {"prompt": "When?", "chosen": "Now.", "rejected": "Never!"},
]


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["assess", *arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_a_program_counts_what_breaks_each_rule_in_rows_of_any_form(rules: str) -> None:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = json.loads(run("rows.jsonl", "--constitution", rules, "--json"))
    short, calm = data["principles"]
    assert (data["answers"], data["unscored"]) == (4, 0)
    assert (short["violates"], short["answers"], short["by"]) == (1, 4, "program")
    assert calm["violates"] == 2
    assert short["low"] < 0.25 < short["high"]
    lines = Path("outputs/assess/rows.jsonl/assessments.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["assessments"][0]["finding"] == "8 words, at most 3."


def test_one_text(rules: str) -> None:
    assert "calm: 1 exclamation mark" in run("--text", "Me!", "--constitution", rules)


def test_principles_in_words_are_put_to_the_critic() -> None:
    Path("rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    data = json.loads(run("rows.jsonl", "--model", "scripted:change=1", "--json"))
    names = {row["principle"]: row for row in data["principles"]}
    assert names["no-harm"]["by"] == "model"
    assert names["no-harm"]["violates"] == 1  # change=1 says yes to all
    assert "read-aloud" not in names  # it compares alone


def test_the_rows_of_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run" / "sft").mkdir(parents=True)
    rows = [{"id": "a", "prompt": "Why?", "completion": "So.", "prompt_kind": "helpful"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "run" / "sft" / "train.parquet")
    (row,) = answered_prompts(str(tmp_path / "run"))
    assert isinstance(row, AnsweredPrompt)
    assert (row.prompt.id, row.prompt.kind, row.answer) == ("a", "helpful", "So.")


def test_what_is_no_answer_says_where_it_stands(tmp_path: Path) -> None:
    Path("rows.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": "Why?", "completion": "So."}\n')
    bad, good = answered_prompts("rows.jsonl")
    assert isinstance(bad, RowError)
    assert "rows.jsonl:1" in str(bad)
    assert isinstance(good, AnsweredPrompt)
    for source in (str(tmp_path), "none.jsonl"):
        with pytest.raises(CaiError, match=r"sft|no such file"):
            list(answered_prompts(source))


def test_a_kind_that_nobody_knows_is_no_guess() -> None:
    """What a principle is for depends on it."""
    Path("rows.jsonl").write_text(json.dumps({**ROWS[0], "prompt_kind": "helpfull"}) + "\n")
    (bad,) = answered_prompts("rows.jsonl")
    assert isinstance(bad, RowError)
    assert "rows.jsonl:1: prompt_kind: unknown kind 'helpfull'" in str(bad)


def test_either_data_or_a_text() -> None:
    result = CliRunner().invoke(app, ["assess"])
    assert isinstance(result.exception, CaiError)


def test_the_day_of_the_critic_is_kept_with_its_answers() -> None:
    """A template that writes the date asks the same question when it is run again."""
    Path("rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    run("rows.jsonl", "--model", "scripted", "--out", "out", "--date", "2001-02-03")
    with reading(Path("out"), "") as journal:
        assert journal.meta("date") == "2001-02-03"
    run("rows.jsonl", "--model", "scripted", "--out", "other")
    with reading(Path("other"), "") as journal:
        assert journal.meta("date") == today().isoformat()
