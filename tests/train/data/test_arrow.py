from __future__ import annotations

from pathlib import Path

from tests.train.data.rows import (
    MAIN,
    Load,
    counted,
    demonstration,
    write,
)


def test_the_files_are_read_back_and_the_digests_notice_changes() -> None:
    one, two = counted(MAIN), counted(MAIN)
    (file,) = {Path(d.cache_files[0]["filename"]) for d in (one.train, two.train)}
    assert file.parent == Path("cache").resolve()
    assert one.report == two.report
    assert one.train._fingerprint == two.train._fingerprint  # what is cached by it stays valid
    other = counted([*MAIN[:-1], {"prompt": "m9", "completion": "b"}])
    assert other.report.rows_digest != one.report.rows_digest
    assert other.report.files["rows.jsonl"] != one.report.files["rows.jsonl"]
    assert counted(MAIN[::-1]).report.rows_digest != one.report.rows_digest
    pairs = [{"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.75}]
    label = counted(pairs, method="dpo", loss="soft").report.rows_digest
    pairs[0]["chosen_probability"] = 0.8
    assert counted(pairs, method="dpo", loss="soft").report.rows_digest != label
    assert len(list(Path("cache").iterdir())) == 5  # no temporary file is left


def test_a_change_of_the_test_split_is_noticed(load: Load, tmp_path: Path) -> None:
    run = tmp_path / "run"
    one = load("sft", write(run, "sft", train=[demonstration(0)], test=[demonstration(1)]))
    two = load("sft", write(run, "sft", train=[demonstration(0)], test=[demonstration(2)]))
    assert one.report.rows_digest != two.report.rows_digest
    train, test = run / "sft" / "train.parquet", run / "sft" / "test.parquet"
    assert one.report.files[str(train)] == two.report.files[str(train)]
    assert one.report.files[str(test)] != two.report.files[str(test)]
