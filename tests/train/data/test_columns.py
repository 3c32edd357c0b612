from __future__ import annotations

from typing import Any

import pytest

from cai.dataset.schema import DATASETS, schema_of
from cai.errors import InputError
from cai.train.data.columns import columns_of_run, columns_to_read, missing_column


def test_the_columns_of_a_run_are_read_by_the_names_that_its_schema_has() -> None:
    assert columns_of_run("sft") == ["id", "prompt"]
    assert columns_of_run("preferences") == ["id", "prompt", "chosen_probability", "pair_source"]
    of_sft = columns_to_read("sft", columns_of_run("sft"))
    assert of_sft(DATASETS["sft"].names, "x") == ["id", "prompt", "completion", "prompt_kind"]
    of_pairs = columns_to_read("preferences", columns_of_run("preferences"))
    assert of_pairs(schema_of("preferences", 1).names, "x") == [
        "id", "prompt", "chosen", "rejected", "chosen_probability", "pair_source",
        "prompt_kind",
    ]  # fmt: skip
    assert of_pairs(DATASETS["preferences"].names, "x") == [
        "id", "prompt", "chosen", "rejected", "chosen_probability", "pair_source",
        "calibrated", "prompt_kind",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "names", "missing"),
    [
        ("sft", ["prompt"], "completion"),
        ("sft", ["messages"], None),
        ("preferences", ["messages", "chosen"], "rejected"),
        ("preferences", ["chosen", "rejected"], None),
    ],
)
def test_a_column_that_is_needed(dataset: Any, names: list[str], missing: str | None) -> None:
    assert missing_column(names, dataset) == missing
    if missing is not None:
        with pytest.raises(InputError, match=f"no column {missing}; there are: "):
            columns_to_read(dataset)(names, "x")
