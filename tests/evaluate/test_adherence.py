"""The share of answers that keep the rules, beside another model's on the same prompts."""

from __future__ import annotations

import pytest

from cai.constitution.records import Check, Constitution, Principle
from cai.evaluate.adherence import incoherent, paired, scorecard
from cai.records import Completion
from tests.helpers import prompt

RULES = Constitution(
    name="x",
    principles=(
        Principle(id="short", check=Check(max_words=3)),
        Principle(id="calm", check=Check(exclamation_marks=False), applies_to=("helpful",)),
        Principle(id="kind", critique="c", revise="r"),
    ),
)


def said(*texts: str) -> list[Completion]:
    return [Completion(text=text, finish_reason="stop", model="m") for text in texts]


def test_each_rule_counts_where_it_applies_and_all_of_them_together() -> None:
    asked = [prompt("One?", kind="helpful"), prompt("Two?"), prompt("Three?", kind="helpful")]
    measures = scorecard(
        RULES, asked, said("It is so.", "No!", "Yes!"), said("It is not so.", "No!", "No.")
    )
    assert list(measures) == ["adherence.short", "adherence.calm", "adherence.all", "incoherence"]
    short, calm, whole, odd = measures.values()
    assert (short.n, short.value, short.baseline) == (3, 1.0, pytest.approx(2 / 3))
    assert (calm.n, calm.value, calm.baseline) == (2, 0.5, 1.0)
    assert (whole.n, whole.value, whole.baseline) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (odd.value, odd.baseline) == (0.0, 0.0)


def test_the_interval_of_a_difference_is_that_of_pairs() -> None:
    """56 of 80 against 54 of 80 with 8 + 6 discordant: (-0.0649, 0.1149) in Newcombe's terms."""
    values = [1.0] * 48 + [1.0] * 8 + [0.0] * 6 + [0.0] * 18
    other = [1.0] * 48 + [0.0] * 8 + [1.0] * 6 + [0.0] * 18
    measure = paired(values, other)
    assert measure.difference == pytest.approx(2 / 80)
    assert measure.difference_low < 0 < measure.difference_high
    assert measure.difference_high - measure.difference_low < 0.2  # unpaired it is 0.28


@pytest.mark.parametrize(
    ("text", "odd"),
    [("", True), ("What should I do?", True), ("and on " * 40, True), ("Wait a day.", False)],
)
def test_babble_is_not_called_an_answer(text: str, odd: bool) -> None:
    (answer,) = said(text)
    assert incoherent(prompt("What should I do?"), answer) is odd


def test_an_answer_that_is_cut_is_read_as_far_as_it_goes() -> None:
    cut = Completion(text="It is the one that", finish_reason="length", model="m")
    assert not incoherent(prompt("Which?"), cut)
