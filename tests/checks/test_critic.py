from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai import statistics
from cai.checks.cases import LabelledCase, read_cases
from cai.checks.critic import critic_check
from cai.checks.critic_figures import Said, measure
from cai.checks.critic_results import CriticResult, critic_key, critic_usable, with_critic
from cai.config import resolve
from cai.engines.base import NOBODY, Caller
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError
from cai.files import cases_file
from cai.method import load_method
from cai.records import ChoiceScores, Message, Prompt, user

CASES = read_cases(cases_file())[0]
LABELS = {case.response: case.verdict for case in CASES}
Says = Callable[[LabelledCase, bool], Sequence[float]]


class Critic(ScriptedEngine):
    """Says of each case what `says` gives for it: the probabilities of the two options.

    `says` is told the case and whether the first option is that something is wrong.
    """

    def __init__(self, says: Says, **given: Any) -> None:
        super().__init__(**given)
        self.says, self.asked = says, 0

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        texts = [m.content for m in prefix]
        (case,) = [c for c in CASES if any(c.response in text for text in texts)]
        self.asked += len(suffixes)
        scores = []
        for suffix in suffixes:
            first = suffix.index("Yes, ") < suffix.index("No, ")
            p = self.says(case, first)
            logprobs = tuple(math.log(x) if x else -math.inf for x in p)
            scores.append(ChoiceScores(logprobs=logprobs, model="critic"))
        return scores


def sure(case: LabelledCase, first: bool, right: bool = True) -> tuple[float, float]:
    """0.8 on the option that is right, wherever it stands."""
    yes = (case.verdict == "violates") == right
    return (0.8, 0.1) if yes == first else (0.1, 0.8)


def checked(says: Says, tmp_path: Path, **given: Any) -> CriticResult:
    return critic_check(engine=Critic(says), out=tmp_path / "check", **given)


def test_a_critic_that_is_right_is_usable(tmp_path: Path) -> None:
    result = checked(sure, tmp_path)
    for figures in (result.assessment, result.verdict):
        assert (figures.cases, figures.scored, figures.unscored) == (200, 200, 0)
        assert (figures.accuracy, figures.consistency) == (1.0, 1.0)
        assert figures.accuracy_interval == pytest.approx(statistics.wilson(200, 200))
        assert (figures.violates.accuracy, figures.fine.accuracy) == (1.0, 1.0)
        assert (figures.false_alarms, figures.missed) == (0.0, 0.0)
        assert figures.label_mass == {"mean": pytest.approx(0.9), "least": pytest.approx(0.9)}
        assert len(figures.principles) == 19
        assert figures.verdict == "usable"
    assert critic_usable(result.assessment.key) is True
    assert critic_usable(result.verdict.key) is True


def test_a_critic_that_goes_by_place_is_a_coin(tmp_path: Path) -> None:
    result = checked(lambda case, first: (0.97, 0.02), tmp_path)
    for figures in (result.assessment, result.verdict):
        assert (figures.accuracy, figures.consistency) == (0.5, 0.0)
        assert (figures.false_alarms, figures.missed) == (0.0, 0.0)  # it decides nothing
        assert figures.verdict == "no better than chance"
        assert "a coin may do as well" in figures.words
    assert critic_usable(result.assessment.key) is False


def test_a_critic_that_finds_fault_with_everything_is_right_on_breaches_alone(
    tmp_path: Path,
) -> None:
    result = checked(lambda case, first: (0.8, 0.1) if first else (0.1, 0.8), tmp_path)
    figures = result.assessment
    assert (figures.accuracy, figures.consistency) == (0.5, 1.0)
    assert (figures.violates.accuracy, figures.fine.accuracy) == (1.0, 0.0)
    assert (figures.false_alarms, figures.missed) == (1.0, 0.0)
    assert figures.verdict == "no better than chance"


def test_a_critic_that_leans_and_disagrees_with_itself_is_undecided(tmp_path: Path) -> None:
    """The mean is on the right side by a hair; the orders pick different options."""

    def says(case: LabelledCase, first: bool) -> tuple[float, float]:
        right = (case.verdict == "violates") == first
        return (0.97, 0.03) if right else (0.95, 0.05)

    figures = checked(says, tmp_path).verdict
    assert (figures.accuracy, figures.consistency) == (0.5, 0.0)
    assert figures.verdict == "no better than chance"


