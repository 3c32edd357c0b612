"""Reading labelled answers; what every labelled file has in common is tried in test_pairs.py."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cai.checks.cases import LabelledCase, read_cases
from cai.constitution.load import load
from cai.errors import InputError
from cai.files import cases_file, constitutions_dir

CASE = {"prompt": "Why?", "response": "Because.", "principle": "candid", "verdict": "fine"}


def read(*rows: dict[str, Any]) -> tuple[list[LabelledCase], list[Any]]:
    Path("cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_cases(Path("cases.jsonl"))


def test_a_case_from_text_messages_and_a_table() -> None:
    talk = [{"role": "user", "content": "Why?"}]
    (plain, spoken), _ = read({**CASE, "id": "a"}, {**CASE, "id": "b", "prompt": talk})
    assert plain.prompt.messages == spoken.prompt.messages
    assert (plain.response, plain.principle, plain.verdict) == ("Because.", "candid", "fine")
    Path("cases.csv").write_text("prompt,response,principle,verdict\nWhy?,Because.,candid,fine\n")
    (row,), _ = read_cases(Path("cases.csv"))
    assert (row.prompt.messages, row.verdict) == (plain.prompt.messages, "fine")


def test_one_answer_may_be_a_case_of_two_principles() -> None:
    cases, skipped = read(CASE, {**CASE, "principle": "calibrated"}, CASE)
    assert [case.principle for case in cases] == ["candid", "calibrated"]
    assert [s.why for s in skipped] == ["a case that was there already"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("verdict", "bad", "must be violates or fine, not 'bad'"),
        ("verdict", None, "must be violates or fine, not None"),
        ("principle", "", "principle: is empty"),
        ("principle", ["x"], "must be text, not a list"),
        ("prompt_kind", "nice", "unknown kind"),
    ],
)
def test_a_case_of_another_shape_is_an_error_that_says_where(
    field: str, value: Any, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read({**CASE, field: value})
    assert str(caught.value).startswith(f"cases.jsonl:1: {field}")
    assert message in caught.value.message


def test_a_file_without_a_verdict_is_refused() -> None:
    Path("cases.csv").write_text("prompt,response,principle\nWhy?,Because.,candid\n")
    with pytest.raises(InputError, match="no column 'verdict'"):
        read_cases(Path("cases.csv"))


def test_an_empty_answer_is_set_aside() -> None:
    cases, skipped = read(CASE, {**CASE, "response": " "})
    assert len(cases) == 1
    assert [s.why for s in skipped] == ["an answer is empty"]


# --- the shipped ones ---


def shipped() -> list[LabelledCase]:
    cases, skipped = read_cases(cases_file())
    assert not skipped
    return cases


def test_the_shipped_cases_are_halves_over_all_principles_that_a_critic_is_asked_by() -> None:
    cases = shipped()
    assert Counter(case.verdict for case in cases) == {"violates": 100, "fine": 100}
    constitution = load(constitutions_dir() / "default.yaml")
    by_principle = Counter((case.principle, case.verdict) for case in cases)
    revising = {p.id for p in constitution.principles if p.revises}
    assert {principle for principle, _ in by_principle} == revising
    for principle in revising:
        assert by_principle[principle, "violates"] == by_principle[principle, "fine"] >= 5
    assert len({(c.prompt.messages, c.response) for c in cases}) == 200


def test_length_and_prompt_tell_nothing_of_a_shipped_case() -> None:
    cases = shipped()
    lengths = {
        label: [len(c.response) for c in cases if c.verdict == label]
        for label in ("violates", "fine")
    }
    means = [statistics.mean(values) for values in lengths.values()]
    assert means[0] == pytest.approx(means[1], rel=0.02)
    rights = [
        sum((len(c.response) > cut) == (c.verdict == "fine") for c in cases) / len(cases)
        for cut in range(max(map(max, lengths.values())))
    ]
    assert max(*rights, 1 - min(rights)) <= 0.6  # the best that any threshold can do
    twice = [n for n in Counter(c.prompt.last_human_turn for c in cases).values() if n == 2]
    assert len(twice) > 75  # most prompts stand in both halves
