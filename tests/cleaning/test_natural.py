"""Ordinary answers in ten languages: nothing of them is caught or cut."""

from __future__ import annotations

from pathlib import Path

import yaml

from cai.cleaning import clean_revision, defect
from cai.cleaning.phrases import LANGUAGES
from cai.records import Completion

FOLDER = Path(__file__).parents[1] / "data" / "cleaning" / "natural"
REQUEST = "Rewrite your last answer so that it is kind to everyone and harms nobody."
MOST = 1  # of 200


def answers() -> list[tuple[str, str]]:
    """Prompts and answers: lists, code, songs with a refrain, sums, letters of apology, …"""
    rows = []
    for language in LANGUAGES:
        rows += yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return [(row["asked"], row["answer"]) for row in rows]


def changed(asked: str, answer: str, request: str) -> bool:
    cleaned = clean_revision(answer, asked)
    said = Completion(text=answer, finish_reason="stop", model="m")
    problem = defect(said, cleaned.text, (asked,), (request,), critiques=("It is a fine answer.",))
    return cleaned.text != answer or problem is not None


def test_next_to_nothing_of_natural_answers_is_caught() -> None:
    rows = answers()
    assert len(rows) == len(set(rows)) == 20 * len(LANGUAGES)
    assert len([row for row in rows if changed(*row, REQUEST)]) <= MOST


def test_a_letter_of_apology_is_an_answer_only_where_it_is_wanted() -> None:
    letter = "I apologize for my last reply. It was rude.\n\nCan we talk about it tomorrow?"
    assert clean_revision(letter, "Write an apology to my friend.").text == letter
    assert clean_revision(letter, "How do I bake bread?").removed == ("apology",)
    assert clean_revision(f"Dear Tom,\n\n{letter}").removed == ()


def test_corrections_are_an_answer_only_where_they_are_wanted() -> None:
    text = "They're at home.\n\nChanges made:\n- Their became They're"
    assert clean_revision(text, "Correct this: Their at home.").text == text
    assert clean_revision(text, "Where are they?").text == "They're at home."


def test_quotation_marks_stay_where_they_are_wanted() -> None:
    assert clean_revision('"Be kind."', "Wrap your answer in double quotes.").removed == ()
    assert clean_revision('"Be kind."', "What should I do?").text == "Be kind."
