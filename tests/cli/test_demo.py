"""`cai demo`: which prompts are on which side, and what is printed; `make demo` runs it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cai.cli import demo
from cai.constitution.load import load
from cai.engines.scripted import ScriptedEngine
from cai.evaluate import run
from cai.files import find_constitution


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_text_and_no_twin_is_learnt_and_asked(tmp_path: Path) -> None:
    held_out = demo._prompts(tmp_path / "out")
    learnt = rows(tmp_path / "out" / "learnt.jsonl")
    assert len(learnt) == len(held_out) == 64
    assert rows(tmp_path / "out" / "held-out.jsonl") == [
        {"id": p.id, "messages": [{"role": "user", "content": p.last_human_turn}], "kind": p.kind}
        for p in held_out
    ]
    texts = {row["messages"][0]["content"].casefold() for row in learnt}
    assert len(texts) == 64
    assert not {p.last_human_turn.casefold() for p in held_out} & texts
    assert {p.kind for p in held_out} == {"helpful", "borderline"}
    assert not {p.id for p in held_out} & {row["id"] for row in learnt}


def test_both_models_are_asked_alike_and_learn_what_the_rules_say() -> None:
    rules = load(find_constitution(demo.RULES))
    assert all(p.check for p in rules.principles)
    assert demo.DATA["constitution"] == demo.RULES
    assert demo.DATA["preset"] == "distil"


def test_one_answer_is_shown_that_keeps_the_rules_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two scripted models in place of the real one before and after training."""
    asked = demo._prompts(tmp_path / "out")[:3]
    long = "A long word follows another one. " * 20

    def said(*texts: str) -> ScriptedEngine:
        by_prompt = {p.last_human_turn: text for p, text in zip(asked, texts, strict=True)}
        return ScriptedEngine(reply=lambda messages, _: by_prompt[messages[-1].content])

    engines = {
        "model": said("It is no.", long, "Now it is short and it is kept."),
        "baseline": said("It is yes.", long, long),
    }
    evaluate = partial(run.evaluate, engines=engines)
    monkeypatch.setattr(run, "evaluate", evaluate)
    card = demo._evaluated("after", asked, tmp_path)
    assert card.measures["adherence.all"].n == 3
    demo._print_measures(card)
    demo._print_answers(tmp_path / "card")
    out = capsys.readouterr().out
    assert "every rule" in out
    assert "Now it is short and it is kept." in out
    assert asked[2].last_human_turn[:20] in out
