from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.cleaning import clean_revision, defect, loops
from cai.records import Completion


def completion(text: str, finish: str = "stop") -> Completion:
    return Completion(text=text, finish_reason=finish, model="m")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "cleaned", "removed"),
    [
        ("Here is the revised response:\n\nBe kind.", "Be kind.", ["preamble"]),
        ("Here's a rewritten version of my answer:\nBe kind.", "Be kind.", ["preamble"]),
        ("Sure! Here is an improved answer:\n\nBe kind.", "Be kind.", ["preamble"]),
        (
            "Of course. Below is the updated reply, without insults:\n\nBe kind.",
            "Be kind.",
            ["preamble"],
        ),
        ("**Revised response:**\n\nBe kind.", "Be kind.", ["preamble"]),
        ("Revised answer: Be kind.", "Be kind.", ["preamble"]),
        ("Revision:\nBe kind.", "Be kind.", ["preamble"]),
        ("I've revised my answer:\n\nBe kind.", "Be kind.", ["preamble"]),
        ('"Be kind."', "Be kind.", ["quotes"]),
        ("“Be kind.”", "Be kind.", ["quotes"]),
        ('Here is the revision:\n"Be kind."', "Be kind.", ["preamble", "quotes"]),
        ("<think>Hm.</think>Be kind.", "Be kind.", ["reasoning"]),
        ("<think>never closed", "", ["reasoning"]),
        ("Here is the revised response:", "", ["preamble"]),
        # What must stay:
        ("New message: Hello Bob", "New message: Hello Bob", []),
        ("Revision: the act of studying.", "Revision: the act of studying.", []),
        (
            "I have a better version of this argument, and new text about Rome:\nline two",
            "I have a better version of this argument, and new text about Rome:\nline two",
            [],
        ),
        ("Here is a recipe for bread:\n\n1. Flour", "Here is a recipe for bread:\n\n1. Flour", []),
        ("Here are three ideas:\n- one", "Here are three ideas:\n- one", []),
        ("Sure: take the train.", "Sure: take the train.", []),
        ("The new message format:\nJSON.", "The new message format:\nJSON.", []),
        ('"Yes" and "no" are words', '"Yes" and "no" are words', []),
        ('"Yes," he said. "No."', '"Yes," he said. "No."', []),
        ("I revised my view: be kind.", "I revised my view: be kind.", []),
        ("Use <think> tags.", "Use <think> tags.", []),
    ],
)
def test_what_is_taken_off_and_what_stays(text: str, cleaned: str, removed: list[str]) -> None:
    result = clean_revision(text)
    assert (result.text, list(result.removed)) == (cleaned, removed)


@given(st.text())
def test_cleaning_only_ever_takes_from_the_ends(text: str) -> None:
    assert clean_revision(text).text in text


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "empty"),
        (" \n\t", "stop", "empty"),
        ("half a sent", "length", "truncated"),
        ("", "length", "truncated"),
        ("How do I bake bread at home?", "stop", "echo"),
        ("how do I bake bread, at home", "stop", "echo"),
        ("How do I bake bread at home? Well then.", "stop", "echo"),
        ("no no no " * 20, "stop", "loop"),
        ("Good. " + "I am here to help. " * 8, "stop", "loop"),
        ("🌟" * 90, "stop", "loop"),
        ("How do I bake bread at home? Take flour, water, salt and time.", "stop", None),
        ("Bread needs flour.", "stop", None),
        ("Ha ha ha ha ha!", "stop", None),
        ("A line\n" + "-" * 200, "stop", None),
        ("| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 3, "stop", None),
    ],
)
def test_what_is_never_training_data(text: str, finish: str, reason: str | None) -> None:
    read = ("How do I bake bread at home?",)
    assert defect(completion(text, finish), text, read) == reason


def test_copied_instructions_are_an_echo() -> None:
    asks = ("Rewrite your last answer so that it is kind. Why this matters: kindness is free.",)
    for text in (asks[0], "Why this matters: kindness is free.", "Well. " + asks[0][:50]):
        assert defect(completion(text), text, (), asks) == "echo"
    for text in ("Your last answer so that", "Be kind, since kindness is free, to all who ask."):
        assert (defect(completion(text), text, (), asks) == "echo") == text.startswith("Your")


def test_short_prompts_are_not_echoes() -> None:
    assert defect(completion("Hello"), "Hello", ("Hello",)) is None


def test_sections_that_come_again_and_again_are_a_loop() -> None:
    lines = [
        f"{n}. Take care of your friends and your family and your neighbours, always and fully."
        for n in range(20)
    ]
    assert loops("\n".join(lines))
    assert not loops("\n".join(f"{n}. {'abcdefghij'[n % 10] * n} is word {n}" for n in range(20)))


@given(st.text(alphabet="ab 🙂\n", max_size=400))
def test_a_text_said_twelve_times_over_is_a_loop(text: str) -> None:
    if any(c in "ab🙂" for c in text) and 8 <= len(text) <= 300:
        assert loops(text * 12)
