from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cai.errors import CaiError
from cai.records import Message
from cai.train.data import load
from cai.train.data.examples import Example
from tests.train.data.rows import (
    Load,
    pair,
    write,
)


def test_a_run_is_read_in_both_splits(load: Load, tokenizer: Any, tmp_path: Path) -> None:
    train, test = [pair(n) for n in range(6)], [pair(n) for n in range(6, 8)]
    found = load("dpo", write(tmp_path / "run", "preferences", train=train, test=test))
    assert len(found.train) == 6
    assert found.eval is not None
    assert len(found.eval) == 2
    columns = ["prompt_ids", "chosen_ids", "rejected_ids", "chosen_probability"]
    assert found.train.column_names == columns
    row = found.train[0]
    prompt = tokenizer.apply_chat_template(
        train[0]["prompt"], add_generation_prompt=True, return_dict=False
    )
    assert row["prompt_ids"] == prompt
    assert [tokenizer.decode(row[name]) for name in columns[1:3]] == [
        "Good answer 0.<|im_end|>", "Bad answer 0.<|im_end|>",
    ]  # fmt: skip
    assert row["chosen_probability"] == 1.0  # auto: hard, as nobody calibrated it
    assert found.report.labels is not None
    assert found.report.labels.mean == pytest.approx(0.8)


def test_sure_labels_are_refused_where_doubt_is_to_be_learnt(load: Load, tmp_path: Path) -> None:
    run = write(tmp_path / "run", "preferences", train=[pair(n, p=0.995) for n in range(5)])
    for loss in ("soft", "geometric"):
        with pytest.raises(CaiError, match=r"above 0\.99"):
            load("dpo", run, loss=loss)
    assert len(load("dpo", run, loss="hard").train) == 5


@pytest.mark.parametrize(("helpful", "others", "told"), [(1, 3, True), (1, 2, False), (0, 2, True)])
def test_too_little_help_among_what_is_imitated_is_told(
    helpful: int, others: int, told: bool
) -> None:
    kinds = ["helpful"] * helpful + ["red-team"] * others
    rows = [
        Example(
            id=str(n),
            origin="x",
            prompt=(Message(role="user", content="Why?"),),
            answers=("So.",),
            prompt_kind=kind,
        )
        for n, kind in enumerate(kinds)
    ]
    words = list(load._too_few_helpful(rows))
    assert bool(words) is told
    if told:
        assert words[0].startswith(f"{helpful} of {helpful + others} rows answer helpful prompts")
    unknown = [row.model_copy(update={"prompt_kind": None}) for row in rows]
    assert list(load._too_few_helpful(unknown)) == []
