"""Reading prompts: every form of input, what is refused and why, and that no text is changed."""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cai.errors import CaiError, InputError
from cai.prompts import read_prompts, source_digest
from cai.records import Failure, Prompt

FAST = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Any text that UTF-8 can hold, is not blank, and is not in the form of a transcript.
TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda t: t.strip() and not t.lstrip().startswith("Human:")
)
# One turn of a transcript: a marker in it would be read as a marker.
TURN = st.text(st.characters(codec="utf-8") | st.sampled_from("\n :")).filter(
    lambda t: "\n\nHuman:" not in t and "\n\nAssistant:" not in t
)


def write_jsonl(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="")
    return str(path)


def write_csv(path: Path, *rows: list[str], dialect: str = "excel") -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, dialect=dialect).writerows(rows)
    return str(path)


def write_parquet(path: Path, **columns: list[Any]) -> str:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return str(path)


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def texts(source: str, **options: Any) -> list[str]:
    return [p.last_human_turn for p in read_prompts(source, **options)]


def turns(prompt: Prompt) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in prompt.messages]


def error_of(source: str, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        list(read_prompts(source, **options))
    assert caught.value.hint, "an error says what to do"
    return caught.value


# Text goes through unchanged


@FAST
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_any_text_goes_through_jsonl_csv_and_parquet_unchanged(
    tmp_path: Path, given_texts: list[str]
) -> None:
    rows = [{"prompt": text} for text in given_texts]
    assert texts(write_jsonl(tmp_path / "a.jsonl", *rows)) == given_texts
    raw = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert texts(write(tmp_path / "raw.jsonl", raw)) == given_texts
    cells = [["prompt"], *([text] for text in given_texts)]
    assert texts(write_csv(tmp_path / "a.csv", *cells)) == given_texts
    assert texts(write_csv(tmp_path / "a.tsv", *cells, dialect="excel-tab")) == given_texts
    assert texts(write_parquet(tmp_path / "a.parquet", prompt=given_texts)) == given_texts


@FAST
@given(st.lists(TURN, min_size=1, max_size=7), st.sampled_from(["", "\n\nAssistant:"]))
def test_a_transcript_gives_back_its_turns(tmp_path: Path, said: list[str], tail: str) -> None:
    speakers = ["Human", "Assistant"] * 4
    text = "".join(f"\n\n{who}: {what}" for who, what in zip(speakers, said, strict=False))
    expected = [
        ("user" if who == "Human" else "assistant", what)
        for who, what in zip(speakers, said, strict=False)
    ]
    if len(said) % 2 == 0:
        expected.pop()  # the reply
        tail = ""
    source = write_jsonl(tmp_path / "a.jsonl", {"chosen": text + tail})
    rejected: list[Failure] = []
    prompts = list(read_prompts(source, rejected=rejected.append))
    if all(content.strip() for _, content in expected):
        assert [turns(p) for p in prompts] == [expected]
    else:
        last = bool(expected[-1][1].strip())
        assert [f.error for f in rejected] == ["empty_turn" if last else "empty_prompt"]


@pytest.mark.parametrize(
    "text",
    [
        "Translate: Guten Tag: hello",
        "Title: a: b: c\n\nBody: d",
        "Why does he say Human: at the start of a line?",
        "Continue this.\n\nHuman: hello\n\nAssistant: hi",
        "Human: is a word with a colon",
        "  leading and trailing  \n",
        "a\u2028b\x85c\x0bd\re",
        "nul \x00 and <|im_end|> and {{ braces }}",
    ],
)
def test_no_text_is_cut(tmp_path: Path, text: str) -> None:
    assert texts(write_jsonl(tmp_path / "a.jsonl", {"prompt": text})) == [text]
    assert texts(write_csv(tmp_path / "a.csv", ["text"], [text])) == [text]
    assert texts(write_parquet(tmp_path / "a.parquet", question=[text])) == [text]


def test_a_line_of_txt_loses_only_its_end(tmp_path: Path) -> None:
    content = "\ufeff one: \r\n\n \t\ntwo\u2028still two\x0bstill\n three\r"
    assert texts(write(tmp_path / "a.txt", content)) == [
        " one: ",
        "two\u2028still two\x0bstill",
        " three\r",
    ]


def test_a_huge_line_and_a_huge_cell(tmp_path: Path) -> None:
    huge = "word " * 400_000
    assert texts(write_jsonl(tmp_path / "a.jsonl", {"prompt": huge})) == [huge]
    assert texts(write_csv(tmp_path / "a.csv", ["prompt"], [huge])) == [huge]


# Forms of a prompt


def test_transcripts(tmp_path: Path) -> None:
    def read(text: str) -> list[tuple[str, str]]:
        (prompt,) = read_prompts(write_jsonl(tmp_path / "a.jsonl", {"chosen": text}))
        return turns(prompt)

    one = [("user", "Say Human: and\nHuman: here")]
    assert read("\n\nHuman: Say Human: and\nHuman: here\n\nAssistant: Human: no") == one
    assert read("Human: Say Human: and\nHuman: here\n\nAssistant:") == one
    assert read("\n\nHuman: Say Human: and\nHuman: here") == one
    joined = [("user", "a"), ("assistant", "b\n\nc"), ("user", "d\n\ne")]
    double = "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: d\n\nHuman: e"
    assert read(double) == joined
    assert read(double + "\n\nAssistant: f\n\nAssistant: g") == joined
    spaces = [("user", "a"), ("assistant", " c"), ("user", " b ")]
    assert read("\n\nHuman: a\n\nAssistant:  c\n\nHuman:  b \n\nAssistant: ") == spaces
    windows = double.replace("\n", "\r\n")
    assert read(windows) == joined
    assert read("Human: x\r\ny\r\n\r\nAssistant: z\r\n") == [("user", "x\ny")]


def test_messages_and_conversational_prompts(tmp_path: Path) -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "tool_calls": None},
        {"role": "user", "content": "Bye: "},
    ]
    reply = {"role": "assistant", "content": "Goodbye"}
    expected = [(m["role"], m["content"]) for m in talk]
    for row in (
        {"messages": talk},
        {"messages": [*talk, reply]},
        {"prompt": talk},
        {"prompt": talk, "messages": None},
        {"prompt": "Hi", "messages": [*talk, reply]},
        {"chosen": [*talk, reply], "rejected": [*talk, reply]},
    ):
        (prompt,) = read_prompts(write_jsonl(tmp_path / "a.jsonl", row))
        assert turns(prompt) == expected
        assert prompt.id == Prompt.id_of(prompt.messages)
    plain = [[{"role": m["role"], "content": m["content"]} for m in talk], None]
    source = write_parquet(tmp_path / "a.parquet", messages=plain, prompt=[None, "Alone"])
    assert [turns(p) for p in read_prompts(source)] == [expected, [("user", "Alone")]]


