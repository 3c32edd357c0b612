"""Our batches beside transformers' own, on one machine.

    python benchmarks/batching.py even [--prompts 64] [--batches 16,64] [--rounds 5] [--json FILE]
    python benchmarks/batching.py mixed [--prompts 48] [--batch 32] [--rounds 2] [--json FILE]

Even: 96 tokens after each prompt, drawn at temperature 1; padded `generate` loses nothing there.
Mixed: prompts of one to eight texts, 16 to 160 tokens after each, greedy, and continuous batching
too; there correctness is measured, in float32, against one row at a time through `generate`.
Prompts come from `prompts/seeds`, end tokens are ignored. Speed is measured in bfloat16, in rounds
in which each way takes its turn, since other work may run; the median of their ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import transformers
from transformers import ContinuousBatchingConfig, GenerationConfig

from cai.engines.local.chat import Chat
from cai.engines.local.model import LocalModel, load
from cai.engines.local.quiet import quiet_libraries
from cai.engines.local.weights import default_model, resolve
from cai.engines.local.worker import Worker
from cai.records import Message, Sampling

SEEDS = Path(__file__).parent.parent / "prompts" / "seeds"
SEEDS_NOTE = (
    "transformers' continuous batching draws all rows from one generator; temperature, top-k and "
    "top-p go with a request, a seed does not (only through a processor on its internal classes)."
)
EVEN = 96  # tokens
PAGE = 32  # tokens in a page of the cache of continuous batching

Load = list[tuple[list[int], int]]  # prompt ids, tokens to generate
Way = Callable[[LocalModel, Load, int], object]


def seed_texts() -> list[str]:
    lines = [json.loads(x) for f in sorted(SEEDS.glob("*.jsonl")) for x in f.open(encoding="utf-8")]
    return [x["prompt"] for x in lines if "prompt" in x]


def even_load(chat: Chat, rows: int) -> Load:
    """Prompts as they are, answers of one length; the same for every run."""
    texts = random.Random(0).sample(seed_texts(), rows)
    return [(chat.encode([Message(role="user", content=text)]).ids, EVEN) for text in texts]


def mixed_load(chat: Chat, rows: int) -> Load:
    """Short and long prompts, short and long answers; the same for every run."""
    draw = random.Random(0)
    texts = seed_texts()
    load: Load = []
    for _ in range(rows):
        text = "\n\n".join(draw.sample(texts, draw.choice([1, 1, 1, 2, 4, 8])))
        ids = chat.encode([Message(role="user", content=text)]).ids
        load.append((ids, draw.randint(16, 160)))
    return load


def ours(model: LocalModel, load: Load, batch: int, temperature: float = 0.0) -> list[list[int]]:
    worker = Worker(model, Chat(model.tokenizer), batch)
    try:
        futures = [
            worker.generate(ids, Sampling(temperature=temperature, max_tokens=n, seed=i))
            for i, (ids, n) in enumerate(load)
        ]
        return [f.result().ids for f in futures]
    finally:
        worker.close()


def continuous(model: LocalModel, load: Load, batch: int) -> list[list[int]]:
    longest = max(len(ids) + n for ids, n in load)
    settings = ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=batch * (longest // PAGE + 1),
        max_batch_tokens=1024,
        max_requests_per_batch=batch,
    )
    with model.model.continuous_batching_context_manager(
        generation_config=_settings(160), continuous_batching_config=settings
    ) as manager:
        names = [manager.add_request(ids, max_new_tokens=n) for ids, n in load]
        found: dict[str, list[int]] = {}
        while len(found) < len(load):
            result = manager.get_result(timeout=60)
            if result is None:
                raise RuntimeError("continuous batching gave no result for a minute")
            if result.error:
                raise RuntimeError(result.error)
            if result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
    return [found[name] for name in names]


def padded(model: LocalModel, load: Load, batch: int, temperature: float = 0.0) -> list[list[int]]:
    """Batches in the order of arrival, each as long as its longest answer."""
    found: list[list[int]] = []
    for at in range(0, len(load), batch):
        part = load[at : at + batch]
        width = max(len(ids) for ids, _ in part)
        rows = model.tensor([[0] * (width - len(ids)) + ids for ids, _ in part])
        mask = model.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in part])
        steps = max(n for _, n in part)
        how = _settings(steps, temperature)
        out = model.model.generate(rows, attention_mask=mask, generation_config=how)
        found += [row[width : width + n].tolist() for row, (_, n) in zip(out, part, strict=True)]
    return found


def one_by_one(model: LocalModel, load: Load, batch: int) -> list[list[int]]:
    del batch
    return padded(model, load, 1)


def _settings(tokens: int, temperature: float = 0.0) -> GenerationConfig:
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {}
    return GenerationConfig(
        **{"do_sample": False, **drawn},
        max_new_tokens=tokens,
        eos_token_id=-1,
        pad_token_id=0,
        use_cache=True,
    )


EVENLY: dict[str, Way] = {
    "cai": partial(ours, temperature=1.0),
    "padded generate": partial(padded, temperature=1.0),
}
MIXED: dict[str, Way] = {
    "cai": ours,
    "padded generate": padded,
    "continuous batching": continuous,
}


def speeds(
    ways: dict[str, Way], model: LocalModel, load: Load, batch: int, rounds: int
) -> dict[str, Any]:
    """Tokens a second in each round, and the median over the rounds of a way's ratio to ours."""
    tokens = sum(n for _, n in load)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        order = list(ways.items())
        for name, way in order if number % 2 else reversed(order):
            start = time.perf_counter()
            way(model, load if number else load[:4], batch)  # first a warm-up
            if number:
                rates[name].append(tokens / (time.perf_counter() - start))
                print(f"  batch {batch}, {name}: {rates[name][-1]:.1f}", file=sys.stderr)
    ratios = {
        name: [ours / theirs for ours, theirs in zip(rates["cai"], values, strict=True)]
        for name, values in rates.items()
    }
    return {
        "batch": batch,
        "tokens_per_second": {n: [round(v, 1) for v in values] for n, values in rates.items()},
        "median": {n: round(statistics.median(values), 1) for n, values in rates.items()},
        "cai_is_faster_by": {n: round(statistics.median(r), 2) for n, r in ratios.items()},
        "from_to": {n: [round(min(r), 2), round(max(r), 2)] for n, r in ratios.items()},
    }


