"""Rules and the other new keys in a constitution file: what loads, what is refused, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.constitution.load import load
from cai.constitution.records import Check, Conflict
from tests.constitution.test_load import GOOD, HEAD, error, principle, write


def ruled(*lines: str) -> str:
    """A file whose one principle is a rule of these lines, the first on line 6."""
    return HEAD + "  - id: a\n    check:\n" + "".join(f"      {line}\n" for line in lines)


# name: (text, line, what the message holds, what the hint holds)
MALFORMED: dict[str, tuple[str, int, str, str]] = {
    "an empty check": (principle("check: {}"), 5, "check: holds no rule", "`max_words: 60`"),
    "a check of nulls": (ruled("max_words: null"), 5, "check: holds no rule", "max_words"),
    "a check that is text": (principle("check: short"), 5, "check: is text", "key: value"),
    "a check that is a list": (principle("check: [short]"), 5, "check: is a list", "key: value"),
    "an unknown rule": (ruled("max_word: 6"), 6, "max_word: is unknown", "`max_words`?"),
    "a rule beside the check": (
        principle("compare: c", "max_words: 6"),
        6,
        "max_words: is a key of a check, not of a principle",
        "The keys of a principle",
    ),
    "a rule twice": (ruled("lists: false", "lists: false"), 7, "lists: is given twice", "Keep one"),
    "a minimum above": (
        ruled("max_words: 10", "min_words: 20"),
        7,
        "check: min_words is 20, above max_words, which is 10",
        "`min_words: 10` and `max_words: 20`",
    ),
    "a number below 0": (ruled("max_words: -1"), 6, "max_words: is -1", "60"),
    "a number with a point": (ruled("max_words: 2.5"), 6, "max_words: is 2.5", "max_words: 60"),
    "a number in quotes": (ruled('max_words: "6"'), 6, "should be a whole number", "quotes"),
    "a number in words": (ruled("max_words: six"), 6, "max_words: is six (text)", "60"),
    "a number too many": (ruled("max_words: [6]"), 6, "max_words: is a list", "60"),
    "lists that are wanted": (ruled("lists: true"), 6, "should be `false`", "remove the key"),
    "lists in words": (ruled("lists: none"), 6, "lists: is none (text)", "`lists: false`"),
    "JSON that is unwanted": (ruled("valid_json: false"), 6, "should be `true`", "remove"),
    "a question in words": (ruled("ends_with_question: 1"), 6, "`true` or `false`", "`true`"),
    "patterns as text": (ruled("forbid: cheap"), 6, "forbid: is text", "after each dash"),
    "no pattern": (ruled("forbid: []"), 6, "forbid: is empty", "remove the key"),
    "an open bracket": (ruled("forbid: ['(a']"), 6, "RE2: missing ): (a", "look-around"),
    "look-behind": (ruled("require: ['(?<=x)a']"), 6, "invalid perl operator: (?<=", "RE2"),
    "a large pattern": (ruled(r"forbid: ['\pL{1,500}']"), 6, "forbid[0]: is no regular", "RE2"),
    "a backspace": (ruled(r'forbid: ["\bcheap\b"]'), 6, "forbid[0]: holds a backspace", "single"),
    "a start left empty": (ruled("starts_with:"), 6, "starts_with: is empty", "Write the text"),
    "a start of nothing": (ruled('starts_with: " "'), 6, "starts_with: is empty", "Write the text"),
    "an unknown language": (
        ruled("language: xx"),
        6,
        "language: xx is no language",
        "en, de or zh",
    ),
    "a language by its name": (ruled("language: English"), 6, "English is no", "mean `en`?"),
    "a language misspelled": (ruled("language: germn"), 6, "germn is no", "mean `de`?"),
    "order 0": (principle("compare: c", "order: 0"), 6, "order: is 0", "`order: 1`"),
    "order 1.5": (principle("compare: c", "order: 1.5"), 6, "order: is 1.5", "`order: 1`"),
    "order in words": (principle("compare: c", "order: first"), 6, "order: is first", "`order: 2`"),
    "an empty violation": (
        principle("compare: c", 'violation: ""'),
        6,
        "violation: is empty",
        "remove the key",
    ),
    "critique without revise": (
        principle("critique: c", "check: {max_words: 6}"),
        5,
        "revise: is missing",
        "Add `revise",
    ),
    "a conflict of one": (
        GOOD + "conflicts:\n  - {between: [a], prompt: p}\n",
        6,
        "conflicts[0].between: names 1 principles",
        "[one-id, other-id]",
    ),
    "a conflict of three": (
        GOOD + "  - {id: b, compare: c}\nconflicts:\n  - {between: [a, b, a], prompt: p}\n",
        7,
        "names 3 principles",
        "[one-id",
    ),
    "a conflict with itself": (
        GOOD + "conflicts:\n  - between: [a, a]\n    prompt: p\n",
        6,
        "conflicts[0].between: names a twice",
        "two principles",
    ),
    "a conflict with nobody": (
        HEAD + "  - {id: harm, compare: c}\n  - {id: help, compare: c}\n"
        "conflicts:\n  - between: [harm, helps]\n    prompt: p\n",
        7,
        "conflicts[0].between: helps is not the id of a principle",
        "Did you mean `help`?",
    ),
    "a conflict without prompt": (
        GOOD + "  - {id: b, compare: c}\nconflicts:\n  - {between: [a, b]}\n",
        7,
        "conflicts[0].prompt: is missing",
        "between, prompt",
    ),
    "a conflict of text": (
        GOOD + "conflicts:\n  - {between: a, prompt: p}\n",
        6,
        "conflicts[0].between: is text",
        "[a]",
    ),
    "conflicts of text": (GOOD + "conflicts: a\n", 5, "conflicts: is text", "a conflict after"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_rule_is_one_error_with_line_field_and_hint(tmp_path: Path, name: str) -> None:
    text, line, words, hint = MALFORMED[name]
    caught = error(tmp_path, text)
    assert caught.where == f"{tmp_path / 'c.yaml'}:{line}"
    assert words in caught.message.splitlines()[0]
    assert len(caught.message.splitlines()) == 1, "one fault, one error"
    assert hint in caught.hint


def test_a_rule_needs_no_words_and_may_have_some(tmp_path: Path) -> None:
    (alone,) = load(write(tmp_path, principle("check: {max_words: 6}"))).principles
    assert (alone.check, alone.revises) == (Check(max_words=6), False)
    text = principle("check: {max_words: 6}", "revise: r", "violation: v", "order: 3")
    (some,) = load(write(tmp_path, text)).principles
    assert (some.revise, some.critique, some.violation, some.order) == ("r", None, "v", 3)


def test_every_rule_loads_as_it_is_written(tmp_path: Path) -> None:
    text = ruled(
        "{max_words: 60, min_words: 1, max_sentences: 2, min_sentences: 1, max_paragraphs: 1,",
        " min_paragraphs: 0, max_characters: 280, min_characters: 2, starts_with: 'Answer:',",
        r" forbid: ['(?i)\bcheap\b', \pL+x], require: ['\border number\b'], ends_with: – Ada,",
        " ends_with_question: no, lists: false, headings: no, links: off, emoji: false,",
        " exclamation_marks: false, personal_data: false, language: no, valid_json: true}",
    )
    check = load(write(tmp_path, text)).principles[0].check
    assert check is not None
    assert set(check.model_dump()) == set(Check.model_fields)
    assert check.forbid == (r"(?i)\bcheap\b", r"\pL+x")
    assert (check.language, check.ends_with_question, check.min_paragraphs) == ("no", False, 0)


def test_conflicts_load(tmp_path: Path) -> None:
    text = GOOD + "  - {id: b, compare: c}\nconflicts: [{between: [b, a], prompt: p}]\n"
    assert load(write(tmp_path, text)).conflicts == (Conflict(between=("b", "a"), prompt="p"),)


def test_a_wrong_id_is_not_told_again_by_its_conflict(tmp_path: Path) -> None:
    text = HEAD + "  - {id: 12, compare: c}\n  - {id: b, compare: c}\n"
    caught = error(tmp_path, text + "conflicts: [{between: [x, b], prompt: p}]\n")
    assert len(caught.message.splitlines()) == 1
