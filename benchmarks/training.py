"""What training teaches: a style by SFT, a rule by DPO, and a rule under labels of mixed quality.

    python benchmarks/training.py sft|dpo|sampled|noise|untouched|memory|all [--pairs 96]
        [--json FILE]

`sft` and `dpo` train the small real model on rules about the shipped seeds, `sampled` on pairs of
its own answers; `noise` a tiny model from scratch, on labels that are flipped at a rate drawn per
row; `untouched` takes two steps on labels that say nothing; `memory` reads data and trains nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pyarrow as pa
import pyarrow.parquet as pq

from cai.engines.local.transformers import TransformersEngine, default_model, resolve
from cai.prompts import read_prompts
from cai.records import Completion, Sampling, user
from cai.train.callbacks import read_metrics
from cai.train.config import resolve_training
from cai.train.record import read_record
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


async def samples(model: str, prompts: Sequence[str], seeds: Sequence[int]) -> list[Completion]:
    """One sample per prompt with the seed beside it, at most 48 tokens."""
    engine = TransformersEngine(model, device="cpu")
    await engine.start()
    try:
        return await asyncio.gather(
            *(
                engine.generate([user(text)], Sampling(temperature=1, max_tokens=48, seed=seed))
                for text, seed in zip(prompts, seeds, strict=True)
            )
        )
    finally:
        await engine.close()


async def sampled_lengths(model: str, prompts: list[str]) -> list[int]:
    """Words of one sample per prompt, the same seeds for every model."""
    found = await samples(model, prompts, range(len(prompts)))
    return [len(completion.text.split()) for completion in found]


def tokens_of(found: Sequence[Completion]) -> list[int]:
    return [completion.usage.output_tokens for completion in found]


def sampled_pairs(prompts: list[str]) -> Rows:
    """Two samples of the model per prompt; the shorter is better, with probability 0.95.

    A prompt whose samples have the same length gives no pair, nor one with an answer that is empty
    or a shorter one that was cut off.
    """
    found = asyncio.run(samples(default_model(), prompts * 2, range(2 * len(prompts))))
    rows = []
    for n, prompt in enumerate(prompts):
        short, long = sorted(found[n :: len(prompts)], key=lambda c: c.usage.output_tokens)
        if short.usage.output_tokens == long.usage.output_tokens:
            continue
        if short.finish_reason != "stop" or not short.text.strip():
            continue
        rows.append(
            {
                "prompt": turns("user", prompt),
                "chosen": turns("assistant", short.text),
                "rejected": turns("assistant", long.text),
                "chosen_probability": 0.95,
            }
        )
    return rows


def answer_logps(folder: str, rows: Rows) -> list[dict[str, tuple[float, int]]]:
    """Of both answers of each pair: log-probability given the prompt, end included, and tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for row in rows:
        asked = tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, tokenize=False
        )
        start = tokenizer(asked, add_special_tokens=False).input_ids
        sides = {}
        for side in ("chosen", "rejected"):
            text = asked + row[side][0]["content"] + tokenizer.eos_token
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
            with torch.no_grad():
                logps = model(ids).logits[0, :-1].log_softmax(-1)
            scored = logps.gather(1, ids[0, 1:, None])[len(start) - 1 :]
            sides[side] = (float(scored.sum()), len(scored))
        found.append(sides)
    return found


def share(these: Sequence[bool]) -> float:
    return round(sum(these) / len(these), 3)


