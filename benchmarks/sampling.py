"""What drawing the next tokens costs: one draw for all rows, and noise for every token.

    python benchmarks/sampling.py [--rows 64] [--vocabulary 151936] [--rounds 9]

Both draw from the same bfloat16 logits, whose probabilities fall with the rank like those of the
small model at temperature 1 (it prints the nuclei of top_p 0.95), in rounds in which each takes its
turn; medians count, of the rates and of the ratios of the rounds. Beside them the output layer
alone of a small model with that vocabulary (896 wide, as in Qwen2.5-0.5B).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from cai.engines.local.sampling import next_tokens
from cai.records import Sampling

WIDTH = 896
WAYS = {
    "temperature 1": {"temperature": 1.0},
    "temperature 1, top_p 0.95": {"temperature": 1.0, "top_p": 0.95},
    "temperature 0": {"temperature": 0.0},
}


def gumbel_noise(seed: int, position: int, size: int) -> torch.Tensor:
    key = hashlib.sha256(f"{seed}:{position}".encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))
    bits = np.frombuffer(generator.bytes(4 * size), dtype=np.uint32) >> 1
    uniform = torch.from_numpy(bits.view(np.int32)).to(torch.float32).add_(0.5).mul_(2.0**-31)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def noise_for_every_token(
    logits: torch.Tensor, samplings: Sequence[Sampling], positions: Sequence[int]
) -> torch.Tensor:
    """The largest of logits and Gumbel noise, row by row: what this engine did before."""
    scores = logits.to(torch.float32, copy=True)
    for row, (sampling, position) in enumerate(zip(samplings, positions, strict=True)):
        if sampling.temperature == 0:
            continue
        scores[row] /= sampling.temperature
        if sampling.top_p < 1:
            floor = nucleus_floor(scores[row], sampling.top_p)
            scores[row].masked_fill_(scores[row] < floor, -torch.inf)
        scores[row] += gumbel_noise(sampling.seed, position, scores.shape[1])
    return scores.argmax(dim=-1)


def nucleus_floor(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    total = scores.logsumexp(-1)
    for size in (min(512, len(scores)), len(scores)):
        best = scores.topk(size).values
        reached = (best - total).exp().cumsum(-1)
        if reached[-1] >= top_p:
            break
    last = torch.searchsorted(reached, torch.tensor(top_p))
    return best[last.clamp(max=len(best) - 1)]


def zipf_logits(rows: int, vocabulary: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    ranks = torch.stack([torch.randperm(vocabulary, generator=generator) for _ in range(rows)]) + 1
    steepness = torch.linspace(1.3, 1.9, rows).unsqueeze(1)
    return (-steepness * ranks.log()).bfloat16()


def rates(ways: dict[str, Callable[[], object]], rows: int, rounds: int) -> dict[str, list[float]]:
    """Tokens a second, in each round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number:  # the first is a warm-up
                found[name].append(rows / (time.perf_counter() - start))
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    logits = zipf_logits(args.rows, args.vocabulary)
    hidden = torch.randn(args.rows, WIDTH).bfloat16()
    layer = torch.randn(args.vocabulary, WIDTH).bfloat16()
    falling = logits.float().softmax(-1).sort(-1, descending=True).values.cumsum(-1)
    nuclei = sorted(((falling < 0.95).sum(-1) + 1).tolist())
    middle = nuclei[len(nuclei) // 2]
    print(f"{args.rows} rows, vocabulary {args.vocabulary:,}, tokens/s")
    print(f"nuclei of top_p 0.95: {nuclei[0]:,} to {nuclei[-1]:,}, median {middle:,}\n")
    print(f"{'':28}{'for all rows':>14}{'noise':>10}{'ratio':>8}{'output layer':>14}")
    for name, how in WAYS.items():
        samplings = [Sampling(max_tokens=1, seed=i, **how) for i in range(args.rows)]
        given = (logits, samplings, [5] * args.rows)
        ways: dict[str, Callable[[], object]] = {
            "new": lambda given=given: next_tokens(*given),
            "old": lambda given=given: noise_for_every_token(*given),
            "layer": lambda: hidden @ layer.T,
        }
        found = rates(ways, args.rows, args.rounds)
        rate = {way: statistics.median(values) for way, values in found.items()}
        ratio = statistics.median(
            new / old for new, old in zip(found["new"], found["old"], strict=True)
        )
        print(f"{name:28}{rate['new']:>14,.0f}{rate['old']:>10,.0f}{ratio:>8.1f}", end="")
        print(f"{rate['layer']:>14,.0f}")


if __name__ == "__main__":
    main()