def test_the_two_kinds_of_answer_are_measured_apart(tmp_path: Path) -> None:
    class Torn(Critic):
        async def choose(self, prefix, suffixes, choices, answer_prefix="", caller=NOBODY):  # type: ignore[no-untyped-def]
            # A verdict follows the critique in the talk, an assessment is a turn of its own.
            assessed = len(prefix) == 1
            self.says = sure if assessed else lambda case, first: sure(case, first, right=False)
            return await super().choose(prefix, suffixes, choices, answer_prefix)

    result = critic_check(engine=Torn(sure), out=tmp_path / "check", limit=120)
    assert (result.assessment.accuracy, result.verdict.accuracy) == (1.0, 0.0)
    assert (result.assessment.verdict, result.verdict.verdict) == (
        "usable",
        "no better than chance",
    )
    assert critic_usable(result.assessment.key) is True
    assert critic_usable(result.verdict.key) is False


def test_too_few_cases_are_not_enough(tmp_path: Path) -> None:
    few = checked(sure, tmp_path, limit=99)
    assert (few.assessment.accuracy, few.assessment.verdict) == (1.0, "weak")
    assert "fewer than 100" in few.assessment.words
    assert checked(sure, tmp_path, limit=100).assessment.verdict == "usable"


def test_a_critic_that_refuses_has_no_figures(tmp_path: Path) -> None:
    result = checked(lambda case, first: (0.1, 0.1), tmp_path, limit=20)
    for figures in (result.assessment, result.verdict):
        assert (figures.scored, figures.unscored) == (0, 20)
        assert figures.unscored_reasons == {"label mass": 20}
        assert figures.accuracy is figures.consistency is figures.false_alarms is None
        assert figures.verdict == "no better than chance"
        assert "said nothing" in figures.words
    rows = [json.loads(line) for line in (tmp_path / "check/cases.jsonl").read_text().splitlines()]
    assert "fell on the labels" in rows[0]["assessment"]["message"]


def test_what_is_asked_is_kept_and_is_not_asked_again(tmp_path: Path) -> None:
    engine = Critic(sure)
    first = critic_check(engine=engine, out=tmp_path / "check", limit=6)
    asked = engine.asked
    assert asked == 6 * 2 * 2  # two kinds of answer, two orders
    files = ("cases.jsonl", "result.json")
    before = [(tmp_path / "check" / name).read_bytes() for name in files]
    assert critic_check(engine=engine, out=tmp_path / "check", limit=6) == first
    assert [(tmp_path / "check" / name).read_bytes() for name in files] == before
    assert engine.asked == asked
    critic_check(engine=engine, out=tmp_path / "check", limit=8)
    assert engine.asked == 8 * 2 * 2


def test_a_calls_failure_is_kept_and_asked_again_on_demand(tmp_path: Path) -> None:
    bad = critic_check(engine=ScriptedEngine.parse("fail=1"), out=tmp_path / "check", limit=4)
    assert bad.assessment.unscored_reasons == bad.verdict.unscored_reasons == {"call": 4}


def test_a_row_of_the_cases_file(tmp_path: Path) -> None:
    checked(sure, tmp_path, limit=1)
    (row,) = [
        json.loads(line) for line in (tmp_path / "check/cases.jsonl").read_text().splitlines()
    ]
    case = next(c for c in CASES if c.prompt.id == row["id"])
    assert (row["principle"], row["label"]) == (case.principle, case.verdict)
    right = 8 / 9 if case.verdict == "violates" else 1 / 9
    for way in ("assessment", "verdict"):
        assert row[way]["p_violates"] == pytest.approx(right)
        assert row[way]["says"] == case.verdict
        assert row[way]["order_gap"] == pytest.approx(0)


RULES = """
name: small
version: 1
principles:
  - id: candid
    critique: Say where it flatters.
    revise: Take the flattery out.
  - id: brief
    check: {max_words: 5}
    revise: Make it shorter.
  - id: kind
    violation: It is unkind.
    compare: Which is kinder?
"""


