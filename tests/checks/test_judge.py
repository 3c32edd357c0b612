from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cai.checks.judge import judge_check
from cai.checks.pairs import LabelledPair, read_pairs
from cai.checks.results import (
    JudgeResult,
    calibration,
    checked_otherwise,
    judge_itself,
    judge_key,
    judge_warning,
    store,
    stored,
    with_judge,
)
from cai.config import resolve
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError
from cai.files import constitutions_dir, pairs_file
from cai.method import load_method
from cai.records import digest


def shipped() -> list[LabelledPair]:
    return read_pairs(pairs_file())[0]


def checked(score: Any, tmp_path: Path, **given: Any) -> JudgeResult:
    return judge_check(engine=ScriptedEngine(score=score), out=tmp_path / "check", **given)


def knows(tmp_path: Path) -> dict[str, str]:
    """The better answer by the worse one and itself."""
    return {text: pair.chosen for pair in shipped() for text in (pair.chosen, pair.rejected)}


def test_always_the_first_at_one(tmp_path: Path) -> None:
    result = checked(lambda said, options: (1.0, 0.0), tmp_path)
    assert (result.scored, result.unscored) == (216, 0)
    assert result.accuracy == 0.5  # p is 0.5 everywhere: a tie counts a half
    assert (result.accuracy_right_first, result.accuracy_right_second) == (1.0, 0.0)
    assert (result.consistency, result.first_position_rate) == (0.0, 1.0)
    assert result.brier == 0.25
    assert result.ece == 0.0
    assert result.label_mass == {"mean": 1.0, "least": 1.0}
    assert result.verdict == "no better than chance"
    assert "coin" in result.words


def test_always_the_second(tmp_path: Path) -> None:
    result = checked(lambda said, options: (0.05, 0.95), tmp_path)
    assert (result.accuracy_right_first, result.accuracy_right_second) == (0.0, 1.0)
    assert (result.consistency, result.first_position_rate) == (0.0, 0.0)
    assert result.verdict == "no better than chance"


def test_the_first_at_097_and_095_is_right_by_a_hair_and_never_consistent(tmp_path: Path) -> None:
    good = knows(tmp_path)
    result = checked(lambda s, o: (0.97, 0.03) if good[o[0]] == o[0] else (0.95, 0.05), tmp_path)
    assert result.accuracy == 1.0  # p is 0.51 for the right one
    assert result.brier == pytest.approx((1 - 0.51) ** 2)
    assert result.ece == pytest.approx(1 - 0.51)
    assert result.consistency == 0.0


def test_the_longer_one_is_right_in_half_and_knows_nothing(tmp_path: Path) -> None:
    result = checked(lambda s, o: (0.9, 0.1) if len(o[0]) > len(o[1]) else (0.1, 0.9), tmp_path)
    assert result.accuracy == 0.5
    assert result.longer_wins_rate == 1.0
    assert result.shorter_is_right == 0.5
    assert result.consistency == 1.0
    # sure at 0.9, right in half: |0.5 - 0.9|
    assert result.ece == pytest.approx(0.4)
    assert result.brier == pytest.approx((0.1**2 + 0.9**2) / 2)
    assert result.verdict == "no better than chance"
    for group in result.kinds.values():
        assert (group.pairs, group.accuracy) == (24, 0.5)


def right_in(share_of: float, sure: float, tmp_path: Path) -> Any:
    """A judge that is right in a share of the pairs of each kind and of each half."""
    good = knows(tmp_path)
    ranked = sorted(shipped(), key=lambda p: digest(["half", p.prompt.id]))
    right = {
        text: n // 2 % 10 < round(10 * share_of)
        for n, pair in enumerate(ranked)
        for text in (pair.chosen, pair.rejected)
    }

    def score(said: str, options: list[str]) -> Sequence[float]:
        first = (good[options[0]] == options[0]) == right[options[0]]
        return (0.9 * sure, 0.9 * (1 - sure)) if first else (0.9 * (1 - sure), 0.9 * sure)

    return score