def test_fields(tmp_path: Path) -> None:
    full = {
        "id": "a-1",
        "prompt": "Hi",
        "kind": "borderline",
        "group": 7,
        "source": "mine",
        "license": "MIT",
        "tags": ["one", "two"],
        "score": 0.5,
    }
    source = write_jsonl(
        tmp_path / "a.jsonl", full, {"id": 12, "prompt": "Ho"}, {"id": "", "prompt": "Hu"}
    )
    first, second, third = read_prompts(source, kind="helpful")
    assert first.model_dump(exclude={"messages"}) == {
        "id": "a-1",
        "kind": "borderline",
        "group": "7",
        "source": "mine",
        "licence": "MIT",
        "tags": ("one", "two"),
    }
    assert (second.id, second.kind, second.group, second.tags) == ("12", "helpful", None, ())
    assert third.id == Prompt.id_of(third.messages)
    assert [p.kind for p in read_prompts(source)] == ["borderline", "red-team", "red-team"]


def test_csv_cells_of_messages_and_tags_are_json(tmp_path: Path) -> None:
    talk = json.dumps([{"role": "user", "content": "a, b"}])
    header = ["", "messages", "tags", "prompt", "kind"]
    rows = [["0", talk, '["x"]', "", ""], ["1", "", "", "c", "helpful"]]
    first, second = read_prompts(write_csv(tmp_path / "a.csv", header, *rows))
    assert (first.last_human_turn, first.tags, first.kind) == ("a, b", ("x",), "red-team")
    assert (second.last_human_turn, second.tags, second.kind) == ("c", (), "helpful")


