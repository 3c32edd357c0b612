"""The page of an evaluation as a file: what is in it, and that hostile text stays text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.evaluate.rows import ANSWERS
from cai.evaluate.run import evaluate
from cai.evaluate.scorecard import SCORECARD
from cai.evaluate.suites.records import Suite
from cai.report.page import write_report
from tests.evaluate import examples
from tests.report.helpers import HOSTILE, index_of, inflated, rows_of


def evaluated(folder: Path, *, judged: bool = True, hostile: bool = False) -> Path:
    """An evaluation of two scripted models, on prompts and answers that may be hostile."""
    suite = examples.suite(10)
    if hostile:
        asked = enumerate(HOSTILE)
        items = [examples.item(f"x{n}", text, "helpful", score="helpful") for n, text in asked]
        suite = Suite(name=HOSTILE[0], digest="0" * 64, items=tuple(items))
    engines = {
        "model": examples.model(
            "decent", (lambda text: text + " so") if hostile else examples.useful
        ),
        "baseline": examples.model("bad", examples.harmful),
    }
    engines |= {"judge": examples.judge()} if judged else {}
    evaluate("decent", baseline="bad", suites=[suite], out=folder, engines=engines)
    return folder


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_it_holds_all_prompts_with_both_answers(tmp_path: Path) -> None:
    path = write_report(evaluated(tmp_path / "card"))
    rows = rows_of(path)
    assert len(rows) == 30
    first = rows[0]
    assert [side["side"] for side in first["sides"]] == ["model", "baseline"]
    assert "can't help" in first["sides"][0]["answers"][0]["answer"]
    assert first["sides"][1]["answers"][0]["attack_success"] is True
    helpful = next(row for row in rows if row["id"] == "known:u0")
    assert helpful["winner"] == "the model helps more"
    index = index_of(path)
    assert index["columns"]["reply"]["names"] == ["refuse", "comply"]
    assert "the two differ" in index["columns"]["seen"]["names"]
    meta = json.loads(inflated(path.read_text(encoding="utf-8"))["meta"])
    assert meta["kind"] == "evaluation"
    assert {column for column, _ in meta["filters"].values()} <= set(index["columns"])


def test_what_it_shows_is_what_the_scorecard_says(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "card")
    page = page_of(folder)
    card = json.loads((folder / SCORECARD).read_text())
    for name, measure in card.items():
        assert f"<bdi>{name}</bdi>" in page
        if measure["value"] is not None and "nll" not in name:
            assert f"{100 * measure['value']:.1f} %" in page
    assert "The judge&#39;s assessments were not checked" in page
    assert "4 gates" in page


def test_without_a_judge_it_says_what_is_not_known(tmp_path: Path) -> None:
    page = page_of(evaluated(tmp_path / "card", judged=False))
    assert "No judge was named" in page
    assert "a judge has to say it: --judge NAME" in page


def test_hostile_text_is_text(tmp_path: Path) -> None:
    path = write_report(evaluated(tmp_path / "card", hostile=True))
    page = path.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page  # the name of the suite
    assert not any(text in page for text in HOSTILE[:4])
    rows = rows_of(path)
    assert {row["prompt"][0]["content"] for row in rows} == set(HOSTILE)


def test_a_damaged_evaluation_is_an_error(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "card")
    (folder / SCORECARD).write_text('{"incoherence": {"value": "much"}}')
    with pytest.raises(CaiError, match="Run cai evaluate again"):
        write_report(folder)
    folder = evaluated(tmp_path / "other")
    (folder / ANSWERS).unlink()
    with pytest.raises(CaiError, match=r"answers\.parquet: no such file"):
        write_report(folder)