def test_right_in_eighty_percent_and_calibrated(tmp_path: Path) -> None:
    result = checked(right_in(0.8, 0.8, tmp_path), tmp_path)
    # 216 pairs in two halves of 108: 10 whole tens and 8 of the eleventh, all of them right
    right = 2 * (10 * 8 + 8)
    assert result.accuracy == pytest.approx(right / 216)
    assert result.consistency == 1.0
    assert result.ece == pytest.approx(right / 216 - 0.8)
    assert result.label_mass["mean"] == pytest.approx(0.9)
    assert result.accuracy_interval is not None
    n, p, z = 216, right / 216, 1.959963984540054
    middle = (p + z * z / 2 / n) / (1 + z * z / n)
    spread = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert result.accuracy_interval == pytest.approx((middle - spread, middle + spread))
    assert result.verdict == "usable"
    # the fitted half has the same share, so T makes 0.8 what it is there: 88 of 108
    assert result.calibration is not None
    wanted = math.log(4) / math.log(88 / 20)
    assert result.calibration.temperature == pytest.approx(wanted, rel=1e-4)


def test_an_overconfident_judge_gets_a_temperature_above_one(tmp_path: Path) -> None:
    result = checked(right_in(0.8, 0.99, tmp_path), tmp_path)
    assert result.calibration is not None
    assert result.calibration.temperature == pytest.approx(
        math.log(99) / math.log(88 / 20), rel=1e-4
    )
    before, after = result.calibration.nll
    assert after < before
    path, judge = tmp_path / "check" / "result.json", ScriptedEngine().identity
    method = load_method(resolve({}))
    assert calibration(path, method, judge) == result.calibration.temperature
    with pytest.raises(CaiError, match="another judge"):
        calibration(path, method, "another")
    with pytest.raises(CaiError, match=r"for K = 4 and the constitution default .* has K = 1 and"):
        calibration(path, load_method(resolve({"judge_principles": 1})), judge)
    others = tmp_path / "others.yaml"
    others.write_text((constitutions_dir() / "default.yaml").read_text().replace("Which", "What"))
    with pytest.raises(CaiError, match="K = 4 and the constitution default"):
        calibration(path, load_method(resolve({"constitution": str(others)})), judge)


def test_a_judge_that_refuses_has_no_figures(tmp_path: Path) -> None:
    result = checked(lambda said, options: (0.001, 0.002), tmp_path)
    assert (result.scored, result.unscored) == (0, 216)
    assert result.unscored_reasons == {"label mass": 216}
    assert result.accuracy is result.ece is result.brier is result.calibration is None
    assert result.verdict == "no better than chance"
    assert "no label" in result.words
    lines = (tmp_path / "check" / "pairs.jsonl").read_text().splitlines()
    assert "fell on the labels" in json.loads(lines[0])["message"]


def test_a_judge_that_returns_nan_has_no_figures(tmp_path: Path) -> None:
    result = checked(lambda said, options: (math.nan, 0.5), tmp_path, limit=10)
    assert (result.scored, result.unscored_reasons) == (0, {"call": 10})


def test_a_judge_that_answers_some_is_weak(tmp_path: Path) -> None:
    good = knows(tmp_path)

    def score(said: str, options: list[str]) -> Sequence[float]:
        if int(digest(sorted(options))[:8], 16) % 3:
            return (0.001, 0.001)
        return (0.9, 0.1) if good[options[0]] == options[0] else (0.1, 0.9)

    result = checked(score, tmp_path)
    assert result.unscored > result.scored > 30
    assert result.accuracy == 1.0
    assert result.verdict == "weak"


