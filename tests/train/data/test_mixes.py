from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.errors import CaiError
from cai.train.data.report import LabelStatistics
from tests.train.data.rows import (
    MAIN,
    Load,
    asked,
    counted,
    demonstration,
    helpful,
    prompts,
    spoken,
    turns,
    write,
)


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


def test_a_weight_counts_rows_that_stay_and_a_larger_draw_adds_to_a_smaller() -> None:
    other = helpful(20)
    main = [*MAIN, *MAIN[:4]]  # 14 rows, of which 10 stay
    small, large = (counted(main, mix=[f"{other}={weight}"]) for weight in (0.3, 0.5))
    source = small.report.sources[1]
    assert (source.read, source.asked, source.kept, source.unused) == (20, 3, 3, 17)
    assert prompts(large)[:13] == prompts(small)
    assert prompts(small)[:10] == [f"m{n}" for n in range(10)]
    assert prompts(small)[10:] != ["h0", "h1", "h2"]
    # By the hash of (seed, id); the id of a row without one is that of its content.
    drawn = counted(main, mix=[f"{other}=0.3"], seed=1)
    assert set(prompts(drawn)[10:]) != set(prompts(small)[10:])


def test_a_mix_that_is_too_small_is_taken_whole_and_reported() -> None:
    found = counted(MAIN, mix=[f"{helpful(4)}=1.5"])
    assert found.report.sources[1].kept == 4
    assert found.report.warnings == (
        "helpful.jsonl: 4 rows, fewer than were asked for (1.5 x 10 = 15)",
    )
    assert counted(MAIN, mix=[helpful(4)]).report.warnings == ()


def test_a_mix_gives_no_row_of_another_source_and_none_of_the_test_split(
    load: Load, texts: Any, tmp_path: Path
) -> None:
    first = helpful(4)  # h0 to h3
    second = helpful(4, "more.jsonl", start=2)  # h2 to h5
    again = {"prompt": turns("user", "h0"), "completion": turns("assistant", "gladly")}
    main = [demonstration(0), demonstration(1, **again)]
    test = [demonstration(9, prompt=turns("user", "H5"))]
    run = write(tmp_path / "run", "sft", train=main, test=test)
    found = load("sft", run, mix=[first, second])
    assert [s.dropped for s in found.report.sources] == [
        {}, {"duplicate": 1}, {"duplicate": 2, "leak": 1},
    ]  # fmt: skip
    assert sorted(texts(found)) == ["Question 0?", "h0", "h1", "h2", "h3", "h4"]
    assert found.report.dropped == {"duplicate": 3, "leak": 1}
    assert (found.report.read, found.report.kept) == (10, 6)


def test_a_mix_passes_over_rows_that_are_too_long() -> None:
    rows = [{"prompt": f"h{n}", "completion": "x " * (1 + 50 * (n % 2))} for n in range(10)]
    Path("other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = counted(MAIN, mix=["other.jsonl=0.5"], max_length=20)
    source = found.report.sources[1]
    assert source.kept == 5
    assert all(int(p[1:]) % 2 == 0 for p in prompts(found)[10:])
    assert source.read == source.kept + sum(source.dropped.values()) + source.unused == 10
    with pytest.raises(CaiError, match=r"of other\.jsonl"):
        counted(MAIN, mix=["other.jsonl=0.5"], max_length=20, max_too_long=0.1)


def test_mixes_alone_are_nothing_to_train_on() -> None:
    with pytest.raises(CaiError, match="no row is left"):
        counted([{"prompt": "", "completion": "a"}], mix=[helpful(3)])


def test_pairs_of_a_mix_may_lack_a_label_and_repeat_their_prompt() -> None:
    said = [*turns("user", "q"), *turns("assistant", "good")]
    other = {"prompt": "q", "chosen": said, "rejected": [*said[:1], *turns("assistant", "bad")]}
    Path("other.jsonl").write_text(json.dumps(other) + "\n")
    main = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_probability": 0.75}
    found = counted([main], method="dpo", mix=["other.jsonl"])
    row = found.train[1]
    assert asked(row) == "user q <end> assistant"
    assert [spoken(row[name]) for name in ("chosen_ids", "rejected_ids")] == [
        "good <end>", "bad <end>",
    ]  # fmt: skip
    assert row["chosen_probability"] == 1.0
    assert found.report.labels == LabelStatistics(mean=0.875, saturated=0.5, soft=0)
