"""A run of our own words in an answer."""

from __future__ import annotations

from cai.cleaning.echoes import copied_share, copies_a_run


def test_a_run_of_our_own_words_is_no_part_of_an_answer() -> None:
    """A small model put the words of the request into what it wrote."""
    request = "Write only the answer: no introduction, no word about the form, no apology."
    text = "Your story, with no introduction, no word about the form, no apology, is a good one."
    assert copied_share(text, [request]) < 0.7
    assert copies_a_run(text, [request])
    assert not copies_a_run("There is no word about the form in it, and no apology.", [request])
