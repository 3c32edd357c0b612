"""Which principle is drawn in which round, by order and topic, and for comparisons."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.config import resolve
from cai.constitution.load import load
from cai.constitution.records import Constitution, Principle
from cai.draws import draw_principles, half_of_lowest_order, of_order, on_topic
from cai.files import constitutions_dir, find_constitution
from cai.method import load_method
from cai.prompts import Intake
from cai.records import Prompt
from tests.helpers import method, prompt


def rule(name: str, order: int = 1, **fields: object) -> Principle:
    words = {"critique": "c", "revise": "r", "compare": "w", **fields}
    return Principle(id=name, order=order, **words)  # type: ignore[arg-type]


RULES = (rule("a"), rule("b", tags=("fraud",)), rule("c", 2), rule("d", 5), rule("e", 5))


@pytest.mark.parametrize(("level", "ids"), [(1, "ab"), (2, "c"), (3, "de"), (4, "de"), (9, "de")])
def test_a_level_is_the_next_order_there_is_and_past_the_last_it_repeats(
    level: int, ids: str
) -> None:
    assert "".join(p.id for p in of_order(RULES, level)) == ids
    assert of_order([], level) == ()


def test_a_topic_comes_first_where_a_principle_has_it() -> None:
    assert [p.id for p in on_topic(RULES, prompt(tags=("fraud", "drafting")))] == ["b"]
    assert on_topic(RULES, prompt(tags=("weather",))) == RULES


def test_round_by_round() -> None:
    by = method(Constitution(name="x", principles=RULES), revisions=4)
    asked = prompt(tags=("fraud",))
    assert [p.id for p in by.drawn_from(asked, 1)] == ["b"]
    assert [p.id for p in by.drawn_from(asked, 2)] == ["c"]
    assert [p.id for p in by.drawn_from(asked, 4)] == ["d", "e"]
    flat = method(by.constitution, rising_order=False, topics=False)
    assert {p.id for number in (1, 2, 3) for p in flat.drawn_from(asked, number)} == {"a", "b"}
    first = method(by.constitution, method_version=1)
    assert first.drawn_from(asked, 1) == RULES


@pytest.mark.parametrize("preset", ["default", "bai2022", "direct"])
def test_every_shipped_red_team_prompt_meets_the_first_order_in_round_one(preset: str) -> None:
    by = load_method(resolve({"preset": preset}))
    prompts = [p for p in Intake("seeds:red-team") if isinstance(p, Prompt)]
    assert len(prompts) == 142
    assert {by.principle_of_round(p, 1).order for p in prompts} == {1}


def test_a_topic_moves_only_the_draws_of_its_order() -> None:
    """A new principle of order 1 takes its share of round 1 and none of round 2."""
    before = Constitution(name="x", principles=RULES)
    after = Constitution(name="x", principles=(*RULES, rule("new")))
    old, new = method(before, revisions=2), method(after, revisions=2)
    moved: Counter[int] = Counter()
    for n in range(2000):
        asked = prompt(f"prompt {n}")
        for number in (1, 2):
            was, now = (by.principle_of_round(asked, number).id for by in (old, new))
            moved[number] += was != now
            assert was == now or now == "new"
    assert moved[2] == 0
    assert abs(moved[1] - 667) < 4 * 21.1  # 2,000 / 3, four standard deviations


@given(count=st.integers(1, 8), orders=st.lists(st.integers(1, 3), min_size=1, max_size=10))
def test_half_of_a_comparison_is_of_the_lowest_order_if_there_are_so_many(
    count: int, orders: list[int]
) -> None:
    ranked = [rule(f"p{n}", order) for n, order in enumerate(orders)]
    drawn = half_of_lowest_order(ranked, count)
    assert len(drawn) == min(count, len(ranked))
    assert list(drawn) == [p for p in ranked if p in drawn]
    lowest = [p for p in ranked if p.order == min(orders)]
    assert sum(p in lowest for p in drawn) >= min(len(lowest), -(-count // 2))


@pytest.mark.parametrize(("kind", "at_least"), [("red-team", 2), ("unknown", 2), ("helpful", 0)])
def test_pairs_that_may_be_about_harm_are_compared_by_what_looks_for_it(
    kind: str, at_least: int
) -> None:
    rules = (rule("a"), rule("b"), *(rule(f"m{n}", 2) for n in range(14)))
    by = method(Constitution(name="x", principles=rules), judge_principles=4)
    counts = [
        sum(p.order == 1 for p in by.compared_by(prompt(f"x {n}", kind=kind), "revision"))
        for n in range(50)
    ]
    assert min(counts) >= at_least
    if kind == "helpful":
        assert min(counts) == 0
        ranked = draw_principles(0, prompt("x 0", kind=kind).id, "revision", rules, 4)
        assert by.compared_by(prompt("x 0", kind=kind), "revision") == ranked


def test_an_unknown_prompt_meets_what_is_for_red_team_prompts() -> None:
    only = rule("harm", applies_to=("red-team",))
    assert only.applies(prompt(kind="unknown"))
    assert not only.applies(prompt(kind="borderline"))
    assert prompt(kind="unknown").may_ask_for_harm


@pytest.mark.parametrize("name", sorted(p.name for p in constitutions_dir().glob("*.yaml")))
def test_shipped_files_know_no_order_of_one_kind_only(name: str) -> None:
    constitution = load(find_constitution(name))
    orders = {p.order for p in constitution.principles}
    assert orders == set(range(1, len(orders) + 1))
