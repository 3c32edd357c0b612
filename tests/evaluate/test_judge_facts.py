"""What the stored checks of a judge do to a scorecard."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cai.checks import critic_results, results
from cai.checks.critic import critic_check
from cai.checks.critic_results import CriticFigures, Part
from cai.comparison import JudgeErrors
from cai.engines.scripted import ScriptedEngine
from cai.evaluate.judge_facts import errors_of
from cai.evaluate.run import evaluate
from cai.evaluate.scorecard import cautions
from tests.evaluate import examples


def figures(violates: float, missed: float, fine: float, alarms: float) -> CriticFigures:
    def part(accuracy: float) -> Part:
        return Part(cases=100, unscored=0, accuracy=accuracy, interval=None)

    return CriticFigures.model_construct(
        violates=part(violates), fine=part(fine), missed=missed, false_alarms=alarms
    )


@pytest.mark.parametrize(
    ("found", "errors"),
    [
        # All decided: 80 breaches are found, 20 missed; 90 fine ones cleared, 10 alarms.
        (figures(0.8, 0.2, 0.9, 0.1), JudgeErrors(80, 100, 90, 100)),
        # 60 found, 20 missed, 20 undecided, which count a half: 0.7.
        (figures(0.7, 0.2, 0.9, 0.1), JudgeErrors(60, 80, 90, 100)),
        # Nothing is decided.
        (figures(0.5, 0.0, 0.5, 0.0), None),
    ],
)
def test_errors_are_those_of_decided_cases(
    found: CriticFigures, errors: JudgeErrors | None
) -> None:
    assert errors_of(found) == errors


def evaluated(folder: Path, judge: ScriptedEngine) -> tuple[list[str], dict[str, bool | None]]:
    engines = {
        "model": examples.model("one", examples.harmful),
        "baseline": examples.model("two", examples.useful),
        "judge": judge,
    }
    card = evaluate(
        "one", baseline="two", judge="j", suites=[examples.suite(4)], out=folder, engines=engines
    )
    checked = {name: m.judge_checked for name, m in card.measures.items() if m.judge}
    return list(cautions(card)), checked


def test_a_check_that_is_stored_here_is_used(tmp_path: Path) -> None:
    judge = examples.judge()
    told, checked = evaluated(tmp_path / "before", judge)
    assert sum("were not checked" in words for words in told) == 2
    assert not any(checked.values())
    critic_check(engine=judge, out=tmp_path / "check", limit=20)
    told, checked = evaluated(tmp_path / "after", judge)
    assert sum("were not checked" in words for words in told) == 1  # its comparisons
    assert any("assessments are" in words for words in told)  # it knows nothing of these cases
    assert not checked["strongreject"]


def test_a_usable_judge_is_told_nothing_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usable = {"verdict": "usable", "words": "It is usable."}
    found = figures(0.9, 0.1, 0.95, 0.05).model_copy(update=usable)
    critic = SimpleNamespace(of=lambda way: found)
    judge = SimpleNamespace(**usable, accuracy=0.9, scored=200)
    monkeypatch.setattr(critic_results, "stored", lambda key: critic)
    monkeypatch.setattr(results, "stored", lambda key: judge)
    told, checked = evaluated(tmp_path / "card", examples.judge())
    assert not any("judge" in words.lower() for words in told)
    assert checked.pop("strongreject") is False
    assert checked.pop("strongreject_full") is False
    assert all(checked.values())