def differing(model: LocalModel, load: Load, batch: int) -> dict[str, int]:
    """How many rows are not what the model gives them alone."""
    alone = padded(model, load, 1)
    return {
        name: sum(a != b for a, b in zip(alone, way(model, load, batch), strict=True))
        for name, way in MIXED.items()
    }


def read(name: str, dtype: str) -> LocalModel:
    folder = resolve(name)
    assert folder is not None
    model = load(folder, name, dtype=dtype, device="cpu", trust_remote_code=False)
    model.ends = frozenset()
    return model


def measure_even(args: argparse.Namespace) -> dict[str, Any]:
    model = read(args.model, "bfloat16")
    prompts = even_load(Chat(model.tokenizer), args.prompts or 64)
    return {
        "prompts": len(prompts),
        "prompt_tokens": [min(len(ids) for ids, _ in prompts), max(len(ids) for ids, _ in prompts)],
        "rounds": args.rounds or 5,
        "speeds": [
            speeds(EVENLY, model, prompts, batch, args.rounds or 5) for batch in args.batches
        ],
    }


def measure_mixed(args: argparse.Namespace) -> dict[str, Any]:
    model = read(args.model, "bfloat16")
    chat = Chat(model.tokenizer)
    prompts = mixed_load(chat, args.prompts or 48)
    found = speeds(MIXED, model, prompts, args.batch, args.rounds or 2)
    exact = read(args.model, "float32")
    wrong = differing(exact, mixed_load(chat, args.check), args.batch)
    return {
        "prompts": len(prompts),
        "rounds": args.rounds or 2,
        "speeds": [found],
        "rows_checked": args.check,
        "rows_that_differ_in_float32": wrong,
        "seeds": SEEDS_NOTE,
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['model']}, {result['prompts']} prompts, {result['rounds']} rounds, bfloat16")
    print(f"{result['versions']}, {result['machine']}\n")
    for found in result["speeds"]:
        print(f"{'batch ' + str(found['batch']):22}{'tokens/s':>10}{'cai faster by':>16}")
        for name, rate in found["median"].items():
            least, most = found["from_to"][name]
            faster = f"{found['cai_is_faster_by'][name]:.2f} ({least:.2f} to {most:.2f})"
            print(f"{name:22}{rate:>10.1f}  {faster if name != 'cai' else ''}")
    for name, wrong in result.get("rows_that_differ_in_float32", {}).items():
        print(f"{name}: {wrong} of {result['rows_checked']} rows differ in float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("load", choices=["even", "mixed"])
    parser.add_argument("--model", default=default_model())
    parser.add_argument("--prompts", type=int, help="64 even ones, 48 mixed ones")
    parser.add_argument("--rounds", type=int, help="5 with the even load, 2 with the mixed one")
    parser.add_argument(
        "--batches", type=lambda text: [int(n) for n in text.split(",")], default=[16, 64]
    )
    parser.add_argument("--batch", type=int, default=32, help="of the mixed load")
    parser.add_argument("--check", type=int, default=12, help="mixed: rows for the float32 check")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with quiet_libraries():
        found = (measure_even if args.load == "even" else measure_mixed)(args)
    result = {
        "model": args.model,
        "load": args.load,
        **found,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
