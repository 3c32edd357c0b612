"""Each of the 25 types of instruction: a response that follows it, and one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from cai.errors import CaiError
from cai.evaluate.instructions import CHECKS, followed, followed_loosely, instructions_of

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "keywords:existence": ({"keywords": ["tea", "cup"]}, "A Cup of tea.", "A cup of coffee."),
    "keywords:frequency": (
        {"keyword": "tea", "relation": "at least", "frequency": 2},
        "Tea is tea.",
        "Tea is hot.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["tea"]}, "Steam rises.", "The tea is hot."),
    "keywords:letter_frequency": (
        {"letter": "o", "let_relation": "less than", "let_frequency": 3},
        "No tea.",
        "Cool, good.",
    ),
    "language:response_language": (
        {"language": "de"},
        "Der Tee steht auf dem Tisch und wird langsam kalt.",
        "The tea is on the table and slowly gets cold.",
    ),
    "length_constraints:number_sentences": (
        {"relation": "less than", "num_sentences": 3},
        "One. Two.",
        "One. Two. Three.",
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 2},
        "One.\n***\nTwo.",
        "One.\n\nTwo.",
    ),
    "length_constraints:number_words": (
        {"relation": "at least", "num_words": 4},
        "It is quite hot.",
        "It is hot.",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "Boil it.\n\nThen, pour it.",
        "Then boil it.\n\nPour it.",
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 2},
        "Dear [name], come to [place].",
        "Dear [name], come.",
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        "It is hot.\n\nP.S. Bring milk.",
        "It is hot. Bring milk.",
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        "Bring:\n* milk\n- sugar",
        "Bring:\n* milk",
    ),
    "detectable_format:constrained_response": ({}, "My answer is maybe.", "Perhaps."),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        "*Milk* and *sugar*.",
        "*Milk* and sugar.",
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Part", "num_sections": 2},
        "Part 1\nBoil.\nPart 2\nPour.",
        "Part 1\nBoil.",
    ),
    "detectable_format:json_format": ({}, '```json\n{"tea": 1}\n```', "tea: 1"),
    "detectable_format:title": ({}, "<<Tea>>\nIt is hot.", "Tea\nIt is hot."),
    "combination:two_responses": ({}, "Tea.\n******\nCoffee.", "Tea.\n******\nTea."),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "What is hot?"},
        "What is hot? Tea.",
        "Tea. What is hot?",
    ),
    "startend:end_checker": ({"end_phrase": "That is all."}, "Tea. That is all.", "Tea."),
    "startend:quotation": ({}, '"Tea is hot."', 'He said "tea".'),
    "change_case:capital_word_frequency": (
        {"capital_relation": "at least", "capital_frequency": 2},
        "VERY HOT tea.",
        "VERY hot tea.",
    ),
    "change_case:english_capital": (
        {},
        "THE TEA IS ON THE TABLE AND GETS COLD.",
        "The tea is on the table.",
    ),
    "change_case:english_lowercase": (
        {},
        "the tea is on the table and gets cold.",
        "The tea is on the table.",
    ),
    "punctuation:no_comma": ({}, "Milk and sugar.", "Milk, sugar."),
}


def test_all_twenty_five_are_here() -> None:
    assert len(CHECKS) == 25
    assert CASES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_an_instruction(name: str) -> None:
    arguments, follows, does_not = CASES[name]
    [instruction] = instructions_of([name], [arguments])
    assert followed(instruction, follows)
    assert not followed(instruction, does_not)
    assert not followed(instruction, " \n")


def test_loosely_a_frame_and_asterisks_do_not_count() -> None:
    [ends] = instructions_of(["startend:end_checker"], [{"end_phrase": "That is all."}])
    framed = "Sure, here you are:\nTea. That is all.\nShall I go on?"
    assert not followed(ends, framed)
    assert followed_loosely(ends, framed)
    [quoted] = instructions_of(["startend:quotation"], [None])
    assert followed_loosely(quoted, '**"Tea is hot."**')


def test_what_is_no_instruction_is_refused() -> None:
    with pytest.raises(CaiError, match="unknown instruction 'keywords:all'"):
        instructions_of(["keywords:all"], [{}])
    with pytest.raises(CaiError, match="no argument 'keywords'"):
        instructions_of(["keywords:existence"], [{"keywords": None}])
