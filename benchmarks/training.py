"""What training teaches: a style by SFT, a rule by DPO, and a rule under labels of mixed quality.

    python benchmarks/training.py sft|dpo|noise [--json FILE]

`sft` and `dpo` train the small real model on rules about the shipped seeds; `noise` a tiny model
from scratch, on labels that are flipped at a rate drawn per row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pyarrow as pa
import pyarrow.parquet as pq

from cai.engines.transformers import TransformersEngine, default_model
from cai.prompts import read_prompts
from cai.records import Sampling, user
from cai.train.callbacks import read_metrics
from cai.train.config import resolve_training
from cai.train.run import train

Rows = list[dict[str, Any]]
KINDS = ["apple", "bread", "chair", "cloud", "dance", "earth", "field", "grape"]
KINDS += ["heart", "house", "light", "music"]


def turns(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def run_folder(folder: Path, name: str, train_rows: Rows, test_rows: Rows) -> str:
    (folder / name).mkdir(parents=True)
    for split, given in (("train", train_rows), ("test", test_rows)):
        rows = [{"id": f"{split} {n}", "pair_source": "sampled", **r} for n, r in enumerate(given)]
        pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")
    return str(folder)


def values(folder: Path, name: str) -> list[float]:
    return [line[name] for line in read_metrics(folder / "metrics.jsonl") if name in line]


def sft(scratch: Path) -> dict[str, Any]:
    """Answers that say the question's longest words back in one fixed form."""
    rows = []
    for prompt in list(read_prompts("seeds:helpful"))[:88]:
        asked = " ".join(prompt.last_human_turn.split()[:30])
        words = sorted(set(asked.lower().split()), key=lambda w: (-len(w), w))[:3]
        answer = f"In short: {', '.join(words)}. That is all there is to say."
        rows.append({"prompt": turns("user", asked), "completion": turns("assistant", answer)})
    data = run_folder(scratch / "data", "sft", rows[:64], rows[64:])
    begun = time.monotonic()
    out = train(
        resolve_training(
            "sft",
            {"data": data, "out": str(scratch / "out"), "batch_size": 8, "learning_rate": 3e-4},
        )
    )
    losses = values(out, "eval_loss")
    return {
        "rows": [64, 24],
        "held-out loss": [round(losses[0], 3), round(losses[-1], 3)],
        "seconds": round(time.monotonic() - begun),
    }


def dpo(scratch: Path) -> dict[str, Any]:
    """Two cuts of one text; the shorter is better, with probability 0.95."""
    draw = random.Random(0)
    texts = [p.last_human_turn.split() for p in read_prompts("seeds:helpful")]
    texts = [t for t in texts if len(t) >= 16][:96]
    rows = []
    for n, words in enumerate(texts):
        other = texts[(n + 1) % len(texts)]
        short, long = draw.randint(4, 8), draw.randint(11, 16)
        rows.append(
            {
                "prompt": turns("user", "Say it: " + " ".join(other[:10])),
                "chosen": turns("assistant", " ".join(words[:short])),
                "rejected": turns("assistant", " ".join(words[:long])),
                "chosen_probability": 0.95,
            }
        )
    data = run_folder(scratch / "data", "preferences", rows[:72], rows[72:])
    begun = time.monotonic()
    out = train(
        resolve_training(
            "dpo",
            {
                "data": data,
                "out": str(scratch / "out"),
                "batch_size": 8,
                "learning_rate": 2e-4,
                "loss": "soft",
            },
        )
    )
    asked = [row["prompt"][0]["content"] for row in rows[72:]]
    lengths = {
        name: asyncio.run(sampled_lengths(model, asked))
        for name, model in (("before", default_model()), ("after", str(out)))
    }
    pairs = list(zip(lengths["before"], lengths["after"], strict=True))
    ranked, margin = values(out, "eval_rewards/accuracies"), values(out, "eval_rewards/margins")
    return {
        "rows": [72, len(rows) - 72],
        "held-out pairs whose reward ranks them by the rule": [ranked[0], round(ranked[-1], 3)],
        "held-out reward margin": [margin[0], round(margin[-1], 3)],
        "words of a fresh sample, mean": [
            round(statistics.mean(found), 1) for found in lengths.values()
        ],
        "samples shorter, longer than before": [
            sum(b > a for b, a in pairs),
            sum(b < a for b, a in pairs),
        ],
        "seconds": round(time.monotonic() - begun),
    }