@pytest.mark.parametrize("column", ["question", "instruction", "text", "goal", "turns"])
def test_well_known_columns(tmp_path: Path, column: str) -> None:
    value = ["Hi"] if column == "turns" else "Hi"
    row = {column: value, "index": 3, "category": "x"}
    assert texts(write_jsonl(tmp_path / "a.jsonl", row)) == ["Hi"]


def test_a_named_column_wins(tmp_path: Path) -> None:
    row = {"prompt": "no", "behavior": "yes: it is", "instruction": "i", "input": "x"}
    source = write_jsonl(tmp_path / "a.jsonl", row)
    assert texts(source, prompt_column="behavior") == ["yes: it is"]
    assert texts(source, prompt_column="instruction") == ["i"]


# Sources


def test_files_with_a_bom_gzip_capitals_and_blank_lines(tmp_path: Path) -> None:
    line = '{"prompt": "é"}\n'
    assert texts(write(tmp_path / "bom.jsonl", "\ufeff" + line)) == ["é"]
    assert texts(write(tmp_path / "bom.csv", "\ufeffprompt\r\n\r\né\r\n")) == ["é"]
    assert texts(write(tmp_path / "A.JSONL.GZ", gzip.compress(line.encode()))) == ["é"]
    assert texts(write(tmp_path / "a.json", f"\n{line}\n \n{line}")) == ["é", "é"]
    assert texts(write(tmp_path / "a.ndjson", line.strip())) == ["é"]


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "two\n")
    write_csv(tmp_path / "a.csv", ["prompt"], ["one"])
    write_parquet(tmp_path / "c.parquet", prompt=["three"])
    write(tmp_path / "README.md", "not a prompt")
    write(tmp_path / ".hidden.txt", "not a prompt")
    assert texts(str(tmp_path)) == ["one", "two", "three"]


