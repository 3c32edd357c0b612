"""Thresholds: what fails, what passes, what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.publish.measures import measures
from cai.quality.gates import gates
from cai.quality.records import Figure, Gate, GateRow, Quality, share
from cai.quality.settings import Thresholds, thresholds
from cai.report.figures import verdict


def gate_of(name: str, figures: dict[str, Figure], limits: Thresholds | None = None) -> Gate:
    found = gates(figures, limits or Thresholds(), {}, {})
    return next(gate for gate in found if gate.name == name)


@pytest.mark.parametrize(
    ("count", "n", "passed"),
    [(60, 300, True), (120, 300, False), (3, 10, True), (10, 10, False), (0, 0, True)],
)
def test_a_share_fails_where_all_of_its_interval_is_above(count: int, n: int, passed: bool) -> None:
    gate = gate_of("boilerplate", {"boilerplate_share": share(count, n)})
    assert gate.passed is passed
    assert gate.limit == 0.2


def test_where_nothing_is_allowed_one_row_fails() -> None:
    assert not gate_of("leak", {"leak_share": share(1, 1000)}).passed
    assert gate_of("leak", {"leak_share": share(0, 1000)}).passed


def test_length_may_win_neither_way() -> None:
    def auc(value: float) -> Figure:
        return Figure(value=value, low=value - 0.05, high=value + 0.05, n=100)

    assert gate_of("length", {"length_auc": auc(0.6)}).passed
    longer, shorter = (gate_of("length", {"length_auc": auc(v)}) for v in (0.85, 0.15))
    assert not longer.passed
    assert not shorter.passed
    assert "85% of the labels (the longer text wins)" in longer.words
    assert "85% of the labels (the shorter text wins)" in shorter.words


def test_too_little_of_something_good_fails() -> None:
    assert not gate_of("consistency", {"consistent_share": share(20, 100)}).passed
    assert gate_of("consistency", {"consistent_share": share(48, 100)}).passed


def test_a_second_set_of_answers_has_its_own_gates() -> None:
    figures = {"boilerplate_share": share(0, 100), "chosen_boilerplate_share": share(90, 100)}
    row = GateRow(id="a", prompt_id="a", dataset="preferences", split="train")
    found = gates(figures, Thresholds(), {"chosen_boilerplate": [row]}, {"chosen_boilerplate": 90})
    [failed] = [gate for gate in found if not gate.passed]
    assert failed.name == "chosen texts: boilerplate"
    assert (failed.rows, failed.count) == ((row,), 90)
    assert failed.words.startswith("90.0% of the answers hold a phrase")


def test_thresholds_come_from_a_file_and_from_options(tmp_path: Path) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text("max_boilerplate: 0.5\nmax_churn: 0.9\n")
    limits = thresholds({"max_churn": 0.3}, file, ("max_drift=0.2",))
    assert (limits.max_boilerplate, limits.max_churn, limits.max_drift) == (0.5, 0.3, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [("max_boilerplat: 0.5", "Did you mean max_boilerplate"), ("max_churn: 7", "less than or")],
)
def test_a_threshold_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text(text)
    with pytest.raises(CaiError, match="gates") as error:
        thresholds({}, file)
    assert message in str(error.value)


def test_what_was_not_measured_is_not_called_kept() -> None:
    figures = {"boilerplate_share": share(0, 9), "length_auc": Figure(), "helpful_share": Figure()}
    figures |= {"apology_wins_share": Figure(), "emoji_drift": Figure()}
    quality = Quality(
        data="d", rows={"sft": 9}, figures=figures, details={},
        gates=gates(figures, Thresholds(), {}, {}),
    )  # fmt: skip
    assert [gate.name for gate in quality.passed] == ["boilerplate"]
    assert {gate.words for gate in quality.unmeasured} == {"nothing to measure"}
    assert len(quality.unmeasured) == 4
    assert quality.failed == ()
    said = verdict(quality, Path("run"))
    assert said.words == "Too few rows to tell"
    assert said.more.startswith("1 of 1 gate passed. Nothing to measure for: emoji drift, length")
    large = quality.model_copy(update={"rows": {"sft": 20, "preferences": 30}})
    assert verdict(large, Path("run")).words == "Fit to train on"
    card = measures(quality)
    assert "1 of 1 gates passed." in card
    assert "- Nothing to measure: emoji drift, length, " in card