async def sampled_lengths(model: str, prompts: list[str]) -> list[int]:
    """Words of one sample per prompt, at most 48 tokens, the same seeds for every model."""
    engine = TransformersEngine(model, device="cpu")
    await engine.start()
    try:
        found = await asyncio.gather(
            *(
                engine.generate([user(text)], Sampling(temperature=1, max_tokens=48, seed=n))
                for n, text in enumerate(prompts)
            )
        )
    finally:
        await engine.close()
    return [len(completion.text.split()) for completion in found]


def tiny_model(folder: Path, seed: int) -> Path:
    """A random Llama of two layers over whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<pad>", "<end>", "<unk>", "<user>", "<answer>"]
    vocabulary = {word: n for n, word in enumerate([*special, *KINDS, "pick", "good", "bad"])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + ' <end>' }}"
        "{% else %}{{ '<user> ' + m['content'] + ' <answer> ' }}{% endif %}{% endfor %}"
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        additional_special_tokens=special[3:],
        chat_template=template,
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        eos_token_id=1,
        bos_token_id=None,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def noisy_pairs(draw: random.Random, count: int, *, clean: bool) -> Rows:
    """The rule: the answer with more words of the first half of the alphabet is better."""
    rows: Rows = []
    early = set(KINDS[: len(KINDS) // 2])
    while len(rows) < count:
        answers = [[draw.choice(KINDS) for _ in range(4)] for _ in range(2)]
        scores = [sum(word in early for word in answer) for answer in answers]
        if scores[0] == scores[1]:
            continue
        better, worse = sorted(answers, key=lambda a: -sum(word in early for word in a))
        rate = 0.0 if clean else draw.choice([0.05, 0.45])
        if draw.random() < rate:
            better, worse = worse, better
        rows.append(
            {
                "prompt": turns("user", "pick " + " ".join(draw.choice(KINDS) for _ in range(3))),
                "chosen": turns("assistant", " ".join(better)),
                "rejected": turns("assistant", " ".join(worse)),
                "chosen_probability": 1.0 if clean else 1 - rate,
            }
        )
    return rows


def noise(scratch: Path) -> dict[str, Any]:
    """Accuracy on the true rule, of clean held-out pairs, for four ways to use the labels."""
    ways: dict[str, dict[str, Any]] = {
        "hard": {"loss": "hard"},
        "hard, one global smoothing": {"loss": "soft", "constant": True},
        "soft": {"loss": "soft"},
        "geometric": {"loss": "geometric"},
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(3):
        draw = random.Random(seed)
        rows, clean = noisy_pairs(draw, 600, clean=False), noisy_pairs(draw, 300, clean=True)
        base = tiny_model(scratch / f"base-{seed}", seed)
        mean = statistics.mean(row["chosen_probability"] for row in rows)
        for name, way in ways.items():
            given = [{**row, "chosen_probability": mean} for row in rows]
            chosen = given if way.get("constant") else rows
            place = scratch / f"{seed}-{name.replace(' ', '-')}"
            data = run_folder(place / "data", "preferences", chosen, clean)
            out = train(
                resolve_training(
                    "dpo",
                    {
                        "data": data,
                        "model": str(base),
                        "out": str(place / "out"),
                        "loss": way["loss"],
                        "lora": None,
                        "learning_rate": 3e-3,
                        "batch_size": 32,
                        "micro_batch_size": 32,
                        "epochs": 6,
                        "schedule": "constant",
                        "max_length": 64,
                        "device": "cpu",
                    },
                )
            )
            found[name].append(round(values(out, "eval_rewards/accuracies")[-1], 3))
    return {
        name: {"mean": round(statistics.mean(seeds), 3), "seeds": seeds}
        for name, seeds in found.items()
    }


PARTS = {"sft": sft, "dpo": dpo, "noise": noise}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = {options.part: PARTS[options.part](Path(scratch))}
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
