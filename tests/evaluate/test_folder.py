"""The folder of an evaluation: whose it is, on which day, and what a stop leaves."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cai import roles
from cai.errors import CaiError
from cai.evaluate import run
from cai.evaluate.run import default_folder, evaluate
from cai.evaluate.scorecard import Card
from cai.evaluate.suites.records import Suite
from cai.runtime.folder import reading
from tests.evaluate import examples

ENGINES = {"model": examples.model("one", examples.useful)}


def test_models_in_folders_of_one_name_have_a_folder_each() -> None:
    for name in ("runs/a/final", "runs/b/final", "outputs/default-dpo", "mine"):
        Path(name).mkdir(parents=True)
    out = Path("outputs/evaluate")
    assert default_folder("runs/a/final") == out / "runs--a--final"
    assert default_folder("runs/b/../b/final") == out / "runs--b--final"
    assert default_folder("outputs/default-dpo") == out / "default-dpo"
    assert default_folder(str(Path("mine").resolve())) == out / "mine"
    assert default_folder("http://127.0.0.1:80/v1").parent == out
    assert default_folder("org/name") != default_folder("org-name")
    deep = [f"{'deep/' * 30}{name}/final" for name in ("one", "two")]
    for name in deep:
        Path(name).mkdir(parents=True)
    assert len({default_folder(name) for name in deep}) == 2
    deeper = [f"{name}/{'deep/' * 30}final" for name in ("one", "two")]
    for name in deeper:
        Path(name).mkdir(parents=True)
    assert len({default_folder(name) for name in deeper}) == 2


def test_a_stop_between_files_leaves_no_card_of_two_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate("one", suites=[examples.suite(2)], out=tmp_path, engines=ENGINES)
    before = Card.load(tmp_path)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run, "write_answers", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate("one", suites=[examples.suite(3)], out=tmp_path, engines=ENGINES)
    with pytest.raises(CaiError, match="no evaluation stands here"):
        Card.load(tmp_path)
    evaluate("one", suites=[examples.suite(2)], out=tmp_path, engines=ENGINES)
    assert Card.load(tmp_path) == before


def test_both_models_are_asked_on_one_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates may hold the date; the baseline comes later, perhaps after midnight."""
    monkeypatch.setattr(roles, "today", lambda: date(2026, 1, 2))
    evaluate("one", suites=[examples.suite(2)], out=tmp_path, engines=ENGINES)
    monkeypatch.setattr(roles, "today", lambda: date(2026, 1, 3))
    engines = {**ENGINES, "baseline": examples.model("two", examples.harmful)}
    evaluate("one", baseline="two", suites=[examples.suite(2)], out=tmp_path, engines=engines)
    for side in ("model", "baseline"):
        with reading(tmp_path / side, "") as journal:
            assert journal.meta("date") == "2026-01-02"


def test_a_prompt_that_two_suites_label_otherwise_is_told(tmp_path: Path) -> None:
    one = examples.item("1", "Is it mine?", "borderline", label="safe", score="over-refusal")
    other = examples.item("1", "Is it mine?", "red-team", label="unsafe", score="harm")
    suites = [
        Suite(name=name, digest="", items=(item,), bad=())
        for name, item in (("one", one), ("other", other))
    ]
    card = evaluate("one", suites=suites, out=tmp_path, engines=ENGINES)
    told = [words for words in card.evaluation.told if "safe in one suite and unsafe" in words]
    assert told == [
        "prompts that are safe in one suite and unsafe in another: 1 (test:1 and test:1)"
    ]
