from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cai.train.config import resolve_training
from cai.train.data.examples import examples
from cai.train.data.selection import select
from cai.train.data.source import Source
from tests.train.data.rows import (
    Load,
    pair,
    turns,
    words,
    write,
)


def test_every_row_is_accounted_for(load: Load, texts: Any, tmp_path: Path) -> None:
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
        "no preference": 1, "same answers": 1, "empty answer": 1, "duplicate": 1,
        "leak": 1, "pair source": 1, "margin": 1,
    }  # fmt: skip
    assert (counts.read, counts.kept) == (10, 3)
    assert texts(found) == ["Question 0?", "Question 1?", "Question 8?"]


ROW = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["a", "A ", "b", "c d", ""]),
        "chosen": st.sampled_from(["x", "y z", "", "w " * 9]),
        "rejected": st.sampled_from(["x", "v"]),
        "chosen_probability": st.sampled_from([0.5, 0.6, 0.9, 1.0]),
        "pair_source": st.sampled_from(["revision", "sampled"]),
    }
)


@given(st.lists(ROW, max_size=12), st.sampled_from(["drop", "cut"]), st.integers(0, 6))
def test_every_row_is_somewhere_in_the_counts(rows: Any, way: Any, wanted: int) -> None:
    settings = resolve_training(
        "dpo",
        {
            "data": "x", "too_long": way, "max_length": 10, "min_margin": 0.5,
            "pair_source": "sampled",
        },
    )  # fmt: skip
    places = [(f"x:{n}", row) for n, row in enumerate(rows)]
    tested = examples([(where, {**row, "prompt": "B"}) for where, row in places], "", "preferences")
    held_out = {e.prompt_key for e in tested if e.prompt_key}
    source = Source("x", examples(places, "x", "preferences"), [], {})
    found = select(source, settings, words(), held_out, count=wanted)
    counts = found.counts
    assert counts.read == counts.kept + sum(counts.dropped.values()) + counts.unused == len(rows)
    assert counts.cut <= counts.kept == len(found.kept) <= wanted
    for kept in found.kept:
        assert kept.pair_source == "sampled"
        assert kept.probability >= 0.75
        assert kept.prompt_key not in held_out
    assert len({e.content_digest for e in found.kept}) == len(found.kept)
