"""Rows that a person flagged leave the data and stay in the traces, and no model is asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import cai
from cai.errors import CaiError
from cai.review import flagged
from cai.runtime.progress import Quiet

Notes = Callable[[Sequence[dict[str, Any]]], str]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    def write(lines: Sequence[dict[str, Any]]) -> str:
        path = tmp_path / "review.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)

    return write


class Loud(Quiet):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def ids(run: cai.Run, name: str) -> set[str]:
    return {row["id"].partition("#")[0] for part in getattr(run, name).values() for row in part}


def test_flagged_rows_leave_the_data_and_come_back(
    tmp_path: Path, prompts_file: Callable[..., str], notes: Notes
) -> None:
    log = tmp_path / "calls.log"
    given: dict[str, Any] = {
        "prompts": prompts_file(20), "model": f"scripted:log={log}", "out": tmp_path / "run"
    }  # fmt: skip
    run = cai.generate(**given)
    before = {name: ids(run, name) for name in ("sft", "preferences", "traces")}
    calls = log.read_text()
    first, second, *_ = sorted(before["sft"] & before["preferences"])
    drop = notes([{"id": first, "flag": True, "note": "odd"}, {"id": second, "flag": False}])
    run = cai.generate(**given, drop=drop)
    assert ids(run, "sft") == before["sft"] - {first}
    assert ids(run, "preferences") == before["preferences"] - {first}
    assert ids(run, "traces") == before["traces"]
    trace = run.trace(first)
    assert trace is not None
    assert trace["not_in_sft"] == "dropped by review"
    assert {p["dropped"] for p in trace["pairs"] if p["p_a"] is not None} == {"dropped by review"}
    assert run.manifest.counts["not in sft.dropped by review"] == 1
    run = cai.generate(**given)
    assert {name: ids(run, name) for name in before} == before
    assert log.read_text() == calls


def test_it_is_the_content_of_the_file_that_counts(
    tmp_path: Path, prompts_file: Callable[..., str], notes: Notes
) -> None:
    given: dict[str, Any] = {
        "prompts": prompts_file(6), "model": "scripted", "out": tmp_path / "run"
    }  # fmt: skip
    run = cai.generate(**given)
    one, other, *_ = sorted(ids(run, "sft"))
    for name in (one, other):
        run = cai.generate(**given, drop=notes([{"id": name, "flag": True}]))
        assert name not in ids(run, "sft")
    assert one in ids(run, "sft")
    (tmp_path / "run" / "manifest.json").unlink()
    loud = Loud()
    cai.generate(**given, drop=notes([{"id": "another", "flag": True}]), progress=loud)
    assert [w for w in loud.warnings if "1 of the 1 flagged rows of --drop" in w]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "review.jsonl:1: no JSON"),
        ("[]", "review.jsonl:1: no object with an id"),
        ('{"id": 3, "flag": true}', "no object with an id"),
        ('{"id": "a", "flag": "yes"}', "flag: must be true or false"),
    ],
)
def test_a_line_that_is_no_note_is_told(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "review.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(CaiError, match=message):
        flagged(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CaiError, match="No such file"):
        flagged(tmp_path / "nothing.jsonl")
