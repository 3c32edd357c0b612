"""Reading labelled pairs: every form, what is set aside and why, what is refused and where."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cai
from cai.checks.pairs import LabelledPair, Skipped, read_pairs
from cai.constitution import load
from cai.engines.scripted import ScriptedEngine
from cai.errors import InputError
from cai.files import constitutions_dir, pairs_file

FAST = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Any text that UTF-8 can hold, is not blank, and is not in the form of a transcript.
TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda t: t.strip() and not t.lstrip().startswith("Human:")
)
COLUMNS = ("id", "prompt", "chosen", "rejected", "prompt_kind", "kind", "difficulty")
PAIR = {"prompt": "Why?", "chosen": "Because of rain.", "rejected": "No idea."}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_jsonl(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path: Path, *rows: list[str], dialect: str = "excel") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, dialect=dialect).writerows(rows)
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return path


def one(path: Path) -> LabelledPair:
    (pair,), skipped = read_pairs(path)
    assert skipped == []
    return pair


def said(pair: LabelledPair) -> tuple[list[tuple[str, str]], str, str]:
    return [(m.role, m.content) for m in pair.prompt.messages], pair.chosen, pair.rejected


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def hh(question: str, answer: str | None = None) -> str:
    return f"\n\nHuman: {question}" + (f"\n\nAssistant: {answer}" if answer is not None else "")


def error_of(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_pairs(path)
    assert caught.value.hint, "an error says what to do"
    return caught.value


def set_aside(tmp_path: Path, row: dict[str, Any]) -> str:
    """Why a row is no pair; the pair before it stays."""
    path = write_jsonl(tmp_path / "a.jsonl", PAIR, row)
    (pair,), (skipped,) = read_pairs(path)
    assert pair.chosen == PAIR["chosen"]
    assert skipped.where == f"{path}:2"
    return skipped.why


# Forms


def test_texts_with_all_fields(tmp_path: Path) -> None:
    full = PAIR | {"id": 7, "prompt_kind": "helpful", "kind": "facts", "difficulty": "easy"}
    pair = one(write_jsonl(tmp_path / "a.jsonl", full))
    assert said(pair) == ([("user", "Why?")], "Because of rain.", "No idea.")
    assert (pair.prompt.id, pair.prompt.kind) == ("7", "helpful")
    assert (pair.kind, pair.difficulty) == ("facts", "easy")


def test_fields_that_are_left_out_or_empty(tmp_path: Path) -> None:
    bare = one(write_jsonl(tmp_path / "a.jsonl", PAIR))
    empty = dict.fromkeys(("id", "prompt_kind", "kind", "difficulty"), "")
    assert one(write_jsonl(tmp_path / "a.jsonl", PAIR | empty)) == bare
    assert (bare.prompt.kind, bare.kind, bare.difficulty) == ("red-team", None, None)
    swapped = PAIR | {"chosen": PAIR["rejected"], "rejected": PAIR["chosen"]}
    other = one(write_jsonl(tmp_path / "a.jsonl", swapped))
    assert other.prompt.id != bare.prompt.id  # it is of the answers too


def test_messages(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Be brief."}, user("Hi"), assistant("Hello"), user("Ho")]
    yes, no = assistant("Yes"), assistant("No")
    expected = ([(m["role"], m["content"]) for m in talk], "Yes", "No")
    for row in (
        {"prompt": talk, "chosen": [yes], "rejected": [no]},
        {"prompt": talk, "chosen": "Yes", "rejected": "No"},
        {"chosen": [*talk, yes], "rejected": [*talk, no]},
        {"prompt": None, "chosen": [*talk, yes], "rejected": [*talk, no]},
        {"prompt": talk, "chosen": [*talk, yes], "rejected": [*talk, no]},
    ):
        assert said(one(write_jsonl(tmp_path / "a.jsonl", row))) == expected
        columns = {name: [value] for name, value in row.items()}
        assert said(one(write_parquet(tmp_path / "a.parquet", columns))) == expected


def test_a_text_prompt_with_whole_conversations_as_sides(tmp_path: Path) -> None:
    row = {
        "prompt": "Hi",
        "chosen": [user("Hi"), assistant("Yes")],
        "rejected": [user("Hi"), assistant("No")],
    }
    assert said(one(write_jsonl(tmp_path / "a.jsonl", row))) == ([("user", "Hi")], "Yes", "No")
    row["rejected"] = [user("Ho"), assistant("No")]
    assert "same conversation" in set_aside(tmp_path, row)


TALK = "\n\nHuman: One\n\nAssistant: Two\n\nHuman: Say\n\nHuman: it"


def test_transcripts(tmp_path: Path) -> None:
    row = {"chosen": f"{TALK}\n\nAssistant: Yes ", "rejected": f"{TALK}\n\nAssistant:  No\n\nno"}
    turns = [("user", "One"), ("assistant", "Two"), ("user", "Say\n\nit")]
    expected = (turns, "Yes", "No\n\nno")
    assert said(one(write_jsonl(tmp_path / "a.jsonl", row))) == expected
    row = {"prompt": f"{TALK}\n\nAssistant:", "chosen": " Yes", "rejected": " No\n\nno"}
    assert said(one(write_jsonl(tmp_path / "a.jsonl", row))) == expected


def test_an_empty_cell_of_a_prompt_leaves_the_transcripts(tmp_path: Path) -> None:
    cells = ["", hh("a", "b"), hh("a", "c")]
    path = write_csv(tmp_path / "a.csv", ["prompt", "chosen", "rejected"], cells)
    assert said(one(path)) == ([("user", "a")], "b", "c")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"chosen": hh("a", "b"), "rejected": hh("A", "c")}, "the same conversation"),
        ({"chosen": hh("a", "b"), "rejected": "c"}, "the same conversation"),
        ({"chosen": hh("a", "b"), "rejected": hh("a", "")}, "an answer is empty"),
        ({"chosen": hh("a"), "rejected": hh("a", "b")}, "an answer is empty"),
        ({"chosen": hh("", "b"), "rejected": hh("", "c")}, "the prompt is empty"),
        (PAIR | {"chosen": ""}, "an answer is empty"),
        (PAIR | {"rejected": " \n"}, "an answer is empty"),
        (PAIR | {"rejected": [user("Why?")]}, "an answer is empty"),
        (PAIR | {"prompt": ""}, "the prompt is empty"),
        (PAIR | {"prompt": " \n"}, "the prompt is empty"),
        (PAIR | {"prompt": [user("")]}, "the prompt is empty"),
        (PAIR | {"rejected": " Because of rain.\n"}, "the answers are the same"),
        (PAIR, "there already"),
        (PAIR | {"chosen": [assistant("a"), assistant("b")]}, "two turns of the assistant"),
        ({side: [{"role": "system", "content": "s"}, assistant(side)]
          for side in ("chosen", "rejected")}, "there is no user turn"),
        ({side: [user("a"), {"role": "system", "content": "s"}, assistant(side)]
          for side in ("chosen", "rejected")}, "ends with a turn of role 'system'"),
        *[(PAIR | {name: "\ud800"}, "surrogate") for name in COLUMNS if name != "prompt_kind"],
        (PAIR | {"chosen": [assistant("\udfff")]}, "surrogate"),
    ],
)  # fmt: skip
def test_rows_that_are_set_aside(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    assert why in set_aside(tmp_path, row)


def test_a_file_in_which_all_is_set_aside_is_an_error(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", PAIR | {"chosen": ""})
    error = error_of(path)
    assert error.where == str(path)
    assert f"{path}:1: an answer is empty" in error.message


def test_one_id_for_two_pairs_is_an_error(tmp_path: Path) -> None:
    named = PAIR | {"id": "a"}
    path = write_jsonl(tmp_path / "a.jsonl", named, named, named | {"chosen": "Rain."})
    error = error_of(path)
    assert error.where == f"{path}:3: id"
    assert "'a' is another pair's" in error.message
    path = write_jsonl(tmp_path / "a.jsonl", named, PAIR | {"id": "b"}, named)
    pairs, skipped = read_pairs(path)
    assert [p.prompt.id for p in pairs] == ["a", "b"]
    assert skipped == [Skipped(where=f"{path}:3", why="a pair that was there already")]


# Text and files


@FAST
@given(TEXT, TEXT, TEXT)
def test_texts_are_the_same_from_jsonl_csv_and_parquet(
    tmp_path: Path, prompt: str, chosen: str, rejected: str
) -> None:
    if chosen.strip() == rejected.strip():
        return
    row = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "kind": "k"}
    pair = one(write_jsonl(tmp_path / "a.jsonl", row))
    assert said(pair) == ([("user", prompt)], chosen.strip(), rejected.strip())
    cells = [list(row), list(row.values())]
    columns = {name: [value] for name, value in row.items()}
    assert one(write_csv(tmp_path / "a.csv", *cells)) == pair
    assert one(write_csv(tmp_path / "a.tsv", *cells, dialect="excel-tab")) == pair
    assert one(write_parquet(tmp_path / "a.parquet", columns)) == pair


def test_the_shipped_pairs_through_csv_and_parquet(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pairs_file().read_text(encoding="utf-8").splitlines()]
    expected = read_pairs(pairs_file())
    cells = [[row[name] for name in COLUMNS] for row in rows]
    assert read_pairs(write_csv(tmp_path / "a.csv", list(COLUMNS), *cells)) == expected
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    assert read_pairs(write_parquet(tmp_path / "a.parquet", columns)) == expected


def test_other_columns_play_no_part(tmp_path: Path) -> None:
    pair = one(write_jsonl(tmp_path / "a.jsonl", PAIR | {"score": 1.5, "messages": "x"}))
    columns = {name: [value] for name, value in PAIR.items()}
    assert one(write_parquet(tmp_path / "a.parquet", columns | {"image": [b"\xff"]})) == pair
    cells = [[*PAIR, "question", "text"], [*PAIR.values(), "x", "y"]]
    assert one(write_csv(tmp_path / "a.csv", *cells)) == pair


def test_gzip_a_bom_capitals_and_blank_lines(tmp_path: Path) -> None:
    pair = one(write_jsonl(tmp_path / "a.jsonl", PAIR))
    line = json.dumps(PAIR)
    assert one(write(tmp_path / "A.JSONL.GZ", gzip.compress(line.encode()))) == pair
    assert one(write(tmp_path / "b.json", f"\ufeff{line}\n\n")) == pair
    table = "\ufeffprompt,chosen,rejected\r\n\r\n" + ",".join(PAIR.values()) + "\r\n"
    assert one(write(tmp_path / "b.csv", table)) == pair
    assert one(write(tmp_path / "b.csv.gz", gzip.compress(table.encode()))) == pair


def test_a_huge_cell_and_line_breaks_in_cells(tmp_path: Path) -> None:
    huge = "word\r\n" * 100_000 + "end"
    row = ["p\r\nq", huge, "a\rb\nc"]
    pair = one(write_csv(tmp_path / "a.csv", ["prompt", "chosen", "rejected"], row))
    assert said(pair) == ([("user", "p\r\nq")], huge, "a\rb\nc")


def test_preferences_of_a_run_can_be_read_back(prompts_file: Any) -> None:
    run = cai.generate(engine=ScriptedEngine(), prompts=prompts_file(30), out="run", test_share=0.0)
    rows = list(run.preferences["train"])
    pairs, skipped = read_pairs(Path("run/preferences/train.parquet"))
    assert len(rows) > 10
    assert skipped == []
    for row, pair in zip(rows, pairs, strict=True):
        turns = [(m["role"], m["content"]) for m in row["prompt"]]
        assert said(pair) == (turns, row["chosen"][0]["content"], row["rejected"][0]["content"])
        assert (pair.prompt.id, pair.prompt.kind) == (row["id"], row["prompt_kind"])


# Malformed files: name, content, where it is wrong, what the error says, what the hint says

GOOD = json.dumps(PAIR) + "\n"
HEAD = "prompt,chosen,rejected\n"


def line(**fields: Any) -> str:
    return GOOD + json.dumps(PAIR | fields)


MALFORMED = [
    ("a.jsonl", GOOD + '{"prompt": "p", "rejected": "b"}', ":2: chosen", "missing", "Each row has"),
    ("a.jsonl", GOOD + '{"prompt": "p", "chosen": "b"}', ":2: rejected", "missing", "Each row has"),
    ("a.jsonl", GOOD + '{"chosen": "a", "rejected": "b"}', ":2", "no prompt", "Each row has"),
    ("a.jsonl", line(prompt=None), ":2", "no prompt", "Each row has"),
    ("a.jsonl", line(prompt=5), ":2: prompt", "not a number", '"role": "user"'),
    ("a.jsonl", line(prompt=False), ":2: prompt", "not true or false", '"role": "user"'),
    ("a.jsonl", line(prompt={"a": 1}), ":2: prompt", "not an object", '"role": "user"'),
    ("a.jsonl", line(prompt=["a", "b"]), ":2: prompt", "2 turns", "`messages`"),
    ("a.jsonl", line(prompt=[]), ":2: prompt", "no user turn", '"role": "user"'),
    ("a.jsonl", line(chosen=5), ":2: chosen", "neither text nor messages", "Each row has"),
    ("a.jsonl", line(chosen=None), ":2: chosen", "neither text nor messages", "Each row has"),
    ("a.jsonl", line(rejected={"a": 1}), ":2: rejected", "neither text nor", "Each row has"),
    ("a.jsonl", line(rejected=[]), ":2: rejected", "neither text nor", "Each row has"),
    ("a.jsonl", line(chosen=["x"]), ":2: chosen[0]", "an object, not a text", '"role": "user"'),
    ("a.jsonl", line(chosen=[{"role": "gpt", "content": "x"}]), ":2: chosen[0]",
     "unknown role 'gpt'", "system, user and assistant"),
    ("a.jsonl", line(chosen=[{"role": "user", "content": 1}]), ":2: chosen[0]",
     "content must be text, not a number", '"role": "user"'),
    ("a.jsonl", line(prompt_kind="evil"), ":2: prompt_kind", "unknown kind 'evil'", "red-team"),
    ("a.jsonl", line(prompt_kind=["helpful"]), ":2: prompt_kind", "unknown kind", "red-team"),
    ("a.jsonl", line(prompt_kind=0), ":2: prompt_kind", "unknown kind 0", "red-team"),
    ("a.jsonl", line(prompt_kind="\ud800"), ":2: prompt_kind", r"'\\ud800'", "red-team"),
    ("a.jsonl", line(id=["a"]), ":2: id", "text, not a list", "another name"),
    ("a.jsonl", line(kind={"a": 1}), ":2: kind", "text, not an object", "another name"),
    ("a.jsonl", line(difficulty=True), ":2: difficulty", "not true or false", "another name"),
    ("a.jsonl", GOOD + "{", ":2", "not JSON", "one JSON object a line"),
    ("a.jsonl", GOOD + "5", ":2", "a number, not an object", "one JSON object a line"),
    ("a.json", "[" + GOOD + "]", ":1", "not JSON", r"jq -c"),
    ("a.jsonl", GOOD.encode() + b'{"prompt": "\xe9"}', ":2", "not UTF-8: byte 0xe9", "iconv"),
    ("a.jsonl", "", "", "no usable pair", "Each row has"),
    ("a.jsonl", "\n \n", "", "no usable pair", "Each row has"),
    ("a.csv", "", "", "no usable pair", "Each row has"),
    ("a.csv", HEAD, "", "no usable pair", "Each row has"),
    ("a.csv", "prompt,rejected\np,a\n", ":1", "no column 'chosen'", "Each row has"),
    ("a.csv", "prompt,chosen\np,a\n", ":1", "no column 'rejected'", "Each row has"),
    ("a.csv", HEAD + "p,a,b\nq,c,d,lost\n", ":3", "4 cells, but the header has 3", "around a cell"),
    ("a.csv", HEAD + "p,a,b\nq,c\n", ":3", "2 cells, but the header has 3", "around a cell"),
    ("a.csv", "prompt,chosen,chosen,rejected\np,a,b,c\n", ":1", "one name: 'chosen'", "its own"),
    ("a.csv", HEAD + 'p,"a"x,b\n', ":2", "not CSV", "around a cell"),
    ("a.csv", (HEAD + "p,a,b\nq,é,d\n").encode("latin-1"), ":3", "not UTF-8: byte 0xe9", "iconv"),
    ("a.parquet", "", "", "not Parquet", "cut or damaged"),
    ("a.parquet", "PAR1 and then nothing", "", "not Parquet", "cut or damaged"),
    ("a.jsonl.gz", GOOD, "", "Not a gzipped file", "Check the file"),
    ("a.docx", "PK", "", "not a kind of file that holds pairs", r"\.jsonl"),
    ("a.txt.gz", gzip.compress(b"hi"), "", "not a kind of file that holds pairs", r"\.jsonl"),
    ("a.parquet.gz", "", "", "not a kind of file that holds pairs", r"\.jsonl"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "where", "message", "hint"),
    MALFORMED,
    ids=[f"{case[0]}{case[2]}-{case[3]}" for case in MALFORMED],
)
def test_malformed_files(
    tmp_path: Path, name: str, content: str | bytes, where: str, message: str, hint: str
) -> None:
    path = write(tmp_path / name, content)
    error = error_of(path)
    assert error.where == f"{path}{where}"
    assert re.search(message, error.message), error.message
    assert re.search(hint, error.hint), error.hint


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "none.jsonl").message
    (tmp_path / "a.jsonl").mkdir()
    assert "a folder, not a file" in error_of(tmp_path / "a.jsonl").message


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("chosen", b"a", "chosen: missing, or neither text nor messages"),
        ("rejected", None, "rejected: missing, or neither text nor messages"),
        ("prompt", 1.5, "prompt: must be a text or a list of messages, not a number"),
        ("id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), "id: must be text"),
        ("kind", b"x", "kind: must be text"),
    ],
)
def test_parquet_of_other_types(tmp_path: Path, column: str, value: Any, message: str) -> None:
    columns = {name: [text] for name, text in PAIR.items()} | {column: [value]}
    path = write_parquet(tmp_path / "a.parquet", columns)
    assert f"{path}: row 1: {message}" in error_of(path).message


def test_parquet_that_is_cut_or_holds_no_text(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "a.parquet"
    write_parquet(path, {name: [f"{text} {n}" for n in range(999)] for name, text in PAIR.items()})
    path.write_bytes(path.read_bytes()[:-100])
    assert "not Parquet" in error_of(path).message
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    write_parquet(path, {"prompt": ["p"], "chosen": broken, "rejected": ["b"]})  # type: ignore[dict-item]
    assert "utf-8" in error_of(path).message
    write_parquet(path, {"chosen": [], "rejected": []})
    assert "no usable pair" in error_of(path).message
    write_parquet(path, {"prompt": []})
    assert "no column 'chosen'; there are: 'prompt'" in error_of(path).message


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    names = ["prompt", "chosen", "chosen", "rejected"]
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([n]) for n in "pabc"], names), path)
    assert "two columns have one name: 'chosen'" in error_of(path).message


# The shipped pairs


def test_the_shipped_pairs_are_balanced() -> None:
    pairs, skipped = read_pairs(pairs_file())
    assert (len(pairs), skipped) == (216, [])
    assert len({p.prompt.last_human_turn for p in pairs}) == 216
    kinds = Counter(p.kind for p in pairs)
    assert (len(kinds), set(kinds.values())) == (9, {24})
    hard = Counter((p.kind, p.difficulty) for p in pairs)
    assert hard == {(kind, level): 12 for kind in kinds for level in ("easy", "hard")}
    shorter = Counter(p.kind for p in pairs if len(p.chosen) < len(p.rejected))
    assert shorter == dict.fromkeys(kinds, 12)
    assert all(len(p.chosen) != len(p.rejected) for p in pairs)


def test_the_default_constitution_can_judge_each_shipped_pair() -> None:
    rules = load.load(constitutions_dir() / "default.yaml")
    pairs, _ = read_pairs(pairs_file())
    assert [p.prompt.id for p in pairs if not rules.for_comparison(p.prompt)] == []
