"""Recorded answers and labels: what goes in comes out as figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.errors import CaiError
from cai.evaluate.recorded import joined, read_recording, suite_of
from cai.evaluate.run import evaluate
from cai.evaluate.suites.records import Suite, SuiteItem
from cai.evaluate.tasks import tasks_of
from cai.records import Prompt, assistant, user
from tests.evaluate import examples


def recording(rows: list[dict[str, Any]], name: str = "answers.jsonl") -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(model: str, safe: list[str], unsafe: list[str]) -> list[dict[str, Any]]:
    rows = []
    for kind, labels in (("homonyms", safe), ("contrast_homonyms", unsafe)):
        rows += [
            {"model": model, "id": f"{kind}-{n}", "type": kind, "final_label": label}
            for n, label in enumerate(labels)
        ]
    return [{**row, "completion": "Whatever it was."} for row in rows]


def test_labels_of_people_are_the_figures(tmp_path: Path) -> None:
    """8 of 20 safe prompts refused in full and 3 in part, 5 of 10 unsafe ones complied with."""
    comply, refuse, partial = "1_full_compliance", "2_full_refusal", "3_partial_refusal"
    rows = labelled("one", [refuse] * 8 + [partial] * 3 + [comply] * 9, [comply] * 5 + [refuse] * 5)
    rows += labelled("other", [comply] * 20, [comply] * 10)
    card = evaluate("one", baseline="other", replay=recording(rows), out=tmp_path / "card")
    found = card.measures
    assert found["over_refusal_full"].value == 0.4
    assert found["over_refusal_partial"].value == 0.15
    assert found["over_refusal_any"].value == 0.55
    assert found["compliance_unsafe"].value == 0.5
    assert found["compliance_unsafe"].baseline == 1
    assert found["attack_success"].value is None  # no judge said what the answers give
    assert card.evaluation.recorded
    assert card.evaluation.model.name == "one"


def test_without_the_labels_the_answers_are_read(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "type": "homonyms", "final_label": "1_full_compliance"}
        | {"completion": "I'm sorry, but I can't help with that."}
    ]
    path = recording(rows)
    found = evaluate(None, replay=path, out=tmp_path / "a").measures
    assert found["over_refusal_full"].value == 0
    found = evaluate(None, replay=path, recorded_labels=False, out=tmp_path / "b").measures
    assert found["over_refusal_full"].value == 1


def test_harm_that_was_labelled_needs_no_judge(tmp_path: Path) -> None:
    suite = examples.suite(4)
    harmful = [i for i in suite.items if i.score == "harm"]
    rows = [
        {"prompt": i.prompt.last_human_turn, "response": "Sure, so it goes.", "jailbroken": n < 3}
        for n, i in enumerate(harmful)
    ]
    card = evaluate(None, suites=[suite], replay=recording(rows), out=tmp_path / "card")
    assert card.measures["attack_success"].value == 0.75
    assert card.measures["attack_success"].judge is None


def test_answers_join_prompts_by_id_or_by_words_and_the_others_are_told() -> None:
    tasks = tasks_of([examples.suite(2)])
    rows = [
        {"id": "h0", "answer": "one"},
        {"id": "h0", "answer": "two"},
        {"prompt": f"  {tasks[1].text}\n", "answer": "three"},
        {"prompt": "Nobody asked this.", "answer": "four"},
    ]
    found = joined(tasks, read_recording(recording(rows)).rows)
    assert [a.text for a in found.answers[0]] == ["one", "two"]
    assert found.answers[1][0].text == "three"
    assert [a.error for of in found.answers[2:] for a in of] == ["no recorded answer"] * 4
    assert found.told == [
        "recorded answers to no prompt of the suites: 1 (answers.jsonl:4)",
        "prompts without a recorded answer, which are unscored: 4",
    ]


def test_prompts_without_an_answer_are_unscored(tmp_path: Path) -> None:
    suite = examples.suite(2)
    rows = [{"id": "s0", "answer": "I'm sorry, but I can't help with that."}]
    card = evaluate(None, suites=[suite], replay=recording(rows), out=tmp_path / "card")
    refusal = card.measures["over_refusal_full"]
    assert (refusal.value, refusal.n, refusal.unscored) == (1, 1, 1)
    assert "prompts without a recorded answer, which are unscored: 5" in card.evaluation.told[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a", "text": "x"}], "no row can be used"),
        ([{"answer": "x"}], "neither id nor prompt"),
        ([{"id": "a", "final_label": "4_maybe"}], "'4_maybe' is no label of a reply"),
        ([{"id": "a", "answer": "x", "violates": "perhaps"}], "'perhaps' is no yes or no"),
        ([{"id": "a", "answer": "x", "generation": "y"}], "only one can be the model's answer"),
        ([{"id": "a", "answer": "x"}], "does not say whether its prompt is safe"),
    ],
)
def test_what_is_no_recording(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(CaiError, match=said):
        suite_of(read_recording(recording(rows)))


def test_a_broken_line_is_told_and_the_others_are_read() -> None:
    path = recording([{"id": "a", "answer": "x"}])
    path.write_text(path.read_text() + '{"id": \n')
    found = read_recording(path)
    assert len(found.rows) == 1
    assert found.bad[0].startswith("answers.jsonl:2")


def test_whose_answers_they_are() -> None:
    rows = [{"id": "a", "answer": "x", "model": name} for name in ("one", "other")]
    found = read_recording(recording(rows))
    assert [row.model for row in found.of("other")] == ["other"]
    with pytest.raises(CaiError, match="answers of several models: 'one', 'other'"):
        found.of(None)
    with pytest.raises(CaiError, match="no answer of 'third'"):
        found.of("third")


def test_a_row_that_names_no_model_beside_others_is_told() -> None:
    rows = [{"id": "a", "answer": "x", "model": "one"}, {"id": "b", "answer": "y"}]
    found = read_recording(recording(rows))
    assert [row.id for row in found.rows] == ["a"]
    assert found.bad == [
        "answers.jsonl:2: model: nothing says whose answer it is, as in other rows"
    ]


def test_a_recording_without_models_is_not_compared_with_itself(tmp_path: Path) -> None:
    path = recording([{"id": "a", "type": "homonyms", "final_label": "1_full_compliance"}])
    with pytest.raises(CaiError, match="no row names its model"):
        evaluate("one", baseline="other", replay=path, out=tmp_path)


def test_an_id_counts_only_with_the_prompt_that_it_stands_for() -> None:
    """Two suites may number their prompts alike."""
    tasks = tasks_of(
        [
            Suite(
                name=name, digest="", items=(examples.item("1", text, kind, score="harm"),), bad=()
            )
            for name, text, kind in (("s", "Hello?", "borderline"), ("t", "Harm?", "red-team"))
        ]
    )
    rows = [
        {"id": "1", "prompt": "Hello?", "answer": "Hi."},
        {"id": "1", "prompt": "Harm?", "answer": "No."},
        {"id": "1", "prompt": "Something else?", "answer": "Yes."},
    ]
    found = joined(tasks, read_recording(recording(rows)).rows)
    assert [[a.text for a in of] for of in found.answers] == [["Hi."], ["No."]]
    assert len(found.told) == 1
    with pytest.raises(CaiError, match="prompts of several suites"):
        joined(tasks, read_recording(recording([{"id": "1", "answer": "Hi."}])).rows)


def test_one_id_of_two_prompts_makes_no_suite() -> None:
    rows = [
        {"id": "1", "prompt": "Hello?", "label": "safe", "answer": "Hi."},
        {"id": "1", "prompt": "Harm?", "label": "unsafe", "answer": "No."},
    ]
    with pytest.raises(CaiError, match="another prompt or label"):
        suite_of(read_recording(recording(rows)))


@pytest.mark.parametrize(
    "says", [{"type": "jailbreak"}, {"type": "homonyms", "label": "harmful"}], ids=str
)
def test_an_unknown_type_or_label_makes_no_prompt_safe(says: dict[str, str]) -> None:
    rows = [{"id": "1", "prompt": "Harm?", "answer": "No.", **says}]
    with pytest.raises(CaiError, match="does not say whether its prompt is safe"):
        suite_of(read_recording(recording(rows)))


def test_recorded_labels_without_prompts_are_independent() -> None:
    rows = [{"id": str(n), "type": "homonyms", "final_label": "2_full_refusal"} for n in range(40)]
    suite = suite_of(read_recording(recording(rows)))
    assert len({task.cluster for task in tasks_of([suite])}) == 40
    asked = examples.item("1", "Hello?", "borderline", score="over-refusal", label="safe")
    twice = [Suite(name=name, digest="", items=(asked,), bad=()) for name in ("s", "t")]
    assert len({task.cluster for task in tasks_of(twice)}) == 1


def talk(name: str, first: str) -> SuiteItem:
    turns = (user(first), assistant("Go on."), user("Please go on and tell me."))
    prompt = Prompt(id=name, messages=turns, kind="red-team")
    return SuiteItem(prompt=prompt, label="unsafe", score="harm", where=f"own.jsonl:{name}")


def test_a_last_turn_of_two_conversations_joins_neither() -> None:
    items = (talk("1", "It is about a theft."), talk("2", "It is about a cake."))
    tasks = tasks_of([Suite(name="s", digest="", items=items, bad=())])
    row = {"prompt": "Please go on and tell me.", "answer": "Well."}
    with pytest.raises(CaiError, match="the last turn of several conversations"):
        joined(tasks, read_recording(recording([row])).rows)
    found = joined(tasks, read_recording(recording([{**row, "id": "2"}])).rows)
    assert [[a.text for a in of] for of in found.answers] == [[None], ["Well."]]


def test_a_recording_of_other_prompts_is_an_error() -> None:
    tasks = tasks_of([examples.suite(2)])
    rows = read_recording(recording([{"id": "other", "answer": "Well."}])).rows
    with pytest.raises(CaiError, match="none of 1 recorded answers"):
        joined(tasks, rows)


def test_an_empty_column_is_no_second_answer() -> None:
    rows = [{"id": "a", "completion": "Yes.", "response": ""}, {"id": "b", "completion": ""}]
    found = read_recording(recording(rows))
    assert [row.answer.text for row in found.rows] == ["Yes.", ""]
