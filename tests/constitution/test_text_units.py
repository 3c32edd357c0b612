"""How words, sentences, paragraphs and list items are counted, in several scripts."""

from __future__ import annotations

import pytest

from cai.constitution.markup import emoji
from cai.constitution.text_units import (
    characters,
    is_item,
    paragraphs,
    prose_lines,
    sentences,
    words,
)

WORDS = {
    "": 0,
    "— – / …": 0,
    "don't well-known 3.5": 3,
    "and/or, this—that": 4,
    "C++ & C#": 2,
    "我喜欢喝茶。": 5,
    "iPhone 手机很好 yes": 6,
    "これはペンです": 7,
    "コーヒー": 4,
    "한국어 문장 입니다": 3,
    "नमस्ते दुनिया, आप कैसे हैं?": 5,
    "مرحبا بالعالم": 2,
    "สวัสดีครับ": 3,  # seven letters
    "ខ្ញុំ": 1,
    "1,000,000 people": 2,
}
SENTENCES = {
    "": 0,
    "?!": 0,
    "Hello": 1,
    "Hi. There!": 2,
    "Really?! Yes…": 2,
    "Dr. Smith paid 3.5 dollars to J. Smith.": 1,
    "Nuts, fruit etc. are fine. Sweets are not.": 2,
    "At 5 p.m. Then go.": 2,
    "Is it? No. It is not.": 3,
    "Well... maybe. Wait... What": 3,
    '"Sure?" she asked. Yes.': 2,
    "He said “Stop!” Then he left.": 2,
    "See www.a.example/x?y=1 now.": 1,
    "Great! 😀": 1,
    "1. Flour. 2. Eggs.": 2,
    "1. Flour\n2. Eggs": 2,
    "You need:\n- flour\n- eggs": 3,
    "It goes\non here.": 1,
    "One line\nAnother": 2,
    "第一。第二！第三？": 3,
    "「はい。」と言った。": 2,
    "مرحبا؟ نعم۔ لا": 3,
    "मैं ठीक हूँ। तुम?": 2,
    "Ναι. Όχι;": 2,
    "z. B. so": 1,
}


@pytest.mark.parametrize(("text", "number"), WORDS.items())
def test_words(text: str, number: int) -> None:
    assert words(text) == number


@pytest.mark.parametrize(("text", "number"), SENTENCES.items())
def test_sentences(text: str, number: int) -> None:
    assert sentences(text) == number


def test_paragraphs_and_characters() -> None:
    counts = {"": 0, "a\nb": 1, "a\n\n \nb\n": 2, "a\n```\nx\n\ny\n```\n\nb": 2, "```\n\n": 1}
    assert {text: paragraphs(text) for text in counts} == counts
    assert [characters(text) for text in ("", " a ", "你好", "e\u0301")] == [0, 1, 2, 2]


def test_lines_of_a_list() -> None:
    items = ["- x", "  * x", "+ x", "> - x", "1. x", "12) x", "a) x", "(1) x", "(b) x", "A. x"]
    items += [
        "iv. x",
        "• x",
        "•x",
        "・x",
        "→ x",
        "一、x",
        "（1）x",
        "1、x",
        "① x",
        "1️⃣ x",
        "**1.** x",
    ]
    others = [
        "x",
        "-x",
        "3.5 x",
        "2020 x",
        "2020. x",
        "---",
        "* * *",
        "**B** x",
        "— Hola",
        "I am x",
    ]
    others += ["(see x)", "-", "a. ", "etc. x", "no) x"]
    assert [line for line in items if not is_item(line)] == []
    assert [line for line in others if is_item(line)] == []


def test_prose_is_without_code() -> None:
    text = "a `b` c\n```py\nd\n~~~\n```\ne\n~~~~\nf\n~~~\ng"
    assert prose_lines(text) == ["a   c", "e"]


def test_emoji_go_by_unicode() -> None:
    assert emoji("1 * # © ™ → ✓ a") == ()
    assert emoji("😀😀🚀 ☀\ufe0f ✅") == ("😀", "🚀", "☀\ufe0f", "✅")
