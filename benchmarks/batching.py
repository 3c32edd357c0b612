"""Three ways to decode a mixed load on one machine: ours, transformers' own, padded batches.

    python benchmarks/batching.py [--rows 48] [--check 12] [--repeats 2] [--json FILE]

Prompts come from `prompts/seeds`, answers have 16 to 160 tokens (end tokens are ignored), greedy.
Speed is measured in bfloat16 in alternating repeats; the median counts. Correctness is measured
in float32 against one row at a time through `model.generate`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import transformers
from transformers import ContinuousBatchingConfig, GenerationConfig

from cai.engines._chat import Chat
from cai.engines._model import LocalModel, load
from cai.engines._quiet import quiet_libraries
from cai.engines._worker import Worker
from cai.engines.weights import default_model, resolve
from cai.records import Message, Sampling

SEEDS = Path(__file__).parent.parent / "prompts" / "seeds"
SEEDS_NOTE = (
    "transformers' continuous batching draws all rows from one generator; temperature, top-k and "
    "top-p go with a request, a seed does not (only through a processor on its internal classes)."
)

PAGE = 32  # tokens in a page of the cache of continuous batching

Load = list[tuple[list[int], int]]  # prompt ids, tokens to generate
Way = Callable[[LocalModel, Load, int], list[list[int]]]


def mixed_load(chat: Chat, rows: int) -> Load:
    """Short and long prompts, short and long answers; the same for every run."""
    draw = random.Random(0)
    lines = [json.loads(x) for f in sorted(SEEDS.glob("*.jsonl")) for x in f.open(encoding="utf-8")]
    texts = [x["prompt"] for x in lines if "prompt" in x]
    load: Load = []
    for _ in range(rows):
        text = "\n\n".join(draw.sample(texts, draw.choice([1, 1, 1, 2, 4, 8])))
        ids = chat.encode([Message(role="user", content=text)]).ids
        load.append((ids, draw.randint(16, 160)))
    return load


def ours(model: LocalModel, load: Load, batch: int) -> list[list[int]]:
    worker = Worker(model, Chat(model.tokenizer), batch)
    try:
        futures = [
            worker.generate(ids, Sampling(temperature=0, max_tokens=n, seed=i))
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
        generation_config=_greedy(160), continuous_batching_config=settings
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


def padded(model: LocalModel, load: Load, batch: int) -> list[list[int]]:
    """Batches in the order of arrival, each as long as its longest answer."""
    found: list[list[int]] = []
    for at in range(0, len(load), batch):
        part = load[at : at + batch]
        width = max(len(ids) for ids, _ in part)
        rows = model.tensor([[0] * (width - len(ids)) + ids for ids, _ in part])
        mask = model.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in part])
        steps = max(n for _, n in part)
        out = model.model.generate(rows, attention_mask=mask, generation_config=_greedy(steps))
        found += [row[width : width + n].tolist() for row, (_, n) in zip(out, part, strict=True)]
    return found


def one_by_one(model: LocalModel, load: Load, batch: int) -> list[list[int]]:
    del batch
    return padded(model, load, 1)


def _greedy(tokens: int) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=-1, pad_token_id=0, use_cache=True
    )


WAYS: dict[str, Way] = {"cai": ours, "continuous batching": continuous, "padded batches": padded}


def speeds(model: LocalModel, load: Load, batch: int, repeats: int) -> dict[str, list[float]]:
    """Generated tokens a second, per way and repeat; the first of each is a warm-up."""
    tokens = sum(n for _, n in load)
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(repeats + 1):
        for name, way in WAYS.items():
            start = time.perf_counter()
            way(model, load if repeat else load[:4], batch)
            if repeat:
                found[name].append(tokens / (time.perf_counter() - start))
    return found


def differing(model: LocalModel, load: Load, batch: int) -> dict[str, int]:
    """How many rows are not what the model gives them alone."""
    alone = one_by_one(model, load, 1)
    return {
        name: sum(a != b for a, b in zip(alone, way(model, load, batch), strict=True))
        for name, way in WAYS.items()
    }


def read(name: str, dtype: str) -> LocalModel:
    folder = resolve(name)
    assert folder is not None
    model = load(folder, name, dtype=dtype, device="cpu", trust_remote_code=False)
    model.ends = frozenset()
    return model


def measure(args: argparse.Namespace) -> dict[str, Any]:
    with quiet_libraries():
        model = read(args.model, "bfloat16")
        chat = Chat(model.tokenizer)
        rates = speeds(model, mixed_load(chat, args.rows), args.batch, args.repeats)
        exact = read(args.model, "float32")
        wrong = differing(exact, mixed_load(chat, args.check), args.batch)
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "model": args.model,
        "rows": args.rows,
        "batch": args.batch,
        "rows_checked": args.check,
        "tokens_per_second": {n: [round(v, 1) for v in values] for n, values in rates.items()},
        "median": {n: round(v, 1) for n, v in median.items()},
        "ratio_to_cai": {n: round(v / median["cai"], 2) for n, v in median.items()},
        "rows_that_differ_in_float32": wrong,
        "seeds": SEEDS_NOTE,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['model']}, {result['rows']} rows, batch {result['batch']}, bfloat16 on CPU")
    print(f"{result['versions']}, {result['machine']}\n")
    print(f"{'':22}{'tokens/s':>10}{'ratio':>8}   rows that differ (float32)")
    for name in WAYS:
        wrong = f"{result['rows_that_differ_in_float32'][name]} of {result['rows_checked']}"
        rate, ratio = result["median"][name], result["ratio_to_cai"][name]
        print(f"{name:22}{rate:>10.1f}{ratio:>8.2f}   {wrong}")
    print(f"\n{result['seeds']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=default_model())
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--check", type=int, default=12, help="rows for the float32 check")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = measure(args)
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