def test_it_is_lazy(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", '{"prompt": "good"}\nnot JSON\n')
    prompts = read_prompts(source)
    assert next(prompts).last_human_turn == "good"
    with pytest.raises(InputError):
        next(prompts)


def test_seeds() -> None:
    everything = list(read_prompts("seeds"))
    kinds = [p.kind for p in islice(everything, 6)]
    assert kinds == ["red-team", "borderline", "helpful"] * 2
    parts = {k: list(read_prompts(f"seeds:{k}")) for k in ("red-team", "helpful", "borderline")}
    assert all({p.kind for p in part} == {kind} for kind, part in parts.items())
    assert len(everything) == sum(map(len, parts.values()))
    assert len({p.id for p in everything}) == len(everything)
    with pytest.raises(CaiError, match="seeds:helpful"):
        next(read_prompts("seeds:helpfull"))


# Columns that belong to the prompt, and others


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "Sum up.", "input": "1 2"}, [("user", "Sum up.\n\n1 2")]),
        ({"instruction": "Sum up.", "input": ""}, [("user", "Sum up.")]),
        ({"instruction": "Sum up.", "input": " ", "context": None}, [("user", "Sum up.")]),
        (
            {"question": "Who?", "system_prompt": "Be brief."},
            [("system", "Be brief."), ("user", "Who?")],
        ),
        ({"prompt": "Who?", "system": "Be brief."}, [("system", "Be brief."), ("user", "Who?")]),
        ({"prompt": "Who?", "system": " "}, [("user", "Who?")]),
        ({"prompt": "Who?", "context": "of a contract by its own"}, [("user", "Who?")]),
        (
            {
                "system": "Be brief.",
                "conversations": [
                    {"from": "human", "value": "Hi"},
                    {"from": "gpt", "value": "Ho"},
                    {"from": "human", "value": "Ha"},
                    {"from": "gpt", "value": "He"},
                ],
            },
            [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho"), ("user", "Ha")],
        ),
        ({"conversation": [{"role": "user", "content": "Hi"}]}, [("user", "Hi")]),
    ],
)
def test_a_column_keeps_its_companions(
    tmp_path: Path, row: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    (prompt,) = read_prompts(write_jsonl(tmp_path / "a.jsonl", row))
    assert turns(prompt) == expected
    columns = {name: [value] for name, value in row.items()}
    (prompt,) = read_prompts(write_parquet(tmp_path / "a.parquet", **columns))
    assert turns(prompt) == expected


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Who?", "context": "Ann did it."},
        {"question": "Who?", "choices": ["Ann", "Bob"]},
        {"instruction": "Sum up.", "context": "1 2"},
        {"text": "Who?", "options": {"A": "Ann"}},
    ],
)
def test_half_of_a_prompt_is_taken_only_where_somebody_says_so(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", row)
    column, other = row
    error = error_of(source)
    assert f"{column}: `{other}` may belong to the {column}, and would be lost" in error.message
    assert f"--prompt-column {column}" in error.hint
    assert texts(source, prompt_column=column) == [row[column]]


def test_columns_that_mean_something_else_are_ignored(tmp_path: Path) -> None:
    fields = {"id": 1.5, "kind": "open_qa", "tags": {"a": 1}, "image": "x.png", "source": [1]}
    row = {"prompt": "Who?", **fields}
    source = write_jsonl(tmp_path / "a.jsonl", row)
    for n, name in enumerate(fields):
        hint = error_of(source, ignore_columns=[f for f in fields if f != name]).hint
        assert f"--ignore-columns {name}" in hint, n
    (prompt,) = read_prompts(source, ignore_columns=list(fields))
    assert (prompt.id, prompt.kind, prompt.tags) == (
        Prompt.id_of(prompt.messages), "red-team", (),
    )  # fmt: skip
    columns = {name: [value] for name, value in row.items()}
    assert texts(write_parquet(tmp_path / "a.parquet", **columns), ignore_columns=fields) == [
        "Who?"
    ]
    source = write_csv(tmp_path / "a.csv", ["question", "context"], ["Who?", "Ann."])
    assert texts(source, ignore_columns=["context"]) == ["Who?"]
    with pytest.raises(CaiError, match="nothing is read from a column 'kin'") as caught:
        texts(source, ignore_columns=["kin"])
    assert "kind" in caught.value.hint


def test_a_conversation_that_was_written_into_a_cell(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "it's"}, {"role": "assistant", "content": "so"}]
    share = [{"from": "human", "value": "it's"}]
    for cell in (str(talk), json.dumps(talk), str(share), f" {talk}\n"):
        for column in ("prompt", "messages", "conversations", "text"):
            assert texts(write_csv(tmp_path / "a.csv", [column], [cell])) == ["it's"]
            assert texts(write_jsonl(tmp_path / "a.jsonl", {column: cell})) == ["it's"]
    numpy = "[{'content': 'it', 'role': 'user'}\n {'content': 'so', 'role': 'assistant'}]"
    error = error_of(write_csv(tmp_path / "a.csv", ["prompt"], [numpy]))
    assert "cannot be read back" in error.message


# Rows that cannot be used


def test_every_row_that_is_no_prompt_is_a_failure_with_its_place(tmp_path: Path) -> None:
    from tests.odd_rows import ODD

    path = tmp_path / "a.jsonl"
    lines = [line for line, _ in ODD.values()]
    path.write_bytes(b"\n".join([GOOD.strip().encode(), *lines, GOOD.strip().encode()]))
    rejected: list[Failure] = []
    assert texts(str(path), rejected=rejected.append) == ["ok", "ok"]
    assert [f.error for f in rejected] == [error for _, error in ODD.values()]
    assert [f.where for f in rejected] == [f"{path}:{n}" for n in range(2, len(ODD) + 2)]
    assert all(f.message and "a.jsonl" not in f.message for f in rejected)