def sampled(scratch: Path, pairs: int = 96) -> dict[str, Any]:
    """DPO on the model's own answers: the shorter is better."""
    begun = time.monotonic()
    texts = [p.last_human_turn for p in read_prompts("seeds:helpful")]
    texts = [t + " Answer in one short sentence." for t in texts if len(t.split()) <= 40]
    texts = texts[: pairs + pairs // 3 + pairs // 8]  # some give no pair
    rows = sampled_pairs(texts)
    rows, held_out = rows[:pairs], rows[pairs : pairs + pairs // 3]
    data = run_folder(scratch / "data", "preferences", rows, held_out)
    lengths = {
        side: round(
            statistics.mean(len(row[side][0]["content"].split()) for row in rows + held_out), 1
        )
        for side in ("chosen", "rejected")
    }
    sampling = time.monotonic() - begun
    updates = 2 * -(-len(rows) // 8)
    settings = {
        "data": data,
        "out": str(scratch / "out"),
        "loss": "soft",
        "batch_size": 8,
        "epochs": 2,
        "learning_rate": 5e-4,
        "eval_every": updates,
    }
    out = train(resolve_training("dpo", settings))
    training = time.monotonic() - begun - sampling
    base = str(resolve(default_model()))
    before, after = answer_logps(base, held_out), answer_logps(str(out), held_out)
    change = [
        {side: b[side][0] - a[side][0] for side in ("chosen", "rejected")}
        for a, b in zip(before, after, strict=True)
    ]
    margins = [c["chosen"] - c["rejected"] for c in change]

    def by_sum(found: list[dict[str, tuple[float, int]]]) -> float:
        return share([f["chosen"][0] > f["rejected"][0] for f in found])

    def by_token(found: list[dict[str, tuple[float, int]]]) -> float:
        means = [{side: logp / n for side, (logp, n) in f.items()} for f in found]
        return share([m["chosen"] > m["rejected"] for m in means])

    # Two fresh samples for each prompt that was held out; the base's two, one against the other,
    # show how often one is shorter by chance.
    asked = [row["prompt"][0]["content"] for row in held_out] * 2
    seeds = range(10_000, 10_000 + len(asked))
    old, new = (asyncio.run(samples(m, asked, seeds)) for m in (default_model(), str(out)))
    was, is_now, half = tokens_of(old), tokens_of(new), len(asked) // 2
    ranked, margin = values(out, "eval_rewards/accuracies"), values(out, "eval_rewards/margins")
    return {
        "pairs": [len(rows), len(held_out)],
        "words of the pairs' answers, mean": lengths,
        "updates": updates,
        "held-out pairs in the right order": {
            "change of log-probability against the reference (trainer)": [
                ranked[0],
                round(ranked[-1], 3),
            ],
            "change of log-probability against the reference (saved model)": [
                0.0,
                share([m > 0 for m in margins]),
            ],
            "log-probability of the whole answer": [by_sum(before), by_sum(after)],
            "log-probability per token": [by_token(before), by_token(after)],
        },
        "held-out reward margin (trainer)": [round(margin[0], 3), round(margin[-1], 3)],
        "nats by which log-probabilities changed, mean": {
            side: round(statistics.mean(c[side] for c in change), 2)
            for side in ("chosen", "rejected")
        },
        "fresh samples": {
            "count": len(asked),
            "tokens, mean": [round(statistics.mean(was), 1), round(statistics.mean(is_now), 1)],
            "words, mean": [
                round(statistics.mean(len(c.text.split()) for c in found), 1)
                for found in (old, new)
            ],
            "that ended within 48 tokens": [
                share([c.finish_reason == "stop" for c in found]) for found in (old, new)
            ],
            "shorter, equal, longer than the base's with the same seed": [
                sum(n < o for o, n in zip(was, is_now, strict=True)),
                sum(n == o for o, n in zip(was, is_now, strict=True)),
                sum(n > o for o, n in zip(was, is_now, strict=True)),
            ],
            "the base's first, against its second": [
                sum(a < b for a, b in zip(was[:half], was[half:], strict=True)),
                sum(a == b for a, b in zip(was[:half], was[half:], strict=True)),
                sum(a > b for a, b in zip(was[:half], was[half:], strict=True)),
            ],
            "examples, before and after": [[o.text, n.text] for o, n in zip(old, new, strict=True)][
                :4
            ],
        },
        "seconds": {
            "sampling pairs": round(sampling),
            "training": round(training),
            "all": round(time.monotonic() - begun),
        },
    }


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


def noisy_pairs(
    draw: random.Random, count: int, *, clean: bool, without: Collection[str] = ()
) -> Rows:
    """The rule: the answer with more words of the first half of the alphabet is better.

    No prompt is one of `without`: the trainer leaves out rows whose prompt is held out.
    """
    rows: Rows = []
    early = set(KINDS[: len(KINDS) // 2])
    while len(rows) < count:
        prompt = "pick " + " ".join(draw.choice(KINDS) for _ in range(3))
        if prompt in without:
            continue
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
                "prompt": turns("user", prompt),
                "chosen": turns("assistant", " ".join(better)),
                "rejected": turns("assistant", " ".join(worse)),
                "chosen_probability": 1.0 if clean else 1 - rate,
            }
        )
    return rows


def noise(scratch: Path) -> dict[str, Any]:
    """Accuracy on the true rule, of clean held-out pairs, for each way to use the labels."""
    ways: dict[str, dict[str, Any]] = {
        "hard": {"loss": "hard"},
        "hard, one global smoothing": {"loss": "soft", "constant": True},
        "soft": {"loss": "soft"},
        "geometric": {"loss": "geometric"},
        "geometric, rate matched": {"loss": "geometric", "matched": True},
    }
    begun = time.monotonic()
    trained: set[tuple[int, int]] = set()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(3):
        draw = random.Random(seed)
        # Whole batches of 32: the trainer's accuracy is a mean of those of its batches.
        clean = noisy_pairs(draw, 320, clean=True)
        asked = {row["prompt"][0]["content"] for row in clean}
        rows = noisy_pairs(draw, 600, clean=False, without=asked)
        base = tiny_model(scratch / f"base-{seed}", seed)
        mean = statistics.mean(row["chosen_probability"] for row in rows)
        gain = 2 * mean - 1  # the mean by which `geometric` scales the margin
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
                        "learning_rate": 3e-3 / (gain if way.get("matched") else 1),
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
            record = read_record(out)
            trained.add((record["data"]["sources"][0]["kept"], record["steps"]))
    accuracies = {
        name: {"mean": round(statistics.mean(seeds), 3), "seeds": seeds}
        for name, seeds in found.items()
    }
    return {
        **accuracies,
        "pairs trained on, updates": sorted(trained),
        "seconds": round(time.monotonic() - begun),
    }


def untouched(scratch: Path) -> dict[str, Any]:
    """Two steps of `geometric` on all weights, on labels of 0.5 and, beside them, of 0.95.

    The data step leaves labels of 0.5 out, so the trainer gets the rows directly.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from cai.train.build import training_arguments
    from cai.train.dpo import dpo_trainer

    begun = time.monotonic()
    base = resolve(default_model())
    assert base is not None
    texts = [p.last_human_turn.split() for p in read_prompts("seeds:helpful")][:8]
    apart = {}
    for label in (0.5, 0.95):
        rows = [
            {
                "prompt": turns("user", " ".join(words[:8])),
                "chosen": turns("assistant", " ".join(words[:4])),
                "rejected": turns("assistant", " ".join(words[:12])),
                "chosen_probability": label,
            }
            for words in texts
        ]
        settings = resolve_training(
            "dpo",
            {
                "data": "rows in memory",
                "loss": "geometric",
                "lora": None,
                "learning_rate": 1e-4,
                "schedule": "constant",
                "warmup": 0.0,
                "batch_size": 4,
                "max_steps": 2,
                "device": "cpu",
            },
        )
        args = training_arguments(settings, scratch / str(label), len(rows), False)
        args.save_strategy = "no"
        tokenizer = AutoTokenizer.from_pretrained(base)
        trainer = dpo_trainer(
            base, None, args, Dataset.from_list(rows), None, tokenizer, loss=settings.loss
        )
        trainer.train()
        start = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).state_dict()
        end = trainer.model.state_dict()
        assert start.keys() == end.keys()
        differences = [float((end[name] - start[name]).abs().max()) for name in start]
        apart[f"labels of {label}"] = {
            "steps": trainer.state.global_step,
            "weight_decay": args.weight_decay,
            "tensors": len(differences),
            "tensors that changed": sum(not torch.equal(end[name], start[name]) for name in start),
            "largest absolute difference": max(differences),
        }
    return {**apart, "seconds": round(time.monotonic() - begun)}


def memory(scratch: Path) -> dict[str, Any]:
    """Peak memory of the data step by the number of pairs, each size in a process of its own."""
    found = {}
    for count in (1_000, 10_000):
        path = scratch / f"{count}.jsonl"
        with path.open("w") as file:
            for n in range(count):
                texts = {"chosen": f"Yes {n}. " + "so it is " * 60, "rejected": "no " * 200}
                file.write(json.dumps({"prompt": f"Question {n}? " * 20, **texts}) + "\n")
        done = subprocess.run(
            [sys.executable, __file__, "read", str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
        found[f"{count:,} pairs"] = json.loads(done.stdout)
    small, large = found.values()
    grown = (large["MB"] - small["MB"]) / 9
    return {**found, "MB per 1,000 pairs": round(grown, 2)}


def read(path: str) -> None:
    """Print what the data step of a file takes."""
    import resource

    from cai.train.prepare import load_tokenizer, rows_of

    folder = resolve(default_model())
    assert folder is not None
    settings = resolve_training("dpo", {"data": path, "loss": "hard"})
    _, chat_format = load_tokenizer(settings, folder, None)
    with tempfile.TemporaryDirectory() as cache:
        report = rows_of(settings, chat_format, Path(cache)).report
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"MB": round(peak), "tokens per pair": round(report.tokens.mean)}))


PARTS = {
    "sft": sft,
    "dpo": dpo,
    "sampled": sampled,
    "noise": noise,
    "untouched": untouched,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=[*PARTS, "all", "read"])
    parser.add_argument("file", nargs="?", help="read: a file of pairs")
    parser.add_argument("--pairs", type=int, default=96, help="sampled: pairs to train on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.part == "read":
        read(options.file)
        return
    result = {}
    for part in PARTS if options.part == "all" else [options.part]:
        with tempfile.TemporaryDirectory() as scratch:
            more = {"pairs": options.pairs} if part == "sampled" else {}
            result[part] = PARTS[part](Path(scratch), **more)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
