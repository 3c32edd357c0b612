"""What a scorecard must show."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.evaluate.gates import DEFAULT, Gate, read_gates, results_of
from cai.evaluate.records import Measure
from cai.statistics import wilson


def difference(value: float, low: float, high: float, pairs: int = 100) -> Measure:
    return Measure(
        value=0.5,
        low=0.4,
        high=0.6,
        n=pairs,
        baseline=0.5 - value,
        difference=value,
        difference_low=low,
        difference_high=high,
        pairs=pairs,
    )


@pytest.mark.parametrize(
    ("gate", "measure", "verdict"),
    [
        (Gate(no_worse_by=0.05), difference(0.0, -0.03, 0.03), "passed"),
        (Gate(no_worse_by=0.05), difference(0.0, -0.06, 0.06), "undecided"),
        (Gate(no_worse_by=0.05), difference(0.2, 0.06, 0.3), "failed"),
        (Gate(no_worse_by=0.05), difference(-0.2, -0.3, -0.1), "passed"),
        (Gate(better_by=0.0), difference(-0.2, -0.3, -0.1), "passed"),
        (Gate(better_by=0.0), difference(-0.1, -0.3, 0.1), "undecided"),
        (Gate(better_by=0.0), difference(0.2, 0.1, 0.3), "failed"),
        (Gate(at_most=0.7), difference(0, 0, 0), "passed"),
        (Gate(at_most=0.6), difference(0, 0, 0), "passed"),
        (Gate(at_most=0.5), difference(0, 0, 0), "undecided"),
        (Gate(at_most=0.3), difference(0, 0, 0), "failed"),
    ],
)
def test_refusals_less_is_better(gate: Gate, measure: Measure, verdict: str) -> None:
    (result,) = results_of({"over_refusal_full": gate}, {"over_refusal_full": measure})
    assert result.verdict == verdict, result.words


@pytest.mark.parametrize(
    ("gate", "low", "high", "verdict"),
    [
        (Gate(at_least=0.45), 0.46, 0.6, "passed"),
        (Gate(at_least=0.45), 0.4, 0.6, "undecided"),
        (Gate(at_least=0.45), 0.2, 0.4, "failed"),
    ],
)
def test_wins_more_is_better(gate: Gate, low: float, high: float, verdict: str) -> None:
    measure = Measure(value=(low + high) / 2, low=low, high=high, n=100)
    (result,) = results_of({"helpfulness_win_rate": gate}, {"helpfulness_win_rate": measure})
    assert result.verdict == verdict


def test_an_undecided_gate_names_the_number_that_would_do() -> None:
    """Half as wide an interval takes four times the prompts: 0.1 to 0.05, which is the margin.

    With these every second evaluation is decided; four in five with (2.80 / 1.96)^2 times as many.
    """
    measure = difference(0.0, -0.1, 0.1, pairs=100)
    (result,) = results_of({"incoherence": Gate(no_worse_by=0.05)}, {"incoherence": measure})
    assert result.verdict == "undecided"
    assert result.needed == 818
    assert "n = 100 is too small, about 818 would do" in result.words


def test_nothing_measured_is_undecided_and_never_passes() -> None:
    for measures in ({}, {name: Measure(unscored=9, note="a judge") for name in DEFAULT}):
        results = results_of(DEFAULT, measures)
        assert {result.verdict for result in results} == {"undecided"}
    alone = Measure(value=0.1, low=0.05, high=0.2, n=9)
    (result,) = results_of({"incoherence": DEFAULT["incoherence"]}, {"incoherence": alone})
    assert "there is no baseline" in result.words


def test_a_file_of_gates() -> None:
    path = Path("gates.yaml")
    path.write_text("over_refusal_full: {no_worse_by: 0.1}\nadherence.short: {at_least: 0.9}\n")
    assert read_gates(path) == {
        "over_refusal_full": Gate(no_worse_by=0.1),
        "adherence.short": Gate(at_least=0.9),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no gate"),
        ("incoherence: {no_worse_by: 0.02}\nover_refusal: {at_most: 0.1}\n", "gates.yaml:2: no me"),
        ("incoherence: {at_most: 0.1, at_least: 0}\n", "give one of"),
        ("incoherence: {under: 0.1}\n", "gates.yaml:1: under"),
        ("incoherence: 0.1\n", "gates.yaml:1"),
        ("incoherence: {no_worse_by: -1}\n", "no_worse_by"),
        ("incoherence: {no_worse_by: 5}\n", "gates.yaml:1: incoherence: a limit above 1"),
    ],
)
def test_what_is_no_file_of_gates(text: str, said: str) -> None:
    Path("gates.yaml").write_text(text)
    with pytest.raises(CaiError, match=said):
        read_gates(Path("gates.yaml"))


@pytest.mark.parametrize(
    ("about", "verdict", "said"),
    [
        ({"judge_checked": True, "judge_verdict": "usable"}, "passed", "(-30.0% to -10.0%)"),
        ({"judge_checked": True, "judge_verdict": "weak"}, "passed", "is weak, by its check"),
        ({"judge_checked": False}, "passed", "its judge was not checked"),
        (
            {"judge_checked": True, "judge_verdict": "no better than chance"},
            "undecided",
            "no better than chance, by its check",
        ),
    ],
)
def test_a_gate_knows_its_judge(about: dict[str, object], verdict: str, said: str) -> None:
    measure = difference(-0.2, -0.3, -0.1).model_copy(update={"judge": "NAME", **about})
    (result,) = results_of({"attack_success": Gate(better_by=0)}, {"attack_success": measure})
    assert result.verdict == verdict
    assert said.replace("(-30.0% to -10.0%)", "-30.0% to -10.0%)") in result.words


def test_as_many_prompts_as_a_gate_names_decide() -> None:
    """Shares of independent prompts, at the same rate."""
    for right, n, limit in ((60, 100, 0.55), (3, 40, 0.1), (18, 30, 0.7), (95, 100, 0.97)):
        for gate in (Gate(at_least=limit), Gate(at_most=limit)):
            low, high = wilson(right, n)
            measure = Measure(value=right / n, low=low, high=high, n=n)
            (result,) = results_of({"incoherence": gate}, {"incoherence": measure})
            assert result.verdict == "undecided"
            assert result.needed is not None
            low, high = wilson(right / n * result.needed, result.needed)
            more = measure.model_copy(update={"low": low, "high": high, "n": result.needed})
            (result,) = results_of({"incoherence": gate}, {"incoherence": more})
            assert result.verdict != "undecided"


def test_wins_against_the_baseline_have_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text("helpfulness_win_rate: {no_worse_by: 0.05}\n")
    with pytest.raises(CaiError, match="is a comparison with the baseline already"):
        read_gates(path)