def test_rows_that_cannot_be_used_are_failures(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [
        '{"prompt": "fine"}',
        '{"prompt": "half \\ud800", "id": "x"}',
        '{"prompt": "", "id": "y"}',
        '{"prompt": " \\n"}',
        '{"prompt": null}',
        '{"prompt": "id", "id": "\\udc00"}',
        '{"prompt": "tag", "tags": ["\\udc00"]}',
        '{"messages": [{"role": "user", "content": ""}]}',
        '{"prompt": "fine too"}',
    ]
    rejected: list[Failure] = []
    source = write(path, "\n".join(lines))
    assert texts(source, rejected=rejected.append) == ["fine", "fine too"]
    assert {f.stage for f in rejected} == {"ingest"}
    assert [f.where for f in rejected] == [f"{path}:{n}" for n in range(2, 9)]
    assert [f.prompt_id for f in rejected[:3]] == ["x", "y", f"{path}:4"]
    assert [f.error for f in rejected] == [
        "lone_surrogate",
        *["empty_prompt"] * 3,
        *["lone_surrogate"] * 2,
        "empty_prompt",
    ]
    assert rejected[4].prompt_id == f"{path}:6"
    assert error_of(source).where == f"{path}:2"


def test_null_rows_of_parquet_and_empty_cells_are_failures(tmp_path: Path) -> None:
    rejected: list[Failure] = []
    source = write_parquet(tmp_path / "a.parquet", prompt=["a", None, "b"])
    assert texts(source, rejected=rejected.append) == ["a", "b"]
    source = write_csv(tmp_path / "a.csv", ["prompt", "x"], ["a", ""], ["", "b"])
    assert texts(source, rejected=rejected.append) == ["a"]
    assert [Path(f.where or "").name for f in rejected] == ["a.parquet: row 2", "a.csv:3"]


# Malformed files: name, content, where it is wrong, what the error says, what the hint says

GOOD = '{"prompt": "ok"}\n'
USER = '{"role": "user", "content": "a"}'
MALFORMED = [
    ("a.jsonl", GOOD + '{"prompt": "x"\n', ":2", "not JSON.*line 2, column 15", "one JSON object"),
    ("a.jsonl", GOOD + '["x"]\n', ":2", "a list, not an object", "one JSON object"),
    ("a.json", '[{"prompt": "x"},\n{"prompt": "y"}]', ":1", "not JSON", r"jq -c .*\.\[\]"),
    ("a.jsonl", "[" * 100_000, ":1", "not JSON", "one JSON object"),
    ("a.jsonl", '{"n": ' + "1" * 5000 + "}", ":1", "not JSON", "one JSON object"),
    ("a.jsonl", GOOD + '{"promt": "x", "n": 1}', ":2", "no column.*'promt', 'n'", "--prompt-col"),
    ("a.jsonl", '{"text": "x", "goal": "y"}', ":1", "each of 'text', 'goal'", "--prompt-column"),
    ("a.jsonl", GOOD + GOOD + '{"prompt": 5}', ":3: prompt", "not a number", '"role": "user"'),
    ("a.jsonl", '{"prompt": true}', ":1: prompt", "true or false", '"role": "user"'),
    ("a.jsonl", '{"messages": "hi"}', ":1: messages", "a list of messages, not a text", '"role"'),
    ("a.jsonl", '{"messages": []}', ":1: messages", "no user turn", '"role": "user"'),
    ("a.jsonl", '{"messages": ["hi"]}', ":1: messages[0]", "an object, not a text", '"role"'),
    ("a.jsonl", '{"messages": [{"role": "human", "content": ""}]}', ":1: messages[0]",
     "unknown role 'human'", "system, user and assistant"),
    ("a.jsonl", '{"messages": [{"content": "hi"}]}', ":1: messages[0]", "no role",
     "system, user and assistant"),
    ("a.jsonl", '{"messages": [{"from": "bard", "value": ""}]}', ":1: messages[0]",
     "unknown from 'bard'", "system, human and gpt"),
    ("a.jsonl", '{"messages": [{"role": "user", "content": {"x": 1}}]}', ":1: messages[0]",
     "content must be text, not an object", '"role": "user"'),
    ("a.jsonl", f'{{"messages": [{USER}, {{"role": "system", "content": "x"}}]}}', ":1: messages",
     "ends with a turn of role 'system'", "End the conversation"),
    ("a.jsonl", '{"messages": [{"role": "assistant", "content": "x"}]}', ":1: messages",
     "no user turn", '"role": "user"'),
    ("a.jsonl", GOOD + '{"turns": ["a", "b"]}', ":2: turns", "2 turns.*never cut", "`messages`"),
    ("a.jsonl", '{"chosen": "Sure, here it is"}', ":1: chosen", "may be a reply", "--prompt-col"),
    ("a.jsonl", '{"question": "Who?", "input": "x"}', ":1: question", "`input`", "Join"),
    ("a.jsonl", '{"question": "Who?", "context": "x"}', ":1: question", "`context`", "Join"),
    ("a.jsonl", '{"goal": "x", "choices": ["a"]}', ":1: goal", "`choices`", "prompt-column goal"),
    ("a.jsonl", '{"instruction": "x", "input": 5}', ":1: input", "text, not a number",
     "--ignore-columns input"),
    ("a.jsonl", '{"prompt": "x", "system": {"a": 1}}', ":1: system", "text, not an", "Keep one"),
    ("a.jsonl", '{"messages": [{"role": "system", "content": "a"}, ' + USER + '], "system": "b"}',
     ":1: system", "another system message", "Keep one"),
    ("a.jsonl", '{"prompt": "x", "image": "a.png"}', ":1: image", "would be lost", "Take out"),
    ("a.jsonl", '{"prompt": "x", "tags": "a,b"}', ":1: tags", "a list of texts, not a text",
     "--ignore-columns tags"),
    ("a.jsonl", '{"prompt": "x", "kind": "harmful"}', ":1: kind", "unknown kind 'harmful'",
     "red-team, helpful, borderline, unknown; .*--ignore-columns kind"),
    ("a.jsonl", '{"prompt": "x", "kind": 0}', ":1: kind", "unknown kind 0", "red-team"),
    ("a.jsonl", '{"prompt": "x", "id": ["a"]}', ":1: id", "not a list", "--ignore-columns id"),
    ("a.jsonl", '{"prompt": "x", "id": 1.5}', ":1: id", "not a number", "--ignore-columns id"),
    ("a.jsonl", b'{"prompt": "ok"}\n{"prompt": "\xe9"}\n', ":2", "0xe9 at offset 29", "UTF-8"),
    ("a.jsonl", GOOD.encode("utf-16-le"), "", "UTF-16 without the mark", "iconv -f UTF-16LE"),
    ("a.txt", "abc".encode("utf-16-be"), "", "UTF-16 without the mark", "iconv -f UTF-16BE"),
    ("a.jsonl", GOOD.encode("utf-16")[:-1], "", "not UTF-16: truncated", "may be cut"),
    ("a.csv", b"PK\x03\x04...", "", "a zip archive", "save it as CSV in UTF-8"),
    ("a.jsonl", b"PAR1...", "", "a Parquet file", "end in .parquet"),
    ("a.txt", b"\x7fELF\x02\x01\n\x80\x81", ":2", "not UTF-8", "UTF-8"),
    ("a.jsonl", b"", "", "no prompt in it", "file with prompts"),
    ("a.txt", "\n \n", "", "no prompt in it", "file with prompts"),
    ("a.csv", "prompt\n", "", "no prompt in it", "file with prompts"),
    ("a.csv", 'prompt,n\n"two\nlines",1\nHello, you,2\n', ":4", "3 cells.*header has 2", "Put"),
    ("a.csv", "prompt,n\nHello\n", ":2", "1 cells, but the header has 2", "Put"),
    ("a.csv", "Hello there,1\nBye,2\n", ":1", "there are: 'Hello there', '1'", "column names"),
    ("a.csv", "prompt,prompt\na,b\n", ":1", "two columns have one name: 'prompt'", "of its own"),
    ("a.csv", 'prompt\n"a" b\n', ":2", "not CSV", "a quote twice"),
    ("a.csv", 'prompt\n"never ends\n', ":2", "not CSV: unexpected end of data", "a quote twice"),
    ("a.csv", b"prompt\nok\n\xff\n", ":3", "not UTF-8", "UTF-8"),
    ("a.csv", "prompt,tags\na,b\n", ":2: tags", "a list of texts, not a text", "a JSON list"),
    ("a.csv", "messages\nhello\n", ":2: messages", "a list of messages, not a text", '"role"'),
    ("a.parquet", b"PAR1 and then nothing", "", "not Parquet", "cut or damaged"),
    ("a.parquet", b"", "", "not Parquet", "cut or damaged"),
    ("a.jsonl.gz", gzip.compress(GOOD.encode() * 99)[:-9], "", "cannot be read", "fetch it again"),
    ("a.jsonl.gz", GOOD, "", "cannot be read: Not a gzipped file", "Check the file"),
    ("a.docx", b"PK", "", "unknown kind of file", r"\.jsonl"),
    ("a.parquet.gz", b"", "", "unknown kind of file", r"\.jsonl"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "where", "message", "hint"),
    MALFORMED,
    ids=[f"{case[0]}-{case[3]}" for case in MALFORMED],
)
def test_malformed_files(
    tmp_path: Path, name: str, content: str | bytes, where: str, message: str, hint: str
) -> None:
    source = write(tmp_path / name, content)
    error = error_of(source)
    assert error.where == source + where
    assert re.search(message, error.message), error.message
    assert re.search(hint, error.hint), error.hint


def test_malformed_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    source = write_parquet(path, query=["a"], n=[1])
    error = error_of(source)
    assert "there are: 'query', 'n'" in error.message
    assert "--prompt-column" in error.hint
    assert texts(source, prompt_column="query") == ["a"]
    source = write_parquet(path, prompt=[1, 2])
    assert error_of(source).where == f"{path}: row 1: prompt"
    write_parquet(path, prompt=[f"{n} words" * 50 for n in range(5000)])
    path.write_bytes(path.read_bytes()[:-100])
    assert "not Parquet" in error_of(source).message
    assert error_of(write_parquet(path, prompt=[])).message.endswith("no prompt in it")
    assert error_of(source, prompt_column="query").where == source


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", {"prompt": "x"}, {"goal": "y"})
    error = error_of(source, prompt_column="goal")
    assert error.where == f"{source}:1"
    assert "no column 'goal'; there are: 'prompt'" in error.message


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    missing = error_of(str(tmp_path / "none.jsonl"))
    assert "no such file" in missing.message
    assert "hf:owner/name" in missing.hint
    write(tmp_path / "README.md", "x")
    assert ".jsonl" in error_of(str(tmp_path)).hint


def test_names_in_an_error_cannot_reach_the_terminal(tmp_path: Path) -> None:
    row = {"\x1b[31m\ud800" + "long" * 100: 1, **{str(n): n for n in range(100)}}
    error = error_of(write_jsonl(tmp_path / "a.jsonl", row))
    assert "\x1b" not in error.message
    assert len(error.message.encode()) < 1000


# The Hub, by way of a local folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    pytest.importorskip("datasets")
    write_jsonl(tmp_path / "train.jsonl", {"prompt": "a: b", "other": "x"}, {"prompt": " c "})
    write_jsonl(tmp_path / "test.jsonl", {"prompt": "d", "other": "e"})
    return tmp_path


def test_a_dataset(dataset: Path) -> None:
    assert texts(f"hf:{dataset}") == ["a: b", " c "]
    assert texts(f"hf:{dataset}::test") == ["d"]
    assert texts(f"hf:{dataset}:default:test:other") == ["e"]
    assert texts(f"hf:{dataset}:::") == ["a: b", " c "]


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("::validation", "validation"),
        (":other-config", "other-config"),
        ("/nothing-here", "nothing-here"),
        (":::nocolumn", "no column 'nocolumn'; there are: 'prompt', 'other'"),
        (":a:b:c:d", "not the name of a dataset"),
    ],
)
def test_a_dataset_that_cannot_be_read(dataset: Path, tail: str, message: str) -> None:
    with pytest.raises(CaiError) as caught:
        list(read_prompts(f"hf:{dataset}{tail}"))
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert "hf:owner/name" in caught.value.hint or "--prompt-column" in caught.value.hint


