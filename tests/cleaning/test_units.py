"""Words and characters, distances, and what makes two answers the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.cleaning import alike
from cai.cleaning.echoes import copied_share, echoes, repeats
from cai.cleaning.units import gram_size, pieces, units
from cai.dataset.rows import edit_distance

ANY = st.text(alphabet="ab 9.-,!\n面包をのกินि कé", max_size=60)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Don't stop, Ann!", ["don", "t", "stop", "ann"]),
        ("我爱bread和水。", ["我", "爱", "bread", "和", "水"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("パンを焼く", ["パ", "ン", "を", "焼", "く"]),
        ("빵을 굽다", ["빵을", "굽다"]),
        ("", []),
    ],
)
def test_units_of_scripts(text: str, parts: list[str]) -> None:
    assert units(text) == parts


def test_a_text_is_compared_in_grams_of_its_script() -> None:
    assert gram_size(units("面包需要面粉 and salt")) == 8
    assert gram_size(units("bread needs 面粉")) == 4


@pytest.mark.parametrize(
    ("before", "after", "distance"),
    [
        ("a b c d", "a b x d", 1 / 4),
        ("我爱面包", "我爱蛋糕", 2 / 4),
        ("ฉันกินข้าว", "ฉันกินข้าว", 0),
        ("", "", 0),
        ("面包", "bread", 1),
    ],
)
def test_distances_by_words_and_by_characters(before: str, after: str, distance: float) -> None:
    assert edit_distance(before, after) == pytest.approx(distance)


@given(st.text(alphabet="ab \nü", max_size=60))
def test_where_words_are_spaced_pieces_are_words(text: str) -> None:
    assert pieces(text) == text.split()


@given(ANY)
def test_pieces_are_the_text_without_white_space(text: str) -> None:
    assert "".join(pieces(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is -4.", "It is 4."),
        ("3.5 cups", "35 cups"),
        ("1,5 Liter", "15 Liter"),
        (".5", "5"),
        ("50% off", "50 off"),
        ("$5", "€5"),
        ("at 10:30", "at 1030"),
        ("x < 5", "x > 5"),
        ("3/4", "34"),
        ("कि", "की"),
        ("Be kind.", "Be kind to all."),
    ],
)
def test_what_is_not_the_same(one: str, other: str) -> None:
    assert not alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Be kind.", "be  KIND!"),
        ("- 4 apples", "4 apples"),
        ("1. Flour\n2. Salt", "1 Flour 2 Salt"),
        ("well-known", "well known"),
        ("It is 4.", "It is 4"),
        ("50 %", "50%"),
        ("好的。", "好的!"),
    ],
)
def test_what_is_the_same(one: str, other: str) -> None:
    assert alike(one, other)


def test_rules_of_before_looked_at_letters_and_digits_alone() -> None:
    assert alike("It is -4.", "It is 4.", rules=1)
    assert alike("3.5", "35", rules=1)


@given(ANY)
def test_a_text_is_like_itself_and_its_copy_is_all_copied(text: str) -> None:
    assert alike(text, text)
    assert copied_share(text, [text]) in (0, 1)
    if len(units(text)) >= 8:
        assert echoes(text, text)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Is Paris the capital of France?", "Paris is the capital of France."),
        ("法国的首都是哪里？", "法国的首都是巴黎。"),
        ("フランスの首都はどこですか。", "フランスの首都はパリです。"),
        ("फ्रांस की राजधानी क्या है?", "फ्रांस की राजधानी पेरिस है।"),
        ("Vaccines cause autism in all children.", "Vaccines do not cause autism in children."),
        ("Fix the typos: the cat sat on teh mat", "The cat sat on the mat"),
        ("The cat sat on teh mat and slept. Please fix it.", "The cat sat on the mat and slept."),
        ("Who wrote Hamlet around 1600?", "Shakespeare wrote Hamlet around 1600."),
        ("Should I save money every month?", "You should save money every month."),
    ],
)
def test_an_answer_in_the_words_of_the_question_is_no_echo(source: str, text: str) -> None:
    assert not echoes(text, source)


def test_a_critique_that_proposes_the_answer_does_not_make_it_an_echo() -> None:
    critique = (
        "The answer is rude, as it calls the reader lazy, and it does not help. It should say: "
        "Start with ten minutes a day and be patient with yourself. That is kind and useful, and "
        "nobody feels small after reading it, which is what the principle asks for here."
    )
    assert not repeats("Start with ten minutes a day and be patient with yourself.", critique)
    assert repeats("The answer is rude, as it calls the reader lazy.", critique)
    assert repeats(critique, critique)
