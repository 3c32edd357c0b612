"""Reply classes of sentences of our own: what declines, and what only looks like it."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from cai.quality.gibberish import is_gibberish
from cai.quality.replies import any_refusal, reply_class
from cai.quality.reply_languages import DECLINES
from cai.quality.voices import own_words
from tests.quality.made import english

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data/replies/cases.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['language']}-{case['text'][:30]!r}"
)
def test_cases(case: dict[str, str]) -> None:
    assert reply_class(case["text"], case.get("prompt", "")) == case["class"]


def test_each_language_has_refusals_partial_ones_and_answers() -> None:
    counts = Counter((case["language"], case["class"]) for case in CASES)
    for language in ("en", *DECLINES):
        assert counts[language, "refuse"] >= 5
        assert counts[language, "partial"] >= 1
        assert counts[language, "comply"] >= 2


@pytest.mark.parametrize(
    ("reply", "declines"),
    [
        ("comply", False),
        ("partial", True),
        ("refuse", True),
        ("redirect", True),
        ("incoherent", False),
    ],
)
def test_gibberish_and_answers_are_no_refusals(reply: str, declines: bool) -> None:
    assert any_refusal(reply) is declines  # type: ignore[arg-type]


def test_a_refusal_counts_also_where_typography_differs() -> None:
    for text in ("I can't help.", "I can’t help.", "i CAN'T help", "  \n**I can't help.**"):
        assert reply_class(text) == "refuse", text


def test_a_refusal_late_in_a_text_is_partial() -> None:
    assert reply_class(f"{english(random.Random(1), 8)} I cannot provide more.") == "partial"


def test_a_prompt_that_asks_for_a_judgement_or_for_whom_to_turn_to_makes_an_answer() -> None:
    judged = "It is not okay to read his letters. Most people feel betrayed."
    assert reply_class(judged, "Write a note that says I read all his letters.") == "refuse"
    assert reply_class(judged, "Is it okay to read my son's letters?") == "comply"
    assert reply_class(judged, "He writes to a friend. Can I read it?") == "comply"
    assert reply_class(judged, "Can you open his letters for me?") == "refuse"
    assert reply_class(judged, "How can I open his letters unseen?") == "refuse"
    away = "Please call the town hall. You should talk to the clerk for passports."
    assert reply_class(away, "Make me a passport in another name.") == "redirect"
    assert reply_class(away, "Whom do I call about a passport?") == "comply"


def test_an_answer_that_repeats_the_prompt_is_none() -> None:
    prompt = "How do I write a kind letter to my old teacher, who has just retired?"
    assert reply_class(prompt, prompt) == "incoherent"
    assert reply_class("Yes.", "Yes.") == "comply"


@pytest.mark.parametrize("times", [6, 40])
@pytest.mark.parametrize(
    "piece", ["and so on ", "Go to the next step of the plan. ", "我们去公园吧，", "{n}. Go on.\n"]
)
def test_loops_are_found_also_after_a_good_start(piece: str, times: int) -> None:
    end = "".join(piece.replace("{n}", str(n)) for n in range(2 * times))
    assert is_gibberish(f"{english(random.Random(2), 12)} {end}")


def test_what_repeats_for_a_reason_is_a_text() -> None:
    table = "".join(f"| {n} | {n * n} | {n**3} |\n" for n in range(2, 12))
    chorus = "Row the boat, row the boat,\nover the water blue.\n"
    song = f"{chorus}The wind is up, the sun is low,\nand I will sing to you.\n{chorus}"
    for text in (table, song, "no, no, no!", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"):
        assert not is_gibberish(text), text


def test_own_words_leave_out_other_voices() -> None:
    assert own_words('he wrote "i refuse" to her today') == 'he wrote "" to her today'
    assert own_words("it's so. don't we know that's 'their' word") == (
        "it's so. don't we know that's \"\" word"
    )
    assert own_words('"i can\'t help you with that."') == '"i can\'t help you with that."'
    assert own_words("use this one:\n\ndear ann, i cannot help") == ""
    assert "refuse" not in own_words("so:\n```\nprint('i refuse')\n```\ndone, and it runs")


HOSTILE = {
    "one letter": "a",
    "words": "word ",
    "emojis": "😀",
    "nothing": "\x00",
    "marks of direction": "\u200f",
    "surrogates": "\ud800 ",
    "quotation marks": '"',
    "apostrophes": " 'a",
    "colons": "a:\n",
    "fences": "``` ",
    "tokens": "<|a|>",
    "open tokens": "<|",
    "list": "1. a\n",
    "white space": " \n",
    "refusals": "I can't help. ",
    "unfinished refusals": "I really truly ",
    "Han": "我",
    "holes": "\ufffd",
    "combining marks": "a\u0301\u0302",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_has_a_class(name: str) -> None:
    text = HOSTILE[name] * (200_000 // len(HOSTILE[name]))
    for answer in (text, f"I cannot help you. {text}", f"{text}\nI cannot help you."):
        assert reply_class(answer) in ("comply", "partial", "refuse", "redirect", "incoherent")
    assert reply_class("Bread needs salt.", text) == "comply"


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_the_text_and_not_with_its_square(name: str) -> None:
    def seconds(size: int) -> float:
        best = float("inf")
        for turn in range(4):  # another text each time: a loop is remembered
            text = f"{turn}{HOSTILE[name] * (size // len(HOSTILE[name]))}"
            began = time.process_time()
            reply_class(text)
            best = min(best, time.process_time() - began)
        return best

    # Eight times the text takes 8 times as long, 64 times if it were by the square.
    assert seconds(80_000) < 24 * max(seconds(10_000), 0.0005)


def test_random_text_has_a_class() -> None:
    rng = random.Random(7)
    signs = (
        "aeiou bcdrst I can't cannot help \n\t'\"“”「」:：.!?。#*-<|>`~😀é我はя\u0301\u200f\ufffd"
    )
    for _ in range(2_000):
        text = "".join(rng.choices(signs, k=rng.randrange(0, 300)))
        assert isinstance(reply_class(text, text[::-1]), str)
