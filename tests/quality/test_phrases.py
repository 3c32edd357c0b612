"""Boilerplate: what recurs, in how many answers, and as which phrase."""

from __future__ import annotations

import random
import unicodedata
from typing import Literal

import pytest

from cai.cleaning.units import units
from cai.quality.phrases import SAMPLE, Recurring, Sample, grams, words
from tests.quality.made import english

NormalForm = Literal["NFC", "NFD"]
CLOSING = "let me know if you want to hear more"


def recurring(answers: list[tuple[str, str]], size: int = SAMPLE) -> Recurring:
    sample = Sample(size)
    for name, text in answers:
        sample.add(name, text)
    found = Recurring(sample)
    if not found.whole:
        for name, text in answers:
            found.count(name, text)
    found.finish()
    return found


def answers(count: int, with_closing: int) -> list[tuple[str, str]]:
    rng = random.Random(7)
    texts = [(f"p{n}", english(rng, 3)) for n in range(count)]
    return [(p, f"{t} {CLOSING}." if n < with_closing else t) for n, (p, t) in enumerate(texts)]


@pytest.mark.parametrize(("closing", "held"), [(15, 15), (14, 0)])
def test_fifteen_in_a_hundred_recur_and_fourteen_do_not(closing: int, held: int) -> None:
    made = answers(100, closing)
    found = recurring(made)
    assert sum(found.held(text) is not None for _, text in made) == held


def test_overlapping_runs_are_one_phrase() -> None:
    [phrase] = recurring(answers(100, 30)).phrases
    assert phrase == (CLOSING, 30)


def test_a_large_set_is_counted_as_a_small_one_is() -> None:
    made = answers(3000, 600)
    whole, sampled = recurring(made, 3000), recurring(made, 300)
    assert whole.whole
    assert not sampled.whole
    assert sampled.phrases == whole.phrases == [(CLOSING, 600)]


def test_answers_to_one_prompt_count_as_one() -> None:
    rng = random.Random(3)
    made = [(f"p{n}", english(rng, 3)) for n in range(50)]
    made += [("same", f"{english(rng, 2)} {CLOSING}.") for _ in range(20)]
    assert recurring(made).phrases == []


def test_two_of_ten_are_no_habit() -> None:
    assert recurring(answers(10, 2)).phrases == []
    assert len(recurring(answers(10, 3)).phrases) == 1


def test_case_and_punctuation_play_no_part() -> None:
    rng = random.Random(3)
    made = [
        (f"p{n}", f"{english(rng, 2)} Let me know, if YOU want to hear more!") for n in range(5)
    ]
    [phrase] = recurring(made).phrases
    assert phrase.text == CLOSING


def test_characters_are_the_units_of_chinese() -> None:
    assert words("今天天气很好。") == list("今天天气很好")
    assert [*grams(words("今天天气很好"))] == [tuple("今天天气很"), tuple("天天气很好")]


def test_many_phrases_are_found_as_few_are() -> None:
    rng = random.Random(11)
    long = english(rng, 12)
    made = [(f"p{n}", english(rng, 2)) for n in range(60)]
    made += [(f"long {name}", f"{text} {long}") for name, text in made]
    found = recurring(made)
    held = [found.held(text) is not None for _, text in made]
    assert all(held[60:])
    assert sum(held[:60]) < 10  # a run of five is in both by chance
    assert max(len(phrase.text) for phrase in found.phrases) > 400


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("हिन्दी में एक वाक्य है", 5),
        ("العَرَبِيَّة لغة جميلة", 3),
        ("தமிழ் மொழி", 2),
        ("weiß STRASSE snake_case", 4),
        ("Ça va très bien à Đà Nẵng", 7),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_word_keeps_the_marks_on_its_letters(text: str, count: int, form: NormalForm) -> None:
    normal = unicodedata.normalize(form, text)
    assert len(words(normal)) == count
    assert words(normal) == units(text) == words(f"{normal} 好")[:-1]
