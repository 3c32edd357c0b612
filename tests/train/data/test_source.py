from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.errors import CaiError, InputError
from cai.train.config import resolve_training
from cai.train.data.load import load_rows
from tests.train.data.rows import (
    Load,
    demonstration,
    pair,
    prompts,
    words,
    write,
)


def test_what_cannot_be_read_is_an_error_with_a_hint(load: Load, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "other", "sft", train=[{"text": "x"}])
    damaged = tmp_path / "damaged" / "sft"
    damaged.mkdir(parents=True)
    (damaged / "train.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "file.jsonl").write_text('{"prompt": "a", "completion"\n')
    for name in ("none", "empty", "other", "damaged", "file.jsonl"):
        with pytest.raises(CaiError) as caught:
            load("sft", str(tmp_path / name))
        assert name in caught.value.message
        assert caught.value.hint
    run = write(tmp_path / "run", "preferences", train=[pair(0, p=0.5)])
    with pytest.raises(CaiError, match="no row is left"):
        load("dpo", run)
    with pytest.raises(CaiError, match="sft"):
        load("sft", run)


def test_training_reads_compressed_files_and_tables() -> None:
    row = {"prompt": "q", "completion": "a"}
    for name in ("rows.jsonl.gz", "rows.jsonl"):  # the second without the end that says so
        Path(name).write_bytes(gzip.compress(json.dumps(row).encode()))
        settings = resolve_training("sft", {"data": name})
        assert prompts(load_rows(settings, words(), Path("cache"))) == ["q"]
    for name, text in (
        ("rows.csv", "prompt,completion\nq,a\n"),
        ("rows.tsv", "prompt\tcompletion\nq\ta\n"),
    ):
        Path(name).write_bytes(text.encode("utf-16"))
        settings = resolve_training("sft", {"data": name})
        assert prompts(load_rows(settings, words(), Path("cache"))) == ["q"]


def test_broken_lines_are_counted_and_too_many_stop_the_run() -> None:
    lines = [json.dumps({"prompt": f"q{n}", "completion": "a"}) for n in range(40)]
    lines[7] = '{"prompt": "q7", "compl'
    Path("rows.jsonl").write_text("\n".join(lines))
    settings = resolve_training("sft", {"data": "rows.jsonl"})
    found = load_rows(settings, words(), Path("cache"))
    assert (found.report.kept, found.report.dropped) == (39, {"broken line": 1})
    lines[8:11] = ["{", "5", "x"]
    Path("rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        load_rows(settings, words(), Path("cache"))
    assert caught.value.where == "rows.jsonl:8"
    for number in (9, 10, 11):
        assert f"\nrows.jsonl:{number}: " in caught.value.message
    assert "4 of 40 rows cannot be used: 4 broken line (10.0%" in caught.value.message
    assert "one JSON object a line" in caught.value.hint


def test_a_dataset_in_the_form_of_the_hub(load: Load, tmp_path: Path) -> None:
    """By its card a run folder is a dataset with configurations, as it is on the Hub."""
    run = tmp_path / "run"
    train, test = [demonstration(n) for n in range(3)], [demonstration(9)]
    write(run, "sft", train=train, test=test)
    write(run, "preferences", train=[pair(n) for n in range(4)])
    (run / "README.md").write_text(
        "---\nconfigs:\n- config_name: preferences\n  data_files:\n"
        "  - split: train\n    path: preferences/train.parquet\n"
        "- config_name: sft\n  data_files:\n"
        "  - split: train\n    path: sft/train.parquet\n"
        "  - split: test\n    path: sft/test.parquet\n---\n"
    )
    datasets.disable_progress_bars()
    here = load("sft", str(run))
    hub = load("sft", f"hf:{run}")
    assert hub.train[:] == here.train[:]
    assert hub.eval is not None
    assert len(hub.eval) == 1
    assert hub.report.rows_digest == here.report.rows_digest
    assert set(hub.report.files) == {f"hf:{run} train", f"hf:{run} test"}
    assert len(load("dpo", f"hf:{run}").train) == 4
    named = load("sft", f"hf:{run}:sft:test")
    assert (len(named.train), named.eval) == (1, None)
    with pytest.raises(CaiError, match="no split dev; there are: train, test"):
        load("sft", f"hf:{run}:sft:dev")
    with pytest.raises(CaiError, match="no column completion"):
        load("sft", f"hf:{run}:preferences")
    with pytest.raises(CaiError) as caught:
        load("sft", "hf:nobody/nothing-at-all")
    assert caught.value.message.startswith("hf:nobody/nothing-at-all: ")
    assert "hf auth login" in caught.value.hint


def test_what_is_wrong_with_a_run(load: Load, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def error(method: str = "sft") -> CaiError:
        with pytest.raises(CaiError) as caught:
            load(method, str(run))
        return caught.value

    assert "no such run or file" in error().message
    run.mkdir()
    assert error().message == f"{run}: not a run folder"
    (run / "calls.sqlite").touch()
    assert "has not come to its end" in error().message
    assert "cai generate" in error().hint
    (run / "manifest.json").touch()
    assert "the sft dataset is empty or was not made" in error().message
    assert "failures.jsonl" in error().hint
    write(run, "sft", test=[demonstration(0)])
    assert "has test rows only" in error().message
    table = pa.Table.from_pylist([demonstration(0)])
    pq.write_table(table.slice(0, 0), run / "sft" / "train.parquet")
    assert "has test rows only" in error().message
    pq.write_table(table.drop(["completion"]), run / "sft" / "train.parquet")
    assert "no column completion; there are: 'id', 'prompt'" in error().message
    pq.write_table(table.drop(["id"]), run / "sft" / "train.parquet")
    assert "no column id" in error().message
    pq.write_table(table.set_column(1, "prompt", pa.array([[1, 2]])), run / "sft" / "train.parquet")
    assert "prompt[0]: a message must be an object, not a number" in error().message
    (run / "sft" / "train.parquet").write_bytes(b"PAR1")
    assert "not Parquet that can be read" in error().message
    rows = pa.Table.from_pylist([pair(0)])
    for column in ("chosen_probability", "pair_source", "rejected"):
        write(run, "preferences", train=rows.drop([column]).to_pylist())
        assert f"no column {column}" in error("dpo").message
    write(run, "preferences", train=[pair(0, p="0.8")])  # type: ignore[arg-type]
    assert "chosen_probability: must be a number, not a text ('0.8')" in error("dpo").message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8: byte 0xff"),
        (b"[1]", "a list, not an object"),
        (b'{"prompt": "a", "chosen": "b"}', "no column completion; there are: 'prompt', 'chosen'"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_lines_that_are_wrong_are_named(load: Load, line: bytes, message: str) -> None:
    Path("rows.jsonl").write_bytes(b'{"prompt": "a", "completion": "b"}\n\n' + line + b"\n")
    with pytest.raises(InputError) as caught:
        load("sft", "rows.jsonl")
    assert caught.value.where == "rows.jsonl:3"
    assert message in caught.value.message


def test_other_kinds_of_file(load: Load) -> None:
    Path("rows.txt").write_text("a\n")
    with pytest.raises(InputError, match="unknown kind of file"):
        load("sft", "rows.txt")
    pq.write_table(pa.Table.from_pylist([demonstration(0)]), "rows.parquet")
    assert len(load("sft", "rows.parquet").train) == 1
