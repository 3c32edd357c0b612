"""Lint of rules: what no answer can keep, what asks for nothing, examples that a rule denies."""

from __future__ import annotations

from typing import Any

import pytest

from cai.constitution.lint import Finding, lint, shares
from cai.constitution.records import Constitution, Principle


def rule(name: str, **fields: Any) -> Principle:
    limits = {key: fields.pop(key) for key in ("applies_to", "examples") if key in fields}
    return Principle.model_validate({"id": name, "check": fields, **limits})


def found(check: str, *principles: Principle) -> list[Finding]:
    return [f for f in lint(Constitution(name="x", principles=principles)) if f.check == check]


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({"max_words": 10}, {"min_words": 20}, "at least 20 words, and at most 10"),
        ({"min_sentences": 9}, {"max_words": 8}, "at least 9 sentences, and at most 8 words"),
        ({"max_characters": 3}, {"min_words": 4}, "at least 4 words, and at most 3 characters"),
        ({"forbid": ["a"]}, {"require": ["a"]}, "the pattern a is required and forbidden"),
        ({"starts_with": "Yes"}, {"starts_with": "No"}, "it must begin with both"),
        ({"ends_with": "Ada"}, {"ends_with": "Ben"}, "it must end with both"),
        ({"language": "en"}, {"language": "de"}, "the languages de and en"),
        ({"ends_with_question": True}, {"ends_with_question": False}, "with a question, and must"),
        ({"ends_with": "."}, {"ends_with_question": True}, "it must end with .; of that is said"),
        ({"starts_with": "Oh!"}, {"exclamation_marks": False}, "1 exclamation mark"),
        ({"starts_with": "One two"}, {"max_words": 1}, "2 words, at most 1."),
    ],
)
def test_two_rules_that_no_answer_keeps(
    one: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    for first, second in ((one, other), (other, one)):
        (finding,) = found("impossible", rule("a", **first), rule("b", **second))
        assert (finding.severity, finding.principle) == ("error", "b")
        assert "together with a" in finding.message
        assert why in finding.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_words": 20}, {"min_words": 20}),
        ({"max_words": 20}, {"max_words": 10}),
        ({"starts_with": "Yes"}, {"starts_with": "Yes, "}),
        ({"ends_with": "? – Ada"}, {"ends_with": "– Ada"}),
        ({"language": "en"}, {"language": "en"}),
        ({"ends_with": "so?"}, {"ends_with_question": True}),
        ({"min_words": 20, "applies_to": ["helpful"]}, {"max_words": 2, "applies_to": ["fraud"]}),
        ({"forbid": [r"^\s*$"]}, {"require": ["[a-z]"]}),
    ],
)
def test_rules_that_go_together(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert found("impossible", rule("a", **one), rule("b", **other)) == []
    assert found("idle-pattern", rule("a", **one), rule("b", **other)) == []


def test_rules_of_the_same_prompts_are_held_against_each_other() -> None:
    short, long = {"max_words": 2}, {"min_words": 9}
    both = (rule("a", applies_to=["helpful", "x"], **short), rule("b", applies_to=["x"], **long))
    assert len(found("impossible", *both)) == 1
    assert len(found("impossible", rule("a", **short), rule("b", applies_to=["x"], **long))) == 1


def test_one_rule_that_no_answer_keeps() -> None:
    (finding,) = found("impossible", rule("a", starts_with="Oh!", exclamation_marks=False))
    assert finding.principle == "a"
    assert "together" not in finding.message
    (finding,) = found("impossible", rule("a", forbid=["x*"]))
    assert "x* matches every text" in finding.message


def test_a_required_pattern_that_all_texts_match() -> None:
    (finding,) = found("idle-pattern", rule("a", require=["(cheap)?"]))
    assert (finding.severity, finding.principle) == ("warning", "a")


def test_examples_that_the_rule_denies() -> None:
    def case(response: str, verdict: str, revision: str | None = None) -> dict[str, Any]:
        return {"prompt": "p", "response": response, "verdict": verdict, "revision": revision}

    long, short = "One two three.", "One."
    good = [case(short, "fine"), case(long, "violates", short), case(long, "violates")]
    assert found("denied-example", rule("a", max_words=2, examples=good)) == []
    bad = [case(long, "fine"), case(short, "violates"), case(long, "violates", long)]
    findings = found("denied-example", rule("a", max_words=2, examples=bad))
    assert [f.message for f in findings] == [
        "example 1 is fine, but breaks the check: 3 words, at most 2.",
        "example 2 violates, but the check finds nothing in it",
        "example 3 has a revision that breaks the check: 3 words, at most 2.",
    ]
    assert {f.severity for f in findings} == {"error"}


def test_rules_alone_are_a_whole_constitution() -> None:
    example = {"prompt": "p", "response": "r", "verdict": "fine"}
    rules = [rule(n, **{f"max_{n}": 9}, examples=[example]) for n in ("words", "sentences")]
    assert lint(Constitution(name="x", principles=tuple(rules))) == []
    same = (rule("a", max_words=9), rule("b", max_words=9))
    assert next(f.check for f in lint(Constitution(name="x", principles=same))) == "duplicate"
    limited = rule("a", max_words=9, applies_to=["helpful"])
    assert len(found("no-kind", limited)) == 2


def test_shares_are_within_an_order_and_without_rules() -> None:
    words = {"critique": "c", "revise": "r", "compare": "q"}
    principles = (
        Principle(id="a", weight=3, **words),
        Principle(id="b", **words),
        Principle(id="late", order=2, **words),
        Principle.model_validate({"id": "rule", "check": {"max_words": 3}, **words}),
    )
    constitution = Constitution(name="x", principles=principles)
    assert shares(constitution, "helpful", "revise") == {"a": 0.75, "b": 0.25, "late": 1.0}
    compared = shares(constitution, "helpful", "compare")
    assert compared == pytest.approx({"a": 0.6, "b": 0.2, "late": 0.2})
