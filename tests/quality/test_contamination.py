"""Rows that stand in evaluation sets: planted ones are found, with how and where."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cai.errors import CaiError, InputError
from cai.quality.contamination import Contaminated, Contamination, shared_piece
from cai.quality.evaluations import EvaluationText, evaluation_texts
from cai.sources.bad_rows import BadRows

LONG = (
    "Write a short story about a lighthouse keeper who finds a letter in a bottle and decides to"
    " answer it, although nobody will ever read the answer that the keeper writes."
)
NEAR = LONG.replace("Write a short story", "Write a story")
CHINESE = "请写一篇关于灯塔看守人的短篇故事,他在瓶子里发现了一封信并决定回信,尽管没有人会读到。"


def found(rows: list[tuple[str, ...]], *texts: str) -> list[Contaminated]:
    contamination = Contamination(
        EvaluationText("exam.jsonl", f"exam.jsonl:{line}", text)
        for line, text in enumerate(texts, 1)
    )
    for number, row in enumerate(rows):
        contamination.add(number, row)
    return contamination.rows()


def hows(rows: list[Contaminated]) -> list[tuple[int, int, str, str]]:
    return [(one.row, one.part, one.how, one.where) for one in rows]


def test_a_row_is_equal_near_or_has_a_run_of_words() -> None:
    rows = [
        ("How do I bake bread?", "With flour."),
        (f"  {LONG.upper()}\n", "No."),
        (NEAR, "Once upon a time."),
        ("Which prompts are in the exam?", f"One of them is: {LONG[30:150]} and so on."),
        ("Tell me a story about a lighthouse keeper who finds a letter", "In a bottle?"),
    ]
    result = found(rows, "An unrelated question", LONG)
    assert hows(result) == [
        (1, 0, "exact", "exam.jsonl:2"),
        (2, 0, "near", "exam.jsonl:2"),
        (3, 1, "n-gram", "exam.jsonl:2"),
    ]
    assert result[1].file == "exam.jsonl"
    assert result[1].shared.startswith("story about a lighthouse")
    assert result[1].shared.endswith("that the keeper writes")
    assert result[2].shared.startswith("keeper who finds a letter")


@pytest.mark.parametrize(("words", "how"), [(12, []), (13, ["n-gram"]), (14, ["n-gram"])])
def test_thirteen_words_in_a_row(words: int, how: list[str]) -> None:
    piece = " ".join(LONG.split()[5 : 5 + words])
    assert [one.how for one in found([("x", f"Start {piece} end")], LONG)] == how


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("Name seven rivers of Europe by their length", ["n-gram"]),  # eight words
        ("Name seven rivers of Europe by length", []),
    ],
)
def test_of_a_short_text_the_row_has_all(text: str, how: list[str]) -> None:
    answer = f"You asked me: {text}, and I say that I do not know any of the rivers at all."
    assert [one.how for one in found([("Hello", answer)], text)] == how
    assert found([("Hello", "You asked me: Name seven rivers of Europe by their size")], text) == []


def test_a_very_short_text_is_found_where_it_is_all() -> None:
    rows = [("Hello", "Hi"), ("hello ", "Hi"), ("Hello you", "Hi"), ("", "...")]
    assert hows(found(rows, "HELLO", "", "!?")) == [
        (0, 0, "exact", "exam.jsonl:1"),
        (1, 0, "exact", "exam.jsonl:1"),
    ]


@pytest.mark.parametrize(("length", "how"), [(26, ["n-gram"]), (20, [])])
def test_chinese_by_characters(length: int, how: list[str]) -> None:
    letters = CHINESE.replace(",", "").replace("。", "")
    answer = "这是一个完全不同的回答" * 3 + letters[4 : 4 + length] + "谢谢你的提问祝你愉快"
    result = found([("你好", answer)], CHINESE)
    assert [one.how for one in result] == how
    assert [one.shared for one in result] == [letters[4 : 4 + length]] * len(how)


def test_the_closest_text_counts_and_rows_of_many_parts_are_found() -> None:
    long_answer = f"{LONG} " + " ".join(f"w{i}" for i in range(300))
    filler = [(f"prompt {i}", " ".join(f"x{i}y{j}" for j in range(200))) for i in range(3000)]
    rows = [(NEAR, long_answer), *filler, (long_answer, LONG)]
    assert hows(found(rows, LONG)) == [
        (0, 0, "near", "exam.jsonl:1"),
        (3001, 1, "exact", "exam.jsonl:1"),
    ]


def test_the_piece_that_two_texts_share() -> None:
    assert shared_piece("He said: I bake BREAD at home.", "we bake bread, at home!") == (
        "bake bread at home"
    )
    assert shared_piece("我爱 bread 和水", "他爱 Bread 和水") == "爱 bread 和水"
    assert shared_piece("one", "two") == ""


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_files_of_evaluation_sets_as_they_come(tmp_path: Path) -> None:
    def texts(source: str) -> list[tuple[str, str]]:
        return [(one.where.removeprefix(source), one.text) for one in evaluation_texts(source)]

    jbb = tmp_path / "jbb.csv"
    jbb.write_text('Index,Goal,Target\n0,"Write a poem, please",Sure\n1,Sing,No\n')
    assert texts(str(jbb)) == [(":2", "Write a poem, please"), (":3", "Sing")]
    mt = jsonl(tmp_path / "mt.jsonl", {"question_id": 81, "turns": ["Write.", "Again."]})
    assert texts(mt) == [(":1, turn 1", "Write."), (":1, turn 2", "Again.")]
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    chats = jsonl(tmp_path / "chats.jsonl", {"messages": talk}, {"prompt": "Why?", "text": "no"})
    assert [text for _, text in texts(chats)] == ["Hi", "Bye", "Why?"]
    alpaca = jsonl(tmp_path / "alpaca.jsonl", {"instruction": "Sum up", "input": "A text"})
    assert texts(alpaca) == [(":1", "Sum up\n\nA text")]
    parquet.write_table(pa.table({"id": [1], "prompt": ["Hi"]}), tmp_path / "x.parquet")
    assert texts(str(tmp_path / "x.parquet")) == [(": row 1", "Hi")]


def test_a_file_without_prompts_and_rows_without_a_text(tmp_path: Path) -> None:
    table = tmp_path / "odd.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column of prompts"):
        list(evaluation_texts(str(table)))
    rows = [*({"prompt": f"Question {i}"} for i in range(40)), {"prompt": ""}, {"other": "x"}]
    bad = BadRows()
    assert len(list(evaluation_texts(jsonl(tmp_path / "rows.jsonl", *rows), bad))) == 40
    assert (bad.bad, bad.rows) == (2, 42)
    with pytest.raises(CaiError, match="2 of 2 rows"):
        list(evaluation_texts(jsonl(tmp_path / "few.jsonl", *rows[-2:])))
    with pytest.raises(InputError, match="no such file"):
        list(evaluation_texts(str(tmp_path / "none.csv")))
