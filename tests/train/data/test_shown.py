"""The first rows of a training as text, with what is learnt of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cai.train.data.shown import ROWS, TOKENS, tokens, write_examples
from tests.train.data.rows import Load, pair, write


def test_what_is_marked_is_the_answer_with_its_end(
    load: Load, tokenizer: Any, tmp_path: Path
) -> None:
    rows = [pair(n) for n in range(ROWS + 2)]
    found = load("dpo", write(tmp_path / "run", "preferences", train=rows))
    write_examples(tmp_path, found.train, tokenizer)
    lines = [json.loads(x) for x in (tmp_path / "examples.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"row {n}" for n in range(1, ROWS + 1)]
    for name, part in zip(("chosen", "rejected"), lines[0]["parts"], strict=True):
        learnt = "".join(t["text"] for t in part["tokens"] if t["learnt"])
        assert learnt.removesuffix("<|im_end|>") == rows[0][name][0]["content"]
        read = "".join(t["text"] for t in part["tokens"] if not t["learnt"])
        assert rows[0]["prompt"][-1]["content"] in read


def test_a_character_of_several_tokens_stands_once_and_a_long_row_is_cut(tokenizer: Any) -> None:
    ids = tokenizer.encode("né 天 é", add_special_tokens=False)
    shown = tokens(ids, [1] * len(ids), tokenizer)
    assert "".join(t["text"] for t in shown) == "né 天 é"
    long = tokens(ids * TOKENS, [1] * len(ids) * TOKENS, tokenizer)
    assert len(long) <= TOKENS + 1
    assert long[-1]["text"].endswith("more tokens")
