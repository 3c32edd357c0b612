"""Measures of likeness, against their definitions."""

from __future__ import annotations

import pytest

from cai.quality.diversity import compression_ratio, distinct, languages, self_bleu


def test_distinct_runs_over_all_runs() -> None:
    assert distinct(["a b a b"], 1) == pytest.approx(2 / 4)
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct(["", "a"], 2) is None


def test_self_bleu_of_copies_is_one_and_of_strangers_nothing() -> None:
    same = "one two three four five six"
    assert self_bleu([same, same, same]) == pytest.approx([1, 1, 1])
    assert self_bleu([same, "alpha beta gamma delta"]) == [0, 0]
    assert self_bleu([same]) == []


def test_self_bleu_of_a_known_pair() -> None:
    # 1-grams 3 of 4; 2-grams (2 + 1) of (3 + 1), 3-grams (1 + 1) of (2 + 1), 4-grams 1 of (1 + 1)
    one, _ = self_bleu(["a b c d", "a b c e"])
    assert one == pytest.approx((3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)


def test_compression_tells_copies_from_others() -> None:
    copies = compression_ratio(["the very same sentence about nothing"] * 50)
    assert copies is not None
    assert copies > 10
    assert compression_ratio([]) is None


def test_languages_of_a_sample() -> None:
    texts = [
        "The weather is quite nice today, so we went for a walk in the park.",
        "Das Wetter ist heute sehr schön, deshalb gehen wir im Park spazieren.",
        "今天天气很好，我们去公园散步，然后回家吃晚饭。",
        "ok",
    ]
    assert languages(texts) == {"?": 1, "de": 1, "en": 1, "zh": 1}
