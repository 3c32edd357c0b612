from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.errors import CaiError
from cai.train.config import resolve_training
from cai.train.data.examples import Example
from cai.train.data.filters import learnt, least_margin, with_margin
from cai.train.data.load import load_rows
from tests.train.data.rows import (
    Load,
    counted,
    demonstration,
    turns,
    words,
    write,
)


def test_duplicates_have_one_prompt_and_the_same_answers() -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.7}
    rows = [row, {**row, "chosen_probability": 0.9}, {**row, "chosen": "b", "rejected": "a"}]
    found = counted(rows, method="dpo", loss="soft")
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
    # 2 x 0.75 - 1, and equal is enough
    found = counted(margins, method="dpo", loss="soft", min_margin=0.5)
    assert found.report.dropped == {"margin": 1}
    assert found.train["chosen_probability"][:] == [0.75, 0.875]
    seven = [{**base, "chosen": "a", "chosen_probability": 0.7}]
    found = counted(seven, method="dpo", loss="soft", min_margin=0.4)
    assert found.train["chosen_probability"][:] == [0.7]  # 2 x 0.7 - 1 < 0.4 in floating point


def labelled(*labels: tuple[float, bool | None]) -> list[dict[str, Any]]:
    """Pairs with these probabilities, and with a column `calibrated` where that is not None."""
    return [
        {
            "prompt": f"q{n}",
            "chosen": "a",
            "rejected": "b",
            "chosen_probability": p,
            **({} if calibrated is None else {"calibrated": calibrated}),
        }
        for n, (p, calibrated) in enumerate(labels)
    ]


def test_auto_decides_row_by_row_by_the_column_calibrated() -> None:
    rows = labelled(
        (0.55, True), (0.9, True), (0.55, False), (0.6, False), (0.9, False), (0.7, None)
    )
    found = counted(rows, method="dpo")
    # soft: both that are calibrated; hard: those of at least 0.6 = (1 + 0.2) / 2
    assert found.train["chosen_probability"][:] == [0.55, 0.9, 1.0, 1.0, 1.0]
    assert found.report.dropped == {"margin": 1}
    assert found.report.labels is not None
    assert found.report.labels.soft == 2
    assert found.report.lines()[-1] == "loss auto: 2 rows soft (calibrated), 3 hard"
    found = counted(rows, method="dpo", min_margin=0.5)  # one that is given holds for all
    assert found.train["chosen_probability"][:] == [0.9, 1.0]


def test_a_loss_that_is_named_is_what_it_was() -> None:
    rows = labelled((0.55, True), (0.55, False), (0.9, None))
    for loss in ("hard", "soft", "geometric"):
        found = counted(rows, method="dpo", loss=loss)
        assert found.train["chosen_probability"][:] == [0.55, 0.55, 0.9]
        assert found.report.labels is not None
        assert found.report.labels.soft is None


@given(
    st.lists(st.tuples(st.floats(0.51, 1), st.sampled_from([True, False, None])), min_size=1),
    st.sampled_from(["auto", "hard", "soft", "geometric"]),
    st.one_of(st.none(), st.floats(0, 0.9)),
)
def test_what_is_learnt_of_a_label(
    labels: list[tuple[float, bool | None]], loss: str, margin: float | None
) -> None:
    settings = resolve_training("dpo", {"data": "x", "loss": loss, "min_margin": margin})
    examples = [
        Example(
            id=str(n), origin="x", prompt=(), answers=("a", "b"), probability=p, calibrated=bool(c)
        )
        for n, (p, c) in enumerate(labels)
    ]
    for example, (p, calibrated) in zip(examples, labels, strict=True):
        hard = loss == "auto" and not calibrated
        assert learnt(example, settings) == (1.0 if hard else p)
        assert least_margin(example, settings) == (margin if margin is not None else 0.2 * hard)
    kept = with_margin(examples, settings)
    assert [e for e in examples if e in kept] == kept


def test_where_the_margin_leaves_nothing_the_error_has_the_counts() -> None:
    rows = labelled((0.51, False), (0.53, None), (0.56, False), (0.57, False))
    with pytest.raises(CaiError) as caught:
        counted(rows, method="dpo")
    assert "no label has a margin 2p - 1 of 0.2" in caught.value.message
    assert "by min_margin: 4 at 0, 3 at 0.05, 2 at 0.1" in str(caught.value.hint)


@pytest.mark.parametrize("value", ["perhaps", 1, []])
def test_a_column_calibrated_that_says_neither_yes_nor_no_is_a_bad_row(value: Any) -> None:
    rows = [{**row, "calibrated": value} for row in labelled((0.9, None))]
    with pytest.raises(CaiError, match="must be true or false"):
        counted(rows, method="dpo")


def test_a_table_says_calibrated_in_words() -> None:
    lines = ["prompt,chosen,rejected,chosen_probability,calibrated"]
    lines += ["q1,a,b,0.7,True", "q2,a,b,0.7,false", "q3,a,b,0.7,"]
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    Path("rows.jsonl").write_text("q1 q2 q3")  # the words that the encoder knows
    settings = resolve_training("dpo", {"data": "rows.csv"})
    found = load_rows(settings, words(), Path("cache"))
    assert found.train["chosen_probability"][:] == [0.7, 1.0, 1.0]