def write_cases(*rows: tuple[str, str]) -> str:
    lines = [
        {
            "id": f"c{n}",
            "prompt": "Why?",
            "response": CASES[n].response,
            "principle": p,
            "verdict": v,
        }
        for n, (p, v) in enumerate(rows)
    ]
    Path("own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "own.jsonl"


def test_own_cases_and_an_own_constitution(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    cases = write_cases(
        ("candid", "violates"), ("candid", "fine"), ("brief", "fine"), ("kind", "fine"),
        ("nobody-has-this", "fine"),
    )  # fmt: skip
    result = checked(sure, tmp_path, cases=cases, constitution=str(rules))
    assert result.cases["used"] == 3
    assert result.cases["without a principle"] == 2  # one that a program checks, one unknown
    assert result.assessment.cases == 3
    assert result.verdict.cases == 2  # `kind` cannot be criticised, only assessed
    with pytest.raises(CaiError, match="no case is about one of its principles"):
        checked(sure, tmp_path, cases=write_cases(("nobody-has-this", "fine")))


def test_a_check_belongs_to_model_words_and_constitution(tmp_path: Path) -> None:
    identity = ScriptedEngine().identity
    base = load_method(resolve({}))
    words = tmp_path / "words"
    words.mkdir()
    (words / "critique.jinja").write_text("{{ request }} Be brief.")
    other_words = load_method(resolve({"templates": str(words)}))
    shown = load_method(resolve({"few_shot": True}))
    # What is said before a verdict is no part of an assessment.
    for method in (other_words, shown):
        assert critic_key("verdict", base, identity) != critic_key("verdict", method, identity)
        same = critic_key("assessment", base, identity)
        assert same == critic_key("assessment", method, identity)
    keys = {critic_key(way, base, who) for way in ("assessment", "verdict") for who in ("a", "b")}
    assert len(keys) == 4


def test_generate_knows_what_a_check_found_of_the_critic(tmp_path: Path) -> None:
    identity, method = ScriptedEngine().identity, load_method(resolve({}))
    assert with_critic(method, lambda: identity).critic.usable is None
    checked(sure, tmp_path)
    assert with_critic(method, lambda: identity).critic.usable is True
    assert with_critic(method, lambda: "another").critic.usable is None
    assert with_critic(method, lambda: None) is method
    checked(lambda case, first: (0.9, 0.05), tmp_path / "again")
    assert with_critic(method, lambda: identity).critic.usable is False


def test_a_stored_check_that_is_damaged_says_so(tmp_path: Path) -> None:
    result = checked(sure, tmp_path, limit=2)
    (tmp_path / "critics" / f"{result.assessment.key}.json").write_text("{")
    with pytest.raises(CaiError, match="Delete the file"):
        critic_usable(result.assessment.key)


# --- the figures ---

CASE = LabelledCase(
    prompt=Prompt(id="x", messages=(user("Why?"),), kind="helpful"),
    response="Because.",
    principle="p",
    verdict="violates",
)


def said(label: str, says: str | None) -> Said:
    case = CASE.model_copy(update={"verdict": label})
    p = {"violates": 0.9, "fine": 0.1, "undecided": 0.6}[says] if says else None
    return Said(case, p, consistent=says in ("violates", "fine"), error=None if says else "call")


def test_the_figures_by_hand() -> None:
    rows = [said("violates", "violates")] * 6 + [said("violates", "fine")] * 2
    rows += [said("violates", "undecided")] * 2
    rows += [said("fine", "fine")] * 3 + [said("fine", "violates")] + [said("fine", None)]
    figures = measure("verdict", "key", rows)
    assert (figures.cases, figures.scored, figures.unscored) == (15, 14, 1)
    assert figures.accuracy == pytest.approx((6 + 1 + 3) / 14)
    assert figures.violates.accuracy == pytest.approx((6 + 1) / 10)
    assert figures.fine.accuracy == pytest.approx(3 / 4)
    assert figures.missed == pytest.approx(2 / 10)
    assert figures.false_alarms == pytest.approx(1 / 4)
    assert figures.consistency == pytest.approx(12 / 14)
    assert figures.unscored_reasons == {"call": 1}


def test_one_half_alone_does_not_make_a_critic_usable() -> None:
    """Of one-sided cases a critic that always says "fine" is right."""
    always = [said("fine", "fine")] * 180 + [said("violates", "fine")] * 20
    figures = measure("assessment", "key", always)
    assert figures.accuracy_interval is not None
    assert figures.accuracy_interval[0] > 0.8
    assert figures.verdict == "weak"
    assert "on breaches it is not shown" in figures.words
    assert measure("assessment", "key", always[:180]).verdict == "weak"


def test_most_cases_need_an_answer() -> None:
    rows = [said(v, v) for v in ("fine", "violates")] * 60 + [said("fine", None)] * 130
    figures = measure("assessment", "key", rows)
    assert figures.verdict == "weak"
    assert "said nothing of 130 of 250" in figures.words


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["violates", "fine"]),
            st.sampled_from(["violates", "fine", "undecided", None]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_the_halves_make_up_the_whole(rows: list[tuple[str, str | None]]) -> None:
    figures = measure("assessment", "key", [said(*row) for row in rows])
    parts = (figures.violates, figures.fine)
    scored = [part.cases - part.unscored for part in parts]
    assert (sum(part.cases for part in parts), sum(scored)) == (figures.cases, figures.scored)
    right = sum((p.accuracy or 0) * n for p, n in zip(parts, scored, strict=True))
    assert right == pytest.approx((figures.accuracy or 0) * figures.scored)
    # The other way round everything that was right is wrong.
    swapped = [(v, {"fine": "violates", "violates": "fine"}.get(s or "", s)) for v, s in rows]
    other = measure("assessment", "key", [said(*row) for row in swapped])
    if figures.accuracy is not None:
        assert other.accuracy == pytest.approx(1 - figures.accuracy)
