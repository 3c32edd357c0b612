"""What a constitution is on paper: its digest and its dump stay what they were before new keys."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cai.constitution.change import constitution_change
from cai.constitution.load import load
from cai.constitution.records import Check, Conflict, Constitution, Principle
from cai.files import constitutions_dir
from cai.records import Prompt, user

# Of default.yaml and brand-voice.yaml before there were `check`, `order`, `violation`, `conflicts`.
DEFAULT = "80c763e0a534a488e22a3ac00bd074f39979f00b7985fd4eab145097913c975a"
TUTOR = "726a951280a529e7b2acc0318892717d1739d401b96d8ca713b246ed5fd52e7e"
TAGS = {
    "no-harm": ["violence"],
    "lawful-ways": ["fraud", "theft"],
    "no-contempt": ["insults", "hate"],
    "safe-advice": ["health", "money"],
    "free-choice": ["manipulation"],
    "privacy": ["privacy"],
    "no-stereotypes": ["fairness"],
    "care-in-distress": ["self-harm", "self-image"],
    "no-invented-facts": ["honesty"],
}
FREE = ("no-needless-refusal", "good-faith", "one-warning", "answer-the-question")


def principle(name: str = "a", **fields: Any) -> Principle:
    return Principle.model_validate({"id": name, "critique": "c", "revise": "r", **fields})


def constitution(*principles: Principle, **fields: Any) -> Constitution:
    return Constitution(name="x", principles=principles, **fields)


def test_a_file_without_the_new_keys_has_the_digest_that_it_had() -> None:
    assert load(constitutions_dir() / "childrens-tutor.yaml").digest == TUTOR


def test_the_default_constitution_has_the_words_that_it_had() -> None:
    new = load(constitutions_dir() / "default.yaml")
    before = []
    for p in new.principles:
        update: dict[str, Any] = {"order": 1, "tags": tuple(TAGS.get(p.id, p.tags))}
        before.append(
            p.model_copy(update={**update, **({"applies_to": ()} if p.id in FREE else {})})
        )
    assert new.model_copy(update={"principles": tuple(before)}).digest == DEFAULT
    assert new.digest != DEFAULT


def test_new_keys_are_written_only_where_they_say_something() -> None:
    plain = constitution(principle()).model_dump(mode="json")
    assert set(plain) == {"name", "version", "description", "principles", "few_shot"}
    assert not {"check", "order", "violation"} & set(plain["principles"][0])
    ruled = principle(check=Check(max_words=9, lists=False), order=2, violation="v")
    conflict = Conflict(between=("a", "b"), prompt="p")
    data = constitution(ruled, principle("b"), conflicts=(conflict,)).model_dump(mode="json")
    assert data["conflicts"] == [{"between": ["a", "b"], "prompt": "p"}]
    first = data["principles"][0]
    assert first["check"] == {"max_words": 9, "lists": False}
    assert (first["order"], first["violation"]) == (2, "v")
    assert Constitution.model_validate(data).model_dump(mode="json") == data


def test_a_maximum_of_nothing_is_written_too() -> None:
    assert Check(max_words=0, ends_with_question=False).model_dump() == {
        "max_words": 0,
        "ends_with_question": False,
    }


@pytest.mark.parametrize(
    "fields", [{"order": 0}, {"check": {"max_words": -1}}, {"check": {"lists": True}}]
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        principle(**fields)


def test_no_model_is_asked_about_a_rule() -> None:
    prompt = Prompt(id="p", messages=(user("x"),), kind="helpful")
    ruled = principle("ruled", compare="c", check=Check(max_words=9))
    elsewhere = principle("elsewhere", check=Check(max_words=9), applies_to=["red-team"])
    worded = principle("worded", compare="c")
    whole = constitution(ruled, elsewhere, worded)
    assert [p.id for p in whole.rules(prompt)] == ["ruled"]
    assert [p.id for p in whole.for_revision(prompt)] == ["worded"]
    assert [p.id for p in whole.for_comparison(prompt)] == ["worded"]
    assert ruled.revises


def test_a_change_of_the_new_keys_is_a_change() -> None:
    before = constitution(principle(check=Check(max_words=9)), principle("b"))
    conflict = Conflict(between=("a", "b"), prompt="p")
    edited = principle(check=Check(max_words=8), order=2, violation="v")
    change = constitution_change(
        before, constitution(edited, principle("b"), conflicts=(conflict,))
    )
    (principle_change,) = change.edited
    assert set(principle_change.fields) == {"check", "order", "violation"}
    assert change.other == ("conflicts",)
