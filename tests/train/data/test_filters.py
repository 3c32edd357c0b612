from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.errors import CaiError
from tests.train.data.rows import (
    Load,
    counted,
    demonstration,
    turns,
    write,
)


def test_duplicates_have_one_prompt_and_the_same_answers() -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.7}
    rows = [row, {**row, "chosen_probability": 0.9}, {**row, "chosen": "b", "rejected": "a"}]
    found = counted(rows, method="dpo")
    assert found.report.dropped == {"duplicate": 1}
    assert [r["chosen_probability"] for r in found.train] == [0.7, 0.7]  # the first, the swapped
    sft = [{"prompt": p, "completion": c} for p, c in (("q", "a"), ("q", "b"), ("q", "a"))]
    assert counted(sft).report.dropped == {"duplicate": 1}


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("Say  HELLO\nnow", True),
        (" say hello now ", True),
        ("\uff33\uff41\uff59 hello now", True),  # full-width letters
        ("say hello now!", False),
        ("sayhello now", False),
    ],
)
def test_what_leaks(load: Load, tmp_path: Path, text: str, leaks: bool) -> None:
    system = turns("system", "Be brief.")
    talk = [*turns("user", "hi"), *turns("assistant", "hello")]
    train = [
        demonstration(0),
        demonstration(1, prompt=turns("user", text)),
        demonstration(2, prompt=[*system, *turns("user", text)]),  # another system text
        demonstration(3, prompt=[*talk, *turns("user", text)]),  # another conversation
    ]
    test = [
        demonstration(9, prompt=turns("user", "say hello now")),
        # What is not tested for its length or its answer still must not be trained on.
        demonstration(10, prompt=turns("user", "Question 0?"), completion=turns("assistant", "")),
    ]
    found = load("sft", write(tmp_path / "run", "sft", train=train, test=test))
    assert found.report.dropped == {"leak": 3 if leaks else 1}
    assert found.report.test is not None
    assert found.report.test.dropped == {"empty answer": 1}


def test_pair_source_and_margin() -> None:
    base = {"prompt": "q", "rejected": "b"}
    sources = [{**base, "chosen": s, "pair_source": s} for s in ("revision", "sampled", "revision")]
    sources[2]["prompt"] = "q2"
    for wanted, kept in (("all", 3), ("revision", 2), ("sampled", 1)):
        found = counted(sources, method="dpo", loss="hard", pair_source=wanted)
        assert found.report.kept == kept
        assert found.report.dropped == ({"pair source": 3 - kept} if kept < 3 else {})
    Path("other.jsonl").write_text(json.dumps({**base, "chosen": "a"}) + "\n")  # names no source
    found = counted(sources, method="dpo", loss="hard", pair_source="sampled", mix=["other.jsonl"])
    assert [source.kept for source in found.report.sources] == [1, 1]
    with pytest.raises(CaiError, match="no column pair_source"):
        counted([{**base, "chosen": "a"}], method="dpo", loss="hard", pair_source="sampled")
    margins = [{**base, "chosen": str(p), "chosen_probability": p} for p in (0.625, 0.75, 0.875)]
    found = counted(margins, method="dpo", min_margin=0.5)  # 2 x 0.75 - 1, and equal is enough
    assert found.report.dropped == {"margin": 1}
    assert found.train["chosen_probability"][:] == [0.75, 0.875]
    seven = [{**base, "chosen": "a", "chosen_probability": 0.7}]
    found = counted(seven, method="dpo", min_margin=0.4)
    assert found.train["chosen_probability"][:] == [0.7]  # 2 x 0.7 - 1 < 0.4 in floating point
