from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cai.engines.local.chat import Chat
from cai.errors import CaiError
from cai.train.config import resolve_training
from cai.train.data.load import load_rows
from cai.train.data.report import TokenStatistics, token_statistics
from cai.train.encoding import Encoder
from tests.train.data.rows import (
    Load,
    counted,
    demonstration,
    learnt,
    turns,
    write,
)


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


def test_lengths_are_of_the_prompt_the_longer_answer_and_the_end() -> None:
    # user a b <end> assistant x y z <end>: 9 tokens, of which 5 are the prompt's.
    row = {"prompt": "a b", "chosen": "x y z", "rejected": "w", "chosen_probability": 0.8}
    found = counted([row], method="dpo", max_length=9)
    assert found.report.tokens == TokenStatistics(mean=9, p95=9, max=9)
    found = counted([row, {**row, "prompt": "a", "rejected": "v"}], method="dpo", max_length=8)
    assert found.report.dropped == {"too long": 1}  # 9 > 8; the other has 8
    swapped = {**row, "chosen": "w", "rejected": "x y z"}
    assert counted([swapped], method="dpo", max_length=9).report.tokens.max == 9


def test_a_cut_leaves_at_least_one_token_of_the_answer() -> None:
    rows = [
        {"prompt": "a b", "completion": "x y z"},  # 5 + 4
        {"prompt": "a b c", "completion": "x"},  # 6 + 2
        {"prompt": "a", "completion": "x"},  # 4 + 2
    ]
    found = counted(rows, too_long="cut", max_length=6)
    assert found.report.dropped == {"too long": 1}  # the prompt of the second has 6 already
    assert (found.report.cut, found.report.kept) == (1, 2)
    assert found.report.tokens == TokenStatistics(mean=6, p95=6, max=6)
    assert [learnt(row) for row in found.train] == ["x", "x <end>"]  # the cut teaches no end
    assert any("1 of 2 rows are cut" in text for text in found.report.warnings)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_lengths_are_those_that_trl_trains_on(method: Any, tiny: Path, tokenizer: Any) -> None:
    from cai.train.build import make_trainer

    answers = ["yes", "word " * 40, "no, and why"]
    names = ("completion",) if method == "sft" else ("chosen", "rejected")
    rows = [
        {"prompt": f"Question {n}?", **{name: f"{name} {text}" for name in names}}
        for n, text in enumerate(answers)
    ]
    rows = [row | ({"chosen_probability": 0.8} if method == "dpo" else {}) for row in rows]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"data": "rows.jsonl", "max_length": 70, "batch_size": 1, "device": "cpu"}
    settings = resolve_training(method, {**given, "too_long": "cut", "max_too_long": 1.0})
    found = load_rows(settings, Encoder(Chat(tokenizer), "<|im_end|>"), Path("cache"))
    rows = (found.train, found.eval)
    trainer = make_trainer(settings, tiny, Path("out"), tokenizer, rows, Console(quiet=True))
    batches = [trainer.data_collator([row]) for row in trainer.train_dataset]
    lengths = [int(batch["attention_mask"].sum(1).max()) for batch in batches]
    assert max(lengths) == 70 > sorted(lengths)[1]
    assert found.report.tokens == token_statistics(lengths)
    assert found.report.cut == 1


@pytest.mark.parametrize(
    ("limit", "stops"), [(0.25, False), (0.2499, True), (0.0, True), (1.0, False)]
)
@pytest.mark.parametrize("way", ["drop", "cut"])
def test_the_share_of_rows_that_are_too_long(limit: float, stops: bool, way: str) -> None:
    rows = [{"prompt": str(n), "completion": "x " * (1 + 9 * (n == 2))} for n in range(4)]
    given = {"max_length": 10, "max_too_long": limit, "too_long": way}
    if not stops:
        assert counted(rows, **given).report.read == 4
        return
    with pytest.raises(CaiError) as caught:
        counted(rows, **given)
    assert "1 of 4 rows (25.0%) have more than max_length = 10 tokens" in caught.value.message
    assert "of rows.jsonl, has 15" in caught.value.message  # user 2 <end> assistant 10x <end>
    assert f"max_too_long is {limit}" in caught.value.hint
