from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.errors import InputError
from cai.records import messages_as_data
from cai.train.config import resolve_training
from cai.train.data.examples import Example
from cai.train.data.load import load_rows
from cai.train.data.source import read_source
from tests.train.data.rows import (
    asked,
    counted,
    learnt,
    prompts,
    spoken,
    turns,
    words,
)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": " \n"}, "empty answer"),
        ({"rejected": ""}, "empty answer"),
        ({"chosen": turns("user", "a")}, "other prompt"),
        ({"chosen": "b"}, "same answers"),
        ({"chosen": " b "}, "same answers"),  # a template strips it
        ({"chosen_probability": 0.5}, "no preference"),
        ({"chosen_probability": 0}, "no preference"),
        ({"prompt": " "}, "empty prompt"),
        ({"prompt": turns("assistant", "q")}, "other prompt"),
        ({"prompt": turns("tool", "q")}, "tool call"),
        ({"prompt": [{"role": "user"}]}, "null content"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "not text"),
        ({"prompt": [*turns("user", "a"), *turns("user", "b")]}, "doubled turn"),
        ({"prompt": turns("system", "a")}, "no user turn"),
        ({"chosen": [*turns("user", "other"), *turns("assistant", "a")]}, "other prompt"),
        ({"chosen": "\ud800"}, "lone surrogate"),
        ({"id": "\ud800"}, "lone surrogate"),
        ({"prompt": 7}, "wrong type"),
        ({"prompt": []}, "wrong type"),
        ({"prompt": turns("bard", "q")}, "unknown role"),
        ({"prompt": "[{'role': 'user', 'content': 'a'}\n {'role': 'user'}]"}, "unreadable text"),
        ({"rejected": None}, "no column"),
        ({"id": ["a"]}, "bad field"),
        ({"pair_source": True}, "bad field"),
    ],
)
def test_why_a_row_is_dropped(row: dict[str, Any], reason: Any) -> None:
    good = {"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.75}
    rows = [{**good, "prompt": f"q{n}"} for n in range(39)]
    found = counted([*rows, {**good, "prompt": "q", **row}], method="dpo", loss="hard")
    assert found.report.dropped == {reason: 1}
    assert prompts(found) == [row["prompt"] for row in rows]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.8", r"must be a number, not a text \('0\.8'\)"),
        ("80", r"must be a number, not a text \('80'\)"),
        (80, "80 is not from 0 to 1"),
        (1.01, r"1\.01 is not from 0 to 1"),
        (-0.5, r"-0\.5 is not from 0 to 1"),
        (float("nan"), "nan is not from 0 to 1"),
        (float("inf"), "inf is not from 0 to 1"),
        (True, r"must be a number, not true or false \(True\)"),
        ([0.8], "must be a number, not a list"),
    ],
)
def test_a_label_that_is_no_probability_stops_the_run(value: Any, message: str) -> None:
    pairs = [
        {"prompt": f"q{n}", "chosen": "a", "rejected": "b", "chosen_probability": 0.8}
        for n in range(40)
    ]
    pairs[30]["chosen_probability"] = value
    with pytest.raises(InputError, match=message) as caught:
        counted(pairs, method="dpo")
    assert caught.value.where == "rows.jsonl:31: chosen_probability"
    assert "80 per cent is 0.8" in caught.value.hint


def test_some_rows_without_a_label_stop_the_run() -> None:
    pairs = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(4)]
    labelled = [{**row, "chosen_probability": 0.8} for row in pairs]
    for rows, lacks, has in (
        ([*labelled[:3], pairs[3]], 4, 1),
        ([*pairs[:2], *labelled[2:]], 1, 3),
        ([*labelled[:3], {**pairs[3], "chosen_probability": None}], 4, 1),
    ):
        with pytest.raises(InputError) as caught:
            counted(rows, method="dpo")
        assert caught.value.where == f"rows.jsonl:{lacks}"
        assert f"no chosen_probability, and rows.jsonl:{has} has one" in caught.value.message
        assert "in every row" in caught.value.hint
    cells = "prompt,chosen,rejected,chosen_probability\nq,a,b,0.75\np,a,b,\n"
    Path("rows.csv").write_text(cells)
    settings = resolve_training("dpo", {"data": "rows.csv", "loss": "soft"})
    with pytest.raises(InputError, match=r"rows\.csv:3: no chosen_probability"):
        load_rows(settings, words(), Path("cache"))
    Path("rows.csv").write_text(cells.replace("p,a,b,\n", ""))
    found = load_rows(settings, words(), Path("cache"))
    assert found.train["chosen_probability"][:] == [0.75]
    edges = [{**row, "chosen_probability": p} for row, p in zip(pairs, (0.500001, 1), strict=False)]
    assert counted(edges, method="dpo", loss="soft").report.dropped == {}


def hh(*said: str) -> str:
    speakers = ("Human", "Assistant") * len(said)
    return "".join(f"\n\n{who}: {text}" for who, text in zip(speakers, said, strict=False))


TALK = [*turns("user", "a"), *turns("assistant", "b"), *turns("user", "c")]