def test_few_pairs_are_not_enough(tmp_path: Path) -> None:
    good = knows(tmp_path)
    perfect: Any = lambda s, o: (0.9, 0.1) if good[o[0]] == o[0] else (0.1, 0.9)  # noqa: E731
    result = checked(perfect, tmp_path, limit=30)
    assert result.accuracy == 1.0
    assert result.verdict == "weak"
    assert result.ece is None  # ten bins of three pairs say nothing
    assert checked(perfect, tmp_path, limit=99).verdict == "weak"
    assert checked(perfect, tmp_path, limit=100).verdict == "usable"


def test_a_lower_bound_of_the_accuracy_of_0_6_is_not_enough(tmp_path: Path) -> None:
    """Right in 6 of 10 pairs: better than a coin, and wrong too often to filter by."""
    result = checked(right_in(0.6, 0.8, tmp_path), tmp_path)
    assert result.accuracy_interval is not None
    assert 0.5 < result.accuracy_interval[0] <= 0.6
    assert result.over_shorter is not None
    assert result.over_shorter[0] > 0
    assert (result.verdict, result.scored >= 100) == ("weak", True)
    assert "not shown to be right in 60%" in result.words


def test_the_result_is_kept_under_the_judge_and_its_words(tmp_path: Path) -> None:
    result = checked(lambda said, options: (0.6, 0.4), tmp_path, limit=20)
    assert stored(result.key) == result
    words = tmp_path / "words"
    words.mkdir()
    (words / "judge_question.jinja").write_text("By this: {{ question }}")
    other = checked(lambda s, o: (0.6, 0.4), tmp_path, limit=20, templates=str(words))
    reasoned = checked(lambda s, o: (0.6, 0.4), tmp_path, limit=20, cot=True)
    assert len({result.key, other.key, reasoned.key}) == 3


def test_a_check_belongs_to_its_k_and_constitution(tmp_path: Path) -> None:
    result = checked(lambda said, options: (0.6, 0.4), tmp_path, limit=20)
    judge, method = ScriptedEngine().identity, load_method(resolve({}))
    assert result.key == judge_key(method, judge)
    assert not checked_otherwise(method, judge)
    one = load_method(resolve({"judge_principles": 1}))
    assert checked_otherwise(one, judge)
    assert not checked_otherwise(one, "another")
    assert not checked_otherwise(load_method(resolve({"cot": True})), judge)
    known, other = (with_judge(m, lambda: judge) for m in (method, one))
    assert (known.judge.usable, other.judge.usable) == (False, None)
    warned = judge_warning(other, judge) or ""
    assert "was checked, but not with K = 1 and default (" in warned
    assert "--judge-principles 1 --constitution default.yaml" in warned
    assert "was never checked" in (judge_warning(other, None) or "")


def test_a_check_of_the_first_version_counts_as_none(tmp_path: Path) -> None:
    """Its key told neither K nor constitution."""
    result = checked(lambda said, options: (0.6, 0.4), tmp_path, limit=20)
    judge, method = ScriptedEngine().identity, load_method(resolve({}))
    (tmp_path / "judges" / f"{result.key}.json").unlink()
    first = result.model_copy(update={"key": judge_itself(method, judge), "verdict": "usable"})
    store(first)
    assert with_judge(method, lambda: judge).judge.usable is None
    assert "was checked, but not with K = 4" in (judge_warning(method, judge) or "")
    file = tmp_path / "result.json"
    file.write_text(first.model_dump_json())
    with pytest.raises(CaiError, match="or of a check of before"):
        calibration(file, method, judge)


def test_a_limit_takes_the_same_pairs_again(tmp_path: Path) -> None:
    pairs = tmp_path / "check" / "pairs.jsonl"
    few = checked(lambda said, options: (0.6, 0.4), tmp_path, limit=20)
    ids = [json.loads(line)["id"] for line in pairs.read_text().splitlines()]
    more = checked(lambda said, options: (0.6, 0.4), tmp_path, limit=40)
    again = [json.loads(line)["id"] for line in pairs.read_text().splitlines()]
    assert (few.scored, more.scored) == (20, 40)
    assert set(ids) < set(again)
