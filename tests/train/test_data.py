from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.errors import CaiError
from cai.train.config import resolve_training
from cai.train.data import TrainData, load_rows

Load = Callable[..., TrainData]


def turns(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pair(n: int, p: float = 0.8, **more: Any) -> dict[str, Any]:
    return {
        "id": f"row-{n}",
        "prompt": turns("user", f"Question {n}?"),
        "chosen": turns("assistant", f"Good answer {n}."),
        "rejected": turns("assistant", f"Bad answer {n}."),
        "chosen_probability": p,
        "pair_source": "sampled",
        **more,
    }


def demonstration(n: int, **more: Any) -> dict[str, Any]:
    answer = {"completion": turns("assistant", f"Answer {n}.")}
    return {"id": f"row-{n}", "prompt": turns("user", f"Question {n}?"), **answer, **more}


def write(folder: Path, name: str, **splits: list[dict[str, Any]]) -> str:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")
    return str(folder)


@pytest.fixture
def load(tokenizer: Any, tmp_path: Path) -> Load:
    def rows(method: Any, data: str, **given: Any) -> TrainData:
        settings = resolve_training(method, {"data": data, "max_length": 400, **given})
        return load_rows(settings, tokenizer, tmp_path / "cache")

    return rows


def test_a_run_is_read_in_both_splits(load: Load, tmp_path: Path) -> None:
    train, test = [pair(n) for n in range(6)], [pair(n) for n in range(6, 8)]
    found = load("dpo", write(tmp_path / "run", "preferences", train=train, test=test))
    assert len(found.train) == 6
    assert found.eval is not None
    assert len(found.eval) == 2
    columns = ["prompt", "chosen", "rejected", "chosen_probability"]
    assert found.train.column_names == columns
    assert found.train[0] == {name: train[0][name] for name in columns}
    assert found.report.labels is not None
    assert found.report.labels.mean == pytest.approx(0.8)


def test_every_row_is_accounted_for(load: Load, tmp_path: Path) -> None:
    train = [
        pair(0),
        pair(1),
        pair(1),  # a duplicate
        pair(2, p=0.5),  # no label
        pair(3, rejected=turns("assistant", "Good answer 3.")),  # the same sides
        pair(4, chosen=turns("assistant", "")),  # nothing to learn
        pair(5, prompt=turns("user", "QUESTION  9?")),  # stands in the test split
        pair(6, pair_source="revision"),
        pair(7, p=0.6),  # margin 0.2
        pair(8),
    ]
    run = write(tmp_path / "run", "preferences", train=train, test=[pair(9)])
    found = load("dpo", run, pair_source="sampled", min_margin=0.3)
    (counts,) = found.report.sources
    dropped = {name: n for name, n in counts.dropped.items() if n}
    assert dropped == {
        "degenerate": 3, "duplicate": 1, "leak": 1, "pair source": 1, "margin": 1,
    }  # fmt: skip
    assert (counts.read, counts.kept) == (10, 3)
    assert [row["prompt"][0]["content"] for row in found.train] == [
        "Question 0?", "Question 1?", "Question 8?",
    ]  # fmt: skip


def test_too_long_rows_are_dropped_cut_or_stop_the_run(load: Load, tmp_path: Path) -> None:
    rows = [demonstration(n) for n in range(19)]
    rows.append(demonstration(19, completion=turns("assistant", "word " * 300)))
    run = write(tmp_path / "run", "sft", train=rows)
    found = load("sft", run, max_length=100)
    assert len(found.train) == 19
    assert found.report.sources[0].dropped["too long"] == 1
    cut = load("sft", run, max_length=100, too_long="cut")
    assert (len(cut.train), cut.report.cut) == (20, 1)
    with pytest.raises(CaiError) as caught:
        load("sft", run, max_length=100, max_too_long=0.01)
    assert "5" in caught.value.message  # per cent
    assert caught.value.hint


def test_a_mix_takes_its_weight_and_only_into_train(load: Load, tmp_path: Path) -> None:
    main = [demonstration(n) for n in range(10)]
    run = write(tmp_path / "run", "sft", train=main, test=[demonstration(99)])
    other = tmp_path / "helpful.jsonl"
    rows = [{"prompt": f"Help {n}?", "completion": f"Gladly {n}."} for n in range(30)]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load("sft", run, mix=[f"{other}=0.5"])
    assert len(found.train) == 15
    assert found.eval is not None
    assert len(found.eval) == 1
    again = load("sft", run, mix=[f"{other}=0.5"])
    assert again.train[:] == found.train[:]
    assert again.report == found.report
    elsewhere = load("sft", run, mix=[f"{other}=0.5"], seed=1)
    assert elsewhere.report.rows_digest != found.report.rows_digest
    assert len(load("sft", run, mix=[str(other)]).train) == 40


def test_sure_labels_are_refused_where_doubt_is_to_be_learnt(load: Load, tmp_path: Path) -> None:
    run = write(tmp_path / "run", "preferences", train=[pair(n, p=0.995) for n in range(5)])
    for loss in ("soft", "geometric"):
        with pytest.raises(CaiError, match=r"above 0\.99"):
            load("dpo", run, loss=loss)
    assert len(load("dpo", run, loss="hard").train) == 5


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