PAIRS: list[dict[str, Any]] = [
    {"chosen": hh("a", "b", "c", "yes"), "rejected": hh("a", "b", "c", "no")},
    {"prompt": "", "chosen": hh("a", "b", "c", "yes"), "rejected": hh("a", "b", "c", "no")},
    {"prompt": hh("a", "b", "c") + "\n\nAssistant:", "chosen": " yes", "rejected": " no"},
    {"prompt": hh("a", "b", "c"), "chosen": "yes", "rejected": "no"},
    {
        "prompt": hh("a", "b", "c") + "\n\nAssistant:",
        "chosen": hh("a", "b", "c", "yes"),
        "rejected": hh("a", "b", "c", "no"),
    },
    {
        "prompt": TALK,
        "chosen": [*TALK, *turns("assistant", "yes")],
        "rejected": hh("a", "b  ", "c\n", "no"),
    },
    {
        "prompt": json.dumps(TALK),
        "chosen": str([*TALK, *turns("assistant", "yes")]),
        "rejected": turns("assistant", "no"),
    },
    {
        "chosen": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"},
                   {"from": "human", "value": "c"}, {"from": "gpt", "value": "yes"}],
        "rejected": [*TALK, *turns("assistant", "no")],
    },
]  # fmt: skip


@pytest.mark.parametrize("row", PAIRS)
@pytest.mark.parametrize("windows", [False, True])
def test_every_form_of_a_pair_is_the_same_pair(row: dict[str, Any], windows: bool) -> None:
    if windows:
        row = {k: v.replace("\n", "\r\n") if isinstance(v, str) else v for k, v in row.items()}
    found = counted([row], method="dpo", loss="hard")
    assert found.report.dropped == {}
    (row,) = found.train
    assert asked(row) == "user a <end> assistant b <end> user c <end> assistant"
    sides = [spoken(row[name]) for name in ("chosen_ids", "rejected_ids")]
    assert sides == ["yes <end>", "no <end>"]
    assert row["chosen_probability"] == 1.0


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*TALK, *turns("assistant", "yes")]},
        {"messages": json.dumps([*TALK, *turns("assistant", "yes")])},
        {"prompt": None, "completion": None, "messages": [*TALK, *turns("assistant", "yes")]},
        {
            "conversations": [
                {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"},
                {"from": "human", "value": "c"}, {"from": "gpt", "value": "yes"},
            ]
        },
        {"prompt": hh("a", "b", "c"), "completion": "yes"},
        {"prompt": hh("a", "b", "c") + "\n\nAssistant:", "completion": " yes"},
        {"prompt": hh("a", "b", "c"), "completion": hh("a", "b", "c", "yes")},
        {"completion": hh("a", "b", "c", "yes")},
        {"prompt": TALK, "completion": [*TALK, *turns("assistant", "yes")]},
    ],
)  # fmt: skip
def test_every_form_of_a_demonstration_is_the_same_demonstration(row: dict[str, Any]) -> None:
    found = counted([row])
    (made,) = found.train
    assert asked(made) == "user a <end> assistant b <end> user c <end> assistant"
    assert learnt(made) == "yes <end>"


@pytest.mark.parametrize(
    ("prompt", "first"),
    [("q", "q\n"), ("q\r\nr", "q\nr"), ("q  ", "q"), (turns("user", "q\n"), " q ")],
)
def test_white_space_makes_no_other_prompt(prompt: Any, first: str) -> None:
    sides = {
        name: [*turns("user", first), *turns("assistant", text)]
        for name, text in (("chosen", "a"), ("rejected", "b"))
    }
    found = counted([{"prompt": prompt, **sides}], method="dpo", loss="hard")
    assert found.report.dropped == {}
    expected = turns("user", prompt) if isinstance(prompt, str) else prompt
    (example,) = read_source("rows.jsonl", "preferences").train
    assert isinstance(example, Example)
    assert messages_as_data(example.prompt) == expected  # as it is written


def test_a_system_message_of_its_own_column_leads_the_prompt() -> None:
    row = {"system": "Be brief.", "prompt": "q", "chosen": "a", "rejected": "b"}
    found = counted([row], method="dpo", loss="hard")
    assert asked(found.train[0]) == "system Be brief. <end> user q <end> assistant"


def test_a_conversation_is_split_before_its_last_answer() -> None:
    talk = [*turns("user", "a"), *turns("assistant", "b"), *turns("user", "c")]
    found = counted([{"messages": [*talk, *turns("assistant", "d")]}, {"messages": talk}])
    (row,) = found.train
    assert asked(row) == "user a <end> assistant b <end> user c <end> assistant"
    assert learnt(row) == "d <end>"
    assert found.report.dropped == {"empty answer": 1}  # it has none


def test_ids_of_any_kind_of_column(tmp_path: Path) -> None:
    import datetime

    table = pa.table(
        {"prompt": ["q"], "completion": ["a"], "id": [datetime.date(2024, 1, 1)]},
    )
    pq.write_table(table, "rows.parquet")
    settings = resolve_training("sft", {"data": "rows.parquet"})
    with pytest.raises(InputError, match=r"row 1: id: must be text, not a value of type date"):
        load_rows(settings, words(), Path("cache"))
    folder = tmp_path / "hub"
    folder.mkdir()
    pq.write_table(table.set_column(2, "id", pa.array([7])), folder / "train.parquet")
    settings = resolve_training("sft", {"data": f"hf:{folder}"})
    assert prompts(load_rows(settings, words(), Path("cache"))) == ["q"]