def test_the_hub_spec_the_network_and_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    import huggingface_hub

    asked: list[Any] = []

    def load_dataset(*args: Any, **options: Any) -> None:
        asked.append((*args, options))
        raise ConnectionError("Couldn't reach the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(CaiError, match=r"Couldn't reach the Hub\n.*local copy"):
        list(read_prompts("hf:some/name@v1:conf:test:col"))
    options = {"split": "test", "revision": "v1", "streaming": True}
    assert asked == [("some/name", "conf", options)]
    assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    assert not datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CaiError, match="pip install datasets"):
        list(read_prompts("hf:some/name"))


def test_the_configs_of_a_dataset_are_named_where_one_is_needed(dataset: Path) -> None:
    (dataset / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain\n  data_files: train.jsonl\n"
        "- config_name: hard\n  data_files: test.jsonl\n---\n"
    )
    with pytest.raises(CaiError, match=r"Its configs are: .*'plain'.*\n.*hf:owner/name") as caught:
        texts(f"hf:{dataset}")
    assert "'hard'" in caught.value.message
    assert texts(f"hf:{dataset}:hard") == ["d"]


# The digest


def test_the_digest_follows_contents_and_options(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = write(tmp_path / "a.jsonl", GOOD)
    first = source_digest(source, kind="helpful")
    assert len(first) == 64
    assert source_digest(source, kind="helpful", prompt_column=None) == first
    assert source_digest(source, kind="red-team") != first
    assert source_digest(source, kind="helpful", ignore_columns=None) == first
    assert source_digest(source, kind="helpful", ignore_columns=["id"]) != first
    assert source_digest(write(tmp_path / "in/a.jsonl", GOOD), kind="helpful") == first
    folder = source_digest(str(tmp_path))
    write(tmp_path / "a.jsonl", GOOD * 2)
    assert source_digest(source, kind="helpful") != first
    assert source_digest(str(tmp_path)) != folder
    with pytest.raises(InputError):
        source_digest(str(tmp_path / "none.txt"))
    digests = {source_digest(s) for s in ("seeds", "seeds:helpful", "seeds:red-team")}
    assert len(digests) == 3


def test_the_digest_of_a_dataset(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    first = source_digest(f"hf:{dataset}")
    assert source_digest(f"hf:{dataset}::train") == first
    assert source_digest(f"hf:{dataset}::test") != first
    write(dataset / ".cache", "not data")
    assert source_digest(f"hf:{dataset}") == first
    write_jsonl(dataset / "test.jsonl", {"prompt": "new"})
    assert source_digest(f"hf:{dataset}") != first

    commits = {"v1": "abc", None: "abc", "v2": "def"}

    def dataset_info(self: Any, name: str, revision: str | None = None) -> Any:
        if name != "some/name":
            raise OSError("offline")
        return huggingface_hub.DatasetInfo(id=name, sha=commits[revision], tags=[])

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    hub = source_digest("hf:some/name")
    assert source_digest("hf:some/name@v1") == hub
    assert source_digest("hf:some/name@v2") != hub
    with pytest.raises(CaiError, match="offline"):
        source_digest("hf:other/name")
