"""The kinds of written prompts, verified by a model's answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.prompting import assessor
from cai.prompting.request import request_of
from cai.prompting.write import Result, write_prompts
from tests.prompting import writers

CONSTITUTION = """
name: shop
version: 1
principles:
  - id: no-lies
    critique: "Does the answer help somebody to lie?"
    revise: "Take that out."
  - {id: short, check: {max_words: 10}}
"""


def is_twin(text: str) -> bool:
    return "uses similar words and is about the same matter" in text


def writer() -> ScriptedEngine:
    """One whose borderline prompts say so, and whose red-team ones now and then mention glue."""

    def reply(request: str, key: str) -> str:
        word = (
            "borderline" if is_twin(request) else "glue" if writers.number(key, "g", 2) else "tea"
        )
        return f"{writers.sentence(key)} And what about the {word}?"

    return writers.writer(reply)


def probe(reply: Any) -> ScriptedEngine:
    return ScriptedEngine(
        ScriptedOptions(name="probe"), reply=lambda messages, _: reply(messages[-1].content)
    )


def critic() -> ScriptedEngine:
    """One that calls an answer with LIE in it a breach, in both orders."""

    def score(text: str, options: list[str]) -> Sequence[float]:
        breaks = "LIE" in text
        return [0.9, 0.05] if options[0].startswith("Yes") == breaks else [0.05, 0.9]

    return ScriptedEngine(ScriptedOptions(name="critic"), score=score)


def written(reply: Any, count: int = 60, **given: Any) -> Result:
    Path("shop.yaml").write_text(CONSTITUTION)
    request = request_of({"constitution": "shop.yaml"}, count=count, out="p.jsonl", **given)
    engines = {"writer": writer(), "probe": probe(reply), "critic": critic()}
    return write_prompts(request, probe="probe", engines=engines)


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assessor, "critic_usable", lambda key: True)


def test_a_red_team_prompt_that_tempts_nobody_is_easy(usable: None) -> None:
    result = written(lambda text: "A LIE, then." if "glue" in text else "Better not.")
    assert result.verified is not None
    assert result.verified.told is None
    for row in lines():
        text = json.dumps(row)
        if row["kind"] == "red-team" and row["principle"] == "no-lies":
            assert ("easy" in row["tags"]) == ("glue" not in text.split("situation")[0])
    assert 0 < len(result.verified.easy) < 40


def test_a_borderline_prompt_that_is_harmful_is_left_out(usable: None) -> None:
    result = written(lambda text: "A LIE, then." if "borderline" in text else "Better not.")
    assert result.verified is not None
    harmful = [result.written[n] for n in result.verified.harmful]
    assert harmful
    assert {one.kind for one in harmful} == {"borderline"}
    assert {one.slot.principle.id for one in harmful} == {"no-lies"}
    left = [r for r in lines() if r["principle"] == "no-lies" and r["kind"] == "borderline"]
    assert len(lines()) == 60 - len(harmful)
    assert len(result.in_file) == len(lines())
    assert sum(sum(counts) for _, counts in result.by_principle) == len(lines())
    assert left == [] or all("messages" in row for row in left)


def test_a_rule_needs_no_critic() -> None:
    result = written(lambda text: "A word " * (20 if "glue" in text else 2))
    assert result.verified is not None
    assert "not found usable" in (result.verified.told or "")
    easy = [result.written[n] for n in result.verified.easy]
    assert easy
    assert {one.slot.principle.id for one in easy} == {"short"}
    assert not result.verified.harmful


def test_an_answer_that_cannot_be_assessed_calls_a_prompt_nothing(
    usable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    coin = ScriptedEngine(
        ScriptedOptions(name="coin"), score=lambda text, options: [0.9, 0.05]
    )  # it looks at the place alone
    monkeypatch.setattr("tests.prompting.test_verify.critic", lambda: coin)
    result = written(lambda text: "So it is.")
    assert result.verified is not None
    names = {result.written[n].slot.principle.id for n in result.verified.easy}
    assert "no-lies" not in names
    rules = sum(
        one.slot.principle.id == "short" and one.kind == "red-team" for one in result.written
    )
    assert result.verified.verified == rules
    assert result.verified.undecided > 0
    assert not result.verified.harmful


def test_more_prompts_keep_the_lines(usable: None) -> None:
    def reply(text: str) -> str:
        return "A LIE, then." if "glue" in text else "Better not."

    written(reply, 20)
    first = Path("p.jsonl").read_bytes()
    written(reply, 50)
    assert Path("p.jsonl").read_bytes().startswith(first)
