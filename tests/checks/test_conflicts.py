"""Principles that pull apart: revised by each, assessed by the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cai.checks import asking
from cai.checks.conflicts import check_conflicts
from cai.engines.base import Engine
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError
from cai.records import Message, Sampling
from cai.roles import make_engines

FILE = {
    "name": "torn",
    "version": 1,
    "principles": [
        {"id": "short", "critique": "Too long?", "revise": "Make it SHORT.", "violation": "LONG"},
        {
            "id": "whole",
            "critique": "What lacks?",
            "revise": "Tell WHOLE.",
            "violation": "BIT",
        },
        {"id": "rule", "check": {"max_words": 5}},
    ],
    "conflicts": [{"between": ["short", "whole"], "prompt": f"Why {n}?"} for n in range(3)],
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "torn.yaml"
    path.write_text(yaml.safe_dump(FILE))
    return str(path)


def write(messages: Sequence[Message], sampling: Sampling) -> str:
    asked = messages[-1].content
    if "SHORT" in asked:
        return "Because."
    return "Because of all of this." if "WHOLE" in asked else "It is because of this."


def torn(breaks: Callable[[str], bool]) -> ScriptedEngine:
    """Always wants a change; an answer breaks a principle as `breaks` says of the question."""

    def score(text: str, options: list[str]) -> list[float]:
        yes = True if "needs a change" in text else breaks(text)
        return [0.9 if option.startswith("Yes") == yes else 0.1 for option in options]

    return ScriptedEngine(reply=write, score=score)


def test_disagreement_is_the_share_in_which_a_revision_breaks_the_other(file: str) -> None:
    report = check_conflicts(
        constitution=file,
        engine=torn(lambda text: "BIT" in text and "Because.\n" in text),
        out="c",
    )
    (pair,) = report.pairs
    assert (pair.between, pair.prompts, pair.failed) == (("short", "whole"), 3, 0)
    assert (pair.first_breaks_second, pair.second_breaks_first, pair.disagree) == (3, 0, 1.0)
    assert pair.low < 1
    assert report.outcomes[0].by_first == "Because."
    assert report.outcomes[0].by_second == "Because of all of this."


def test_where_nothing_breaks_nothing_disagrees(file: str) -> None:
    report = check_conflicts(constitution=file, engine=torn(lambda text: False), out="c")
    assert [pair.disagree for pair in report.pairs] == [0.0]


def test_the_model_writes_prompts_for_two_principles(file: str) -> None:
    report = check_conflicts(
        constitution=file,
        engine=torn(lambda text: True),
        between=[("whole", "short")],
        write=2,
        out="c",
    )
    assert [o.between for o in report.outcomes] == [("whole", "short")] * 2
    assert {o.prompt for o in report.outcomes} == {"Because."}


@pytest.mark.parametrize("pair", [("short", "rule"), ("short", "short"), ("short", "none")])
def test_two_principles_in_words_are_needed(file: str, pair: tuple[str, str]) -> None:
    with pytest.raises(CaiError, match="not two principles") as error:
        check_conflicts(constitution=file, between=[pair], engine=ScriptedEngine(), out="c")
    assert "short, whole" in error.value.hint


def test_a_file_without_conflicts_says_what_to_do() -> None:
    with pytest.raises(CaiError, match="has no `conflicts`") as error:
        check_conflicts(engine=ScriptedEngine(), out="c")
    assert "--between" in error.value.hint


def test_roles_of_one_model_share_it(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Engine]] = []

    def once(*given: Any) -> dict[str, Engine]:
        made.append(make_engines(*given))
        return made[-1]

    monkeypatch.setattr(asking, "make_engines", once)
    check_conflicts(constitution=file, model="scripted", out="c")
    (engines,) = made
    assert engines["policy"] is engines["critic"] is engines["reviser"]
