"""What must never be training data, planted in ten languages: all of it is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cai.cleaning import clean_revision, defect, loops
from cai.cleaning.leaks import without_leak
from cai.cleaning.phrases import LANGUAGES
from cai.cleaning.units import pieces
from cai.dataset.rows import edit_distance
from cai.records import Completion

FILE = Path(__file__).parents[1] / "data" / "cleaning" / "planted.yaml"
PLANTED: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
# Chinese and Japanese are also written with the punctuation of ASCII.
NARROW = str.maketrans({"：": ":", "，": ",", "（": "(", "）": ")", "？": "?", "！": "!"})
for_each = pytest.mark.parametrize("language", LANGUAGES)
GAPS = (" ", "\n\n")


def completion(text: str, **more: Any) -> Completion:
    return Completion(text=text, finish_reason="stop", model="m", **more)


def found(language: str, text: str) -> str | None:
    """The defect of a revision."""
    case = PLANTED[language]
    asks = (case["request"], case["finding"])
    return defect(completion(text), text, (case["prompt"],), asks)


@for_each
def test_the_answer_itself_is_clean(language: str) -> None:
    answer = PLANTED[language]["answer"]
    assert found(language, answer) is None
    assert clean_revision(answer).removed == ()


@for_each
def test_copies_and_near_copies_of_the_prompt(language: str) -> None:
    case = PLANTED[language]
    for text in (case["prompt"], case["prompt"].rstrip("?？؟。 "), *case["near"]):
        assert found(language, text) == "echo", text


@for_each
def test_copies_of_the_request_and_of_the_finding(language: str) -> None:
    case = PLANTED[language]
    for text in (case["request"], case["finding"], case["short"]):
        assert found(language, text) == "echo", text
    assert defect(completion("x"), case["finding"], critiques=(case["finding"],)) == "echo"


@for_each
def test_a_critique_is_echoed_but_what_it_proposed_is_an_answer(language: str) -> None:
    case = PLANTED[language]
    critique = f"{case['finding']} {case['request']} {case['answer']}"
    start = f"{case['finding']} {case['request']}"
    assert defect(completion(start), start, critiques=(critique,)) == "echo"
    long = f"{case['finding']} {case['request']} {case['long']} {case['long']} {case['near'][0]}"
    critique = f"{long} {case['prompt']} {case['answer']} {long}"
    assert defect(completion(""), case["answer"], critiques=(critique,)) is None


@for_each
def test_repetitions_with_and_without_numbers(language: str) -> None:
    case = PLANTED[language]
    hell, long, answer = case["hell"], case["long"], case["answer"]
    texts = [
        " ".join([hell] * 40),
        " ".join(f"{n}. {hell}" for n in range(1, 13)),
        "\n".join(f"{n}. {hell}" for n in range(1, 13)),
        "\n".join(f"({n}) {hell}" for n in range(1, 16)),
        "".join(f"{n}、{hell}" for n in range(1, 16)),
        "\n".join(f"{n}. {long}" for n in range(1, 13)),
        f"{answer}\n" + "\n".join(f"- {long} {n}" for n in (3, 17, 5, 9, 26, 4, 1, 8)),
        " ".join([long] * 12) + f" {answer}",
    ]
    for text in texts:
        assert found(language, text) == "loop", text


@for_each
def test_what_leaked_is_cut_and_told(language: str) -> None:
    case = PLANTED[language]
    answer, prompt = case["answer"], case["prompt"]
    leaks = ("<|im_end|>", f" [INST] {prompt}", f"\n\nHuman: {prompt}", f"\n\nUser: {prompt}")
    for leak in (*leaks, f"\n\n{case['turn']}", f"\n{case['turn']}"):
        made = without_leak(completion(answer + leak))
        assert (made.text, made.leak) == (answer, "cut"), leak
        cleaned = clean_revision(answer + leak)
        assert (cleaned.text, cleaned.removed) == (answer, ("leak",)), leak
        assert found(language, answer + leak) == "leak"


def cut(language: str, text: str, name: str) -> None:
    """The piece around the answer is taken off and named, and what stays is clean."""
    case = PLANTED[language]
    for spelling in (str, lambda text: text.translate(NARROW)):
        cleaned = clean_revision(spelling(text), case["prompt"])
        assert (cleaned.text, cleaned.removed) == (spelling(case["answer"]), (name,)), text
        assert found(language, cleaned.text) is None


@for_each
def test_apologies_to_a_critic(language: str) -> None:
    case = PLANTED[language]
    for apology in case["apologies"]:
        for gap in GAPS:
            cut(language, f"{apology}{gap}{case['answer']}", "apology")
        assert found(language, clean_revision(apology).text) == "apology", apology
    assert found(language, clean_revision(case["tangled"]).text) == "apology"


@for_each
def test_notes_on_what_was_changed(language: str) -> None:
    case = PLANTED[language]
    for note in case["notes"]:
        cut(language, f"{case['answer']}\n\n{note}", "note")
        if not note.startswith("**"):
            cut(language, f"{case['answer']} {note}", "note")
        assert found(language, clean_revision(note).text) == "note", note
    for note in case["notes_before"]:
        for gap in GAPS:
            cut(language, f"{note}{gap}{case['answer']}", "note")


@for_each
def test_announcements_and_labels(language: str) -> None:
    case = PLANTED[language]
    for preamble in case["preambles"]:
        for gap in GAPS:
            cut(language, f"{preamble}{gap}{case['answer']}", "preamble")


@for_each
def test_all_of_it_at_once(language: str) -> None:
    case = PLANTED[language]
    before = f"{case['apologies'][0]} {case['preambles'][0]}\n\n"
    text = f"{before}{case['answer']}\n\n{case['notes'][0]}\n\n{case['turn']}"
    cleaned = clean_revision(text)
    assert cleaned.text == case["answer"]
    assert set(cleaned.removed) == {"leak", "apology", "preamble", "note"}


@for_each
def test_a_changed_word_is_a_small_distance(language: str) -> None:
    case = PLANTED[language]
    assert 0 < edit_distance(case["prompt"], case["near"][0]) <= 0.35
    assert edit_distance(case["prompt"], case["answer"]) > 0.6
    assert len(pieces(case["answer"])) >= 20


def test_rules_of_before_saw_none_of_this() -> None:
    chinese = PLANTED["zh"]
    for text in (chinese["near"][0], chinese["finding"], chinese["apologies"][0]):
        assert defect(completion(text), text, (chinese["prompt"],), (text,), rules=1) is None
    assert loops(" ".join([chinese["hell"]] * 40))
    with pytest.raises(ValueError, match="no cleaning rules 3"):
        defect(completion("x"), "x", rules=3)
