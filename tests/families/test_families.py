"""Every family on a real tokenizer, where `CAI_FAMILIES` names the folder of `fetch.py`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cai.records import Completion, Message, Sampling

from .architectures import save_model
from .catalogue import FAMILIES, Family
from .checks import check_format, with_tokens
from .table import keep

pytestmark = [
    pytest.mark.families,
    pytest.mark.skipif("CAI_FAMILIES" not in os.environ, reason="no CAI_FAMILIES"),
]
WITHOUT_ADAPTER = {"nemotron_h"}  # peft takes none for its layers


def tokenizer_of(family: Family) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = Path(os.environ["CAI_FAMILIES"]) / family.tokenizer
    if family.tokenizer == "tekken":
        file = str(folder / "tokenizer.json")
        return with_tokens(PreTrainedTokenizerFast(tokenizer_file=file), family)
    return with_tokens(AutoTokenizer.from_pretrained(folder), family)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_family(family: Family, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    facts = check_format(tokenizer, family)
    ends = tokenizer.convert_tokens_to_ids(list(family.ends))
    kind = save_model(family.model, tokenizer, ends, tmp_path / "base")
    adapter = family.model not in WITHOUT_ADAPTER
    if not ("CAI_FAMILIES_ONCE" in os.environ and trained_already(family)):
        for method, lora in (("sft", 4 if adapter else None), ("dpo", None)):
            check_training(method, lora, tmp_path)
    how = kind.__name__ if adapter else f"{kind.__name__}, all weights only"
    keep(Path(os.environ["CAI_FAMILIES"]), family.name, {**facts, "trained as": how})
    gc.freeze()  # a tokenizer's files are a million objects, which each later collection visits


def trained_already(family: Family) -> bool:
    """Whether an earlier family has a model of the same class; templates differ all the same."""
    return next(other for other in FAMILIES if other.model == family.model) is not family


def check_training(method: Any, lora: int | None, folder: Path) -> None:
    """Two steps change weights, lose none, and the result generates."""
    from cai.train.config import resolve_training
    from cai.train.run import train

    rows = [
        {"messages": [{"role": "user", "content": f"Number {n}?"}], "said": f"It is {n}."}
        for n in range(4)
    ]
    names = ("completion",) if method == "sft" else ("chosen", "rejected")
    data = folder / f"{method}.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for row in rows:
            answers = dict(zip(names, (row["said"], "I do not know."), strict=False))
            file.write(json.dumps({"prompt": row["messages"], **answers}) + "\n")
    given = {"model": str(folder / "base"), "out": str(folder / method), "max_steps": 2,
             "batch_size": 2, "learning_rate": 0.05, "lora": lora, "device": "cpu"}  # fmt: skip
    given |= {"loss": "hard"} if method == "dpo" else {}
    train(resolve_training(method, {"data": str(data), **given}))
    base, result = tensors(folder / "base"), tensors(folder / method)
    assert base.keys() <= result.keys()
    assert any(not base[name].equal(result[name]) for name in base)
    answer = asyncio.run(generated(folder / method))
    assert 0 < answer.usage.output_tokens <= 4


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


async def generated(folder: Path) -> Completion:
    from cai.engines.local.transformers import TransformersEngine

    engine = TransformersEngine(str(folder), device="cpu", dtype="float32")
    await engine.start()
    try:
        question = (Message(role="user", content="Number 3?"),)
        return await engine.generate(question, Sampling(temperature=0, max_tokens=4))
    finally:
        await engine.close()
