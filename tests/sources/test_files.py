"""Rows of files: how a file is written is told by its first bytes, and a bad line is one row."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cai.errors import InputError
from cai.sources.bad_rows import RowError
from cai.sources.files import file_rows

TEXTS = ["é", "two\u2028lines", "a, b", "🙂 end"]
JSONL = "".join(json.dumps({"prompt": t}, ensure_ascii=False) + "\n" for t in TEXTS)
CSV = "prompt\r\n" + "".join(f'"{t}"\r\n' for t in TEXTS)
TXT = "".join(f"{t}\n" for t in TEXTS)


def every(names: Sequence[str], where: str) -> Sequence[str]:
    return names


def rows(path: Path) -> list[Any]:
    return [row["prompt"] for _, row in file_rows(path, every) if not isinstance(row, RowError)]


def bad(path: Path) -> list[RowError]:
    return [row for _, row in file_rows(path, every) if isinstance(row, RowError)]


WAYS: dict[str, Callable[[str], bytes]] = {
    "UTF-8 with a BOM": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, the other way round": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "text"), [("a.jsonl", JSONL), ("a.csv", CSV), ("a.txt", TXT)])
def test_a_file_is_read_as_what_it_is(tmp_path: Path, way: str, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(WAYS[way](text))
    assert rows(path) == TEXTS
    assert bad(path) == []


def test_the_name_may_say_that_it_is_compressed(tmp_path: Path) -> None:
    for name, text in (("a.jsonl.gz", JSONL), ("a.csv.gz", CSV), ("A.TXT.GZ", TXT)):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()))
        assert rows(path) == TEXTS


def test_a_bad_line_is_one_bad_row(tmp_path: Path) -> None:
    good = [json.dumps({"prompt": str(n)}).encode() for n in range(6)]
    lines = [good[0], b"not JSON", good[1], b'{"prompt": "\xe9"}', b"", good[2], b'{"prompt": "cu']
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert rows(path) == ["0", "1", "2"]
    assert [(e.where, e.fault) for e in bad(path)] == [
        (f"{path}:{n}", "broken line") for n in (2, 4, 7)
    ]
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\xff\nthree\n")
    assert rows(path) == ["one", "three"]
    assert "byte 0xff at offset 4" in bad(path)[0].message


def test_a_bad_row_of_a_table_is_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'prompt,n\n"one\nand",1\n"tw\xe9\no",2\nthree,3,x\nfour\nfive,5\n')
    assert rows(path) == ["one\nand", "five"]
    assert [e.where for e in bad(path)] == [f"{path}:{n}" for n in (4, 6, 7)]
    assert [e.message.split(": ")[1] for e in bad(path)] == [
        "not UTF-8", "3 cells, but the header has 2", "1 cells, but the header has 2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "prompt;kind\nWhat?;helpful\n", "the header is one cell, 'prompt;kind'"),
        ("a.csv", "prompt\tkind\nWhat?\thelpful\n", "'\\t' is in it"),
        ("a.tsv", "prompt,kind\nWhat?,helpful\n", "',' is in it"),
        ("a.csv", b"prompt\xff,n\n1,2\n", ":1: not UTF-8"),
        ("a.csv", b"PK\x03\x04 and more", "a zip archive"),
        ("a.txt", b"\x28\xb5\x2f\xfd more", "compressed by zstd"),
        ("a.txt", "prompt".encode("utf-16-le"), "UTF-16 without the mark"),
        ("a.jsonl", b"\xff\xfe" + "abc".encode("utf-16-le")[:-1], "not UTF-16"),
    ],
)
def test_what_is_no_such_file(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        rows(path)
    assert message in caught.value.message
    assert caught.value.hint
    # No hint may lead to garbage that is accepted: of a file in another encoding nobody knows
    # which it is, and of LATIN1 every byte is a character.
    assert "LATIN1" not in caught.value.hint


def test_one_nul_makes_no_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\x00bc and more\n")
    assert rows(path) == ["a\x00bc and more"]
