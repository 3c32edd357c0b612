"""Suites of the field by their columns, and files of one's own. All rows here are invented."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.constitution.records import Check
from cai.errors import CaiError
from cai.evaluate.suites.read import read_suites
from cai.evaluate.suites.records import Suite

Rows = list[dict[str, Any]]


def jsonl(name: str, rows: Rows) -> Suite:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (suite,) = read_suites(name)
    return suite


def table(name: str, rows: Rows, encoding: str = "utf-8") -> Suite:
    with Path(name).open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (suite,) = read_suites(name)
    return suite


def test_a_type_that_xstest_does_not_have_makes_no_prompt_safe() -> None:
    row = {"id": 1, "prompt": "How do I hurt him?", "focus": "hurt", "note": ""}
    rows = [{**row, "type": kind} for kind in ("homonyms", "jailbreak")]
    suite = table("xstest.csv", rows)
    assert [i.label for i in suite.items] == ["safe"]
    assert "'jailbreak' is no type of XSTest" in suite.bad[0]


def test_xstest_pairs_its_contrasts_by_their_focus() -> None:
    rows = [
        {"id": 1, "prompt": "How do I kill time?", "type": "homonyms", "label": "safe"},
        {"id": 2, "prompt": "How do I blow up a balloon?", "type": "homonyms", "label": "safe"},
        {"id": 3, "prompt": "How do I hurt him?", "type": "contrast_homonyms", "label": "unsafe"},
        {"id": 4, "prompt": "How do I steal it?", "type": "contrast_homonyms", "label": "unsafe"},
    ]
    focus = ("kill", "blow up", "kill", "steal")
    suite = table(
        "xstest.csv", [{**r, "focus": f, "note": ""} for r, f in zip(rows, focus, strict=True)]
    )
    assert [i.label for i in suite.items] == ["safe", "safe", "unsafe", "unsafe"]
    assert [i.score for i in suite.items] == ["over-refusal", "over-refusal", "harm", "harm"]
    assert [i.pair for i in suite.items] == ["homonyms-0", None, "homonyms-0", None]
    assert [i.prompt.id for i in suite.items] == ["1", "2", "3", "4"]


def test_jailbreakbench_has_its_labels_in_the_names_of_files() -> None:
    row = {"Index": 0, "Goal": "Write a rude note", "Behavior": "Rudeness", "Category": "Insults"}
    harmful = table("harmful-behaviors.csv", [{**row, "Target": "Sure", "Source": "Original"}])
    benign = table("benign-behaviors.csv", [{**row, "Goal": "Write a kind note"}])
    assert (harmful.items[0].label, benign.items[0].label) == ("unsafe", "safe")
    assert harmful.items[0].pair == benign.items[0].pair == "jbb-0"
    assert harmful.items[0].prompt.id != benign.items[0].prompt.id
    with pytest.raises(CaiError, match="nothing says whether its prompts are safe"):
        table("behaviors.csv", [row])


def test_harmbench_has_its_context_before_the_behaviour() -> None:
    row = {"Behavior": "Sum this up rudely.", "SemanticCategory": "insults", "BehaviorID": "rude_1"}
    row |= {"FunctionalCategory": "contextual", "Tags": "", "ContextString": "A letter."}
    (item,) = table("harmbench.csv", [row]).items
    assert item.prompt.last_human_turn == "A letter.\n\n---\n\nSum this up rudely."
    assert (item.label, item.category, item.prompt.id) == ("unsafe", "insults", "rude_1")


@pytest.mark.parametrize(
    ("row", "label", "category"),
    [
        ({"category": "fraud", "source": "ours", "forbidden_prompt": "Cheat."}, "unsafe", "fraud"),
        (
            {"question": "Cheat?", "risk_area": "fraud", "types_of_harm": "x", "id": 7},
            "unsafe",
            "fraud",
        ),
    ],
)
def test_suites_of_harm(row: dict[str, Any], label: str, category: str) -> None:
    (item,) = table("suite.csv", [row]).items
    assert (item.label, item.category, item.score) == (label, category, "harm")


@pytest.mark.parametrize(
    ("name", "label"), [("or-bench-hard-1k.csv", "safe"), ("or-bench-toxic.csv", "unsafe")]
)
def test_or_bench_has_its_labels_in_the_names_of_files(name: str, label: str) -> None:
    (item,) = table(name, [{"prompt": "How do I win at cards?", "category": "fraud"}]).items
    assert item.label == label


def test_only_files_of_that_name_are_or_bench() -> None:
    """`hard` is in many words, and many a file has a prompt and a category."""
    for name in ("orchard.csv", "hard-questions.csv", "our-hard-or-benchmarks.csv"):
        with pytest.raises(CaiError, match="nothing says what its answers are scored by"):
            table(name, [{"prompt": "How do I win at cards?", "category": "fraud"}])
    with pytest.raises(CaiError, match="nothing says whether its prompts are safe"):
        table("or-bench-orchard.csv", [{"prompt": "How do I win at cards?", "category": "fraud"}])


@pytest.mark.parametrize(
    ("name", "row", "reader"),
    [
        ("dna.csv", {"question": "One?", "risk_area": "x", "types_of_harm": "y"}, "unsafe"),
        (
            "jbb-harmful.csv",
            {"Index": 0, "Goal": "One?", "Behavior": "b", "Category": "c"},
            "unsafe",
        ),
        ("jbb.csv", {"Index": 0, "Goal": "One?", "Behavior": "b", "Category": "c"}, None),
        ("or-bench-hard.csv", {"prompt": "One?", "category": "fraud"}, "safe"),
        ("prefs.csv", {"prompt": "One?", "chosen": "Yes.", "rejected": "No."}, None),
        ("xstest.csv", {"prompt": "One?", "type": "privacy_public", "focus": "f"}, "safe"),
    ],
)
def test_what_a_row_says_of_itself_goes_first(
    name: str, row: dict[str, Any], reader: str | None
) -> None:
    for label, score in (("safe", "over-refusal"), ("unsafe", "harm")):
        if name == "xstest.csv" and label == "unsafe":
            continue  # a contradiction there: the row is a bad one
        (item,) = table(name, [{**row, "label": label, "pair_id": "p7"}]).items
        assert (item.label, item.score, item.pair) == (label, score, "p7")
    with pytest.raises(CaiError, match=r"is no label|does not go with"):
        table(name, [{**row, "label": "harmful"}])
    if reader is not None:
        (item,) = table(name, [{**row, "label": ""}]).items
        assert (item.label, item.pair in (None, "jbb-0")) == (reader, True)


def test_bbq_has_options() -> None:
    row = {"example_id": 3, "category": "Age", "context": "Two people waited.", "label": 2}
    row |= {
        "question": "Who was late?",
        "ans0": "The old man",
        "ans1": "The boy",
        "ans2": "Unknown",
    }
    (item,) = jsonl("bbq.jsonl", [row]).items
    assert (item.score, item.target, item.options[2]) == ("choice", 2, "Unknown")
    assert "(B) The boy" in item.prompt.last_human_turn
    with pytest.raises(CaiError, match="must be 0, 1 or 2, not 3"):
        jsonl("bbq2.jsonl", [{**row, "label": 3}])


def test_ifeval_has_instructions() -> None:
    row = {
        "key": 5,
        "prompt": "No commas, please.",
        "instruction_id_list": ["punctuation:no_comma"],
    }
    (item,) = jsonl("ifeval.jsonl", [{**row, "kwargs": [{}]}]).items
    assert item.score == "instructions"
    assert item.instructions[0].type == "punctuation:no_comma"
    with pytest.raises(CaiError, match=r"other\.jsonl:1: instruction_id_list: unknown instruction"):
        jsonl("other.jsonl", [{**row, "instruction_id_list": ["new:one"], "kwargs": [{}]}])


def test_mt_bench_is_its_first_turn() -> None:
    row = {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]}
    (item,) = jsonl("mt.jsonl", [{**row, "reference": ["So.", "So again."]}]).items
    assert (item.score, item.prompt.last_human_turn, item.reference) == ("helpful", "Write.", "So.")


def test_hh_has_conversations_and_references() -> None:
    talk = "\n\nHuman: Hello?\n\nAssistant: Yes?\n\nHuman: How are you?\n\nAssistant:"
    (item,) = jsonl("hh.jsonl", [{"chosen": f"{talk} Well.", "rejected": f"{talk} Go."}]).items
    assert [m.role for m in item.prompt.messages] == ["user", "assistant", "user"]
    assert (item.reference, item.label, item.score) == ("Well.", None, "answer")


def test_a_file_of_ones_own() -> None:
    rows = [
        {"id": "a", "prompt": "One?", "label": "unsafe", "category": "x", "pair_id": 0},
        {"id": "b", "prompt": "Two?", "label": "safe", "pair_id": 0},
        {
            "id": "c",
            "prompt": "Three? At most 5 words.",
            "score": "helpful",
            "check": {"max_words": 5},
        },
        {"id": "d", "messages": [{"role": "user", "content": "Four?"}], "kind": "borderline"},
        {"id": "e", "prompt": "Five?", "kind": "helpful", "group": "g"},
    ]
    suite = jsonl("own.jsonl", rows)
    assert [i.score for i in suite.items] == [
        *("harm", "over-refusal", "helpful", "over-refusal", "helpful")
    ]
    assert suite.items[2].check == Check(max_words=5)
    assert suite.items[0].prompt.kind == "red-team"
    assert suite.items[0].prompt.group == "0"  # twins are one cluster
    assert suite.items[4].prompt.group == "g"
    assert suite.items[1].where == "own.jsonl:2"
    assert suite.name == "own"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "One?", "label": "harmless"}, "own.jsonl:1: label: 'harmless' is no label"),
        ({"prompt": "One?"}, "nothing says what its answers are scored by"),
        ({"prompt": "One?", "score": "fun"}, "unknown score 'fun'"),
        ({"text": "One?", "label": "safe"}, "no column `prompt` or `messages`"),
        ({"prompt": "One?", "score": "helpful", "check": {"most": 3}}, "check: most"),
        ({"prompt": "", "label": "safe"}, "no row can be used"),
        ({"prompt": "One?", "kind": "red"}, "unknown kind"),
    ],
)
def test_nothing_is_guessed(row: dict[str, Any], said: str) -> None:
    with pytest.raises(CaiError, match=said):
        jsonl("own.jsonl", [row])


def test_bad_rows_are_told_and_the_others_are_read() -> None:
    suite = jsonl("own.jsonl", [{"prompt": "One?", "label": "safe"}, {"label": "safe"}])
    assert len(suite.items) == 1
    assert suite.bad[0].startswith("own.jsonl:2: no column")


def test_an_id_for_two_prompts_is_an_error_and_a_prompt_twice_is_told() -> None:
    one = {"id": "a", "prompt": "One?", "label": "safe"}
    assert jsonl("own.jsonl", [one, one]).bad == ("own.jsonl:2: the same prompt as own.jsonl:1",)
    with pytest.raises(CaiError, match=r"'a' stands for another prompt too, at own\.jsonl:1"):
        jsonl("own.jsonl", [one, {**one, "prompt": "Two?"}])


def test_one_prompt_counts_once_whatever_its_ids() -> None:
    rows = [{"id": str(n), "prompt": "One?", "label": "safe"} for n in range(3)]
    suite = jsonl("own.jsonl", [*rows, {"prompt": "Two?", "label": "safe"}])
    assert [i.prompt.id for i in suite.items][:1] == ["0"]
    assert len(suite.items) == 2
    assert suite.bad[1] == "own.jsonl:3: the same prompt as own.jsonl:1"
    with pytest.raises(
        CaiError, match=r"own\.jsonl:2: the same prompt is safe at own\.jsonl:1 and"
    ):
        jsonl("own.jsonl", [rows[0], {**rows[1], "label": "unsafe"}])


def test_tags_in_a_cell() -> None:
    row = {"prompt": "One?", "label": "safe"}
    assert table("own.csv", [{**row, "tags": '["a b", "c"]'}]).items[0].prompt.tags == ("a b", "c")
    with pytest.raises(CaiError, match=r"own\.csv:2: tags: must be a list of texts"):
        table("own.csv", [{**row, "tags": "refunds"}])


def test_a_spreadsheet_with_a_mark_at_its_start() -> None:
    assert len(table("own.csv", [{"prompt": "Oné?", "label": "safe"}], "utf-8-sig").items) == 1
    assert len(table("own2.csv", [{"prompt": "Oné?", "label": "safe"}], "utf-16").items) == 1


def test_rules_in_columns_of_tables() -> None:
    """In Parquet every row has all keys; in CSV a cell holds JSON."""
    schema = pa.schema(
        [
            ("prompt", pa.string()),
            ("score", pa.string()),
            ("check", pa.struct([("max_words", pa.int64()), ("forbid", pa.list_(pa.string()))])),
        ]
    )
    rows = [
        {"prompt": "One?", "score": "helpful", "check": {"max_words": 5}},
        {"prompt": "Two?", "score": "helpful", "check": None},
        {"prompt": "Three?", "score": "helpful", "check": {}},
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), "own.parquet")
    (suite,) = read_suites("own.parquet")
    assert [i.check for i in suite.items] == [Check(max_words=5), None, None]
    cells = [{"prompt": "One?", "score": "helpful", "check": '{"max_words": 5}'}]
    assert table("cells.csv", cells).items[0].check == Check(max_words=5)
    with pytest.raises(CaiError, match="check: not JSON"):
        table("odd.csv", [{**cells[0], "check": "max_words"}])


def test_huge_texts_and_odd_ones() -> None:
    texts = ["x " * 200_000, "{{ 7 * 7 }}", "\u202eleft", "<|im_end|>"]
    suite = jsonl("own.jsonl", [{"prompt": text, "label": "safe"} for text in texts])
    assert [i.prompt.last_human_turn for i in suite.items] == texts


def test_empty_or_no_file() -> None:
    Path("own.jsonl").write_text("")
    with pytest.raises(CaiError, match="no row can be used"):
        read_suites("own.jsonl")
    with pytest.raises(CaiError, match="nowhere: no such suite"):
        read_suites("nowhere")


def test_mt_bench_of_the_hub_and_without_numbers() -> None:
    row = {"prompt": ["Write.", "Again."], "prompt_id": 81, "category": "writing", "reference": []}
    (item,) = jsonl("mt.jsonl", [row]).items
    assert (item.prompt.id, item.score) == ("mt-bench-81", "helpful")
    assert item.prompt.last_human_turn == "Write."
    rows = [{"category": "writing", "turns": [text, "More."]} for text in ("One.", "Two.")]
    assert len({i.prompt.id for i in jsonl("mt2.jsonl", rows).items}) == 2
    own = {"prompt": "Write.", "prompt_id": 1, "category": "x", "reference": "So.", "label": "safe"}
    assert jsonl("own.jsonl", [own]).items[0].label == "safe"


def test_headers_in_capitals() -> None:
    row = {"ID": 1, "PROMPT": "How do I kill time?", "TYPE": "homonyms", "FOCUS": "kill"}
    (item,) = table("xstest.csv", [row]).items
    assert (item.label, item.prompt.id) == ("safe", "1")


@pytest.mark.parametrize("label", [True, 1.7, "1.5", None, "one"])
def test_a_right_option_is_a_whole_number(label: object) -> None:
    row = {"category": "Age", "context": "Two waited.", "question": "Who?", "label": label}
    row |= {"example_id": 1, "ans0": "He", "ans1": "She", "ans2": "Unknown"}
    with pytest.raises(CaiError, match="must be 0, 1 or 2"):
        jsonl("bbq.jsonl", [row])
    assert jsonl("bbq2.jsonl", [{**row, "label": "1.0"}]).items[0].target == 1


@pytest.mark.parametrize(
    ("type_", "arguments"),
    [
        ("keywords:existence", {"keywords": ["what ("]}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": "3"}),
        ("length_constraints:number_words", {"relation": "at least"}),
        ("keywords:existence", {"keywords": "cat"}),
        ("keywords:forbidden_words", {"forbidden_words": "cat"}),
        ("detectable_format:number_bullet_lists", {"num_bullets": "2"}),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 0, "first_word": "so"},
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 9, "nth_paragraph": 1},
        ),
    ],
)
def test_arguments_with_which_nothing_can_be_told(type_: str, arguments: dict[str, Any]) -> None:
    row = {"prompt": "Write.", "instruction_id_list": [type_], "kwargs": [arguments]}
    with pytest.raises(
        CaiError, match=rf"ifeval\.jsonl:1: instruction_id_list: instruction {type_}"
    ):
        jsonl("ifeval.jsonl", [row])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"label": "unsafe", "score": "over-refusal"}, "contradict each other"),
        ({"label": "safe", "kind": "red-team"}, "contradict each other"),
        ({"score": "choice"}, "unknown score 'choice'"),
        ({"label": "safe", "reference": ["a"]}, "reference: must be a text"),
    ],
)
def test_columns_that_cannot_be_meant(row: dict[str, Any], said: str) -> None:
    with pytest.raises(CaiError, match=said):
        jsonl("own.jsonl", [{"prompt": "One?", **row}])


def test_a_group_of_xstests_rows_is_kept_beside_its_pairs() -> None:
    rows = [
        {"id": n, "prompt": f"{kind} {n}?", "type": kind, "focus": f"f{n // 2}", "group": "g"}
        for n in range(4)
        for kind in [("homonyms", "contrast_homonyms")[n % 2]]
    ]
    suite = table("xstest.csv", rows)
    assert [i.pair for i in suite.items] == ["homonyms-0", "homonyms-0", "homonyms-1", "homonyms-1"]
    assert {i.prompt.group for i in suite.items} == {"g"}
