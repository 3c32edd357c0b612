"""The next token of each row, drawn from the row's own seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import pad

from cai.records import Sampling

BROKEN = -1  # instead of a token, where the largest logit is NaN or infinite
# A row is cut in eight parts, the part that is drawn in eight again, each time by a number of its
# own. With all tokens in one line, rounding in the model moves the bound between any two: of 7,680
# tokens drawn alone and in a batch, 5 differed in float32 and 915 in bfloat16 (small model,
# temperature 1). In eighths 0 and 227 did; with noise for each token, 1 ms a row, 0 and 97.
_PARTS = 8
# Best tokens among which a nucleus is looked for before all are sorted: of a vocabulary of 152k
# 512 take 0.2 ms a row, 4,096 take 0.7, a sort 6.6 (2 cores).
_NUCLEUS = (512, 4096)
_CHUNK = 2**21  # logits at once on a CPU: 64 rows of 152k took 27 ms in one piece, 13 in cache
_COLDEST = torch.finfo(torch.float32).tiny  # temperature 0 is the limit: all is on the largest


def uniforms(seeds: Sequence[int], positions: Sequence[int]) -> np.ndarray:
    """Eight numbers in (0, 1) a row that depend on (seed, position) and nothing else.

    52 bits each of a hash, so that a row needs no state; neither end is ever met.
    """
    rows = (f"{seed}:{at}".encode() for seed, at in zip(seeds, positions, strict=True))
    bits = np.frombuffer(b"".join(hashlib.sha512(row).digest() for row in rows), dtype="<u8")
    numbers: np.ndarray = ((bits >> 12) + 0.5) * 2.0**-52
    return numbers.reshape(-1, 8)


def next_tokens(
    logits: torch.Tensor, samplings: Sequence[Sampling], positions: Sequence[int]
) -> torch.Tensor:
    """Ids of the next tokens, one a row, or `BROKEN`.

    The vocabulary is cut in eight, the part that holds the row's token in eight again, and so on;
    at each cut the part is the inverse of the parts' cumulated probabilities at a number of its own
    (`uniforms`). Temperature 0 takes the largest logit.

    Args:
        logits: Shape (rows, vocabulary).
        samplings: One per row; `top_p` keeps the fewest tokens whose probabilities reach it.
        positions: How many tokens each row has generated so far.
    """
    size, device = logits.shape[1], logits.device
    numbers = uniforms([s.seed for s in samplings], positions)
    how = [(s.temperature, s.top_p) for s in samplings]
    parameters = torch.from_numpy(np.hstack([how, numbers])).to(_widest(device)).to(device)
    at_once = max(1, _CHUNK // size) if device.type == "cpu" else len(samplings)
    tokens = [
        _tokens(
            logits[at : at + at_once],
            parameters[at : at + at_once],
            greedy={s.temperature == 0 for s in samplings[at : at + at_once]},
            nucleus=any(s.top_p < 1 for s in samplings[at : at + at_once]),
        )
        for at in range(0, len(samplings), at_once)
    ]
    return torch.cat(tokens)


def _tokens(
    logits: torch.Tensor, parameters: torch.Tensor, *, greedy: set[bool], nucleus: bool
) -> torch.Tensor:
    """Tokens of some rows; `parameters` are temperature, top_p and numbers of each."""
    rows, size = logits.shape
    weights = logits.new_empty(rows, size + -size % _PARTS, dtype=torch.float32)
    weights[:, :size] = logits
    weights[:, size:] = -torch.inf
    most = weights.amax(dim=-1, keepdim=True)
    sound, temperature = most.squeeze(1).isfinite(), parameters[:, :1].float()
    best = _argmax(weights) if True in greedy else torch.zeros_like(sound, dtype=torch.long)
    if False in greedy:
        weights.sub_(most).div_(temperature.clamp(min=_COLDEST)).exp_()
        if nucleus:
            floors = nucleus_floors(weights, parameters[:, 1])
            weights.masked_fill_(weights < floors.unsqueeze(1), 0)
        best = torch.where(temperature.squeeze(1) == 0, best, draw(weights, parameters[:, 2:]))
    return torch.where(sound, best, BROKEN)


def _argmax(weights: torch.Tensor) -> torch.Tensor:
    """The first of the largest, one a row: in eighths, for an argmax takes ten times a maximum."""
    eighths = weights.view(len(weights), _PARTS, -1)
    best = eighths.amax(dim=-1).argmax(dim=-1)
    row = torch.arange(len(weights), device=weights.device)
    return best * eighths.shape[2] + eighths[row, best].argmax(dim=-1)


def draw(weights: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """One index a row, drawn in proportion to its weight.

    Args:
        weights: Shape (rows, a multiple of 8); none is negative, not all of a row are 0.
        numbers: Shape (rows, cuts), in (0, 1).
    """
    levels = [weights]
    while levels[-1].shape[1] > _PARTS:
        sums = levels[-1].view(len(weights), _PARTS, -1).sum(1)
        levels.append(pad(sums, (0, -sums.shape[1] % _PARTS)))
    row = torch.arange(len(weights), device=weights.device)
    index = torch.zeros_like(row)
    for level, number in zip(reversed(levels), numbers.T, strict=False):
        parts = level.view(len(weights), _PARTS, -1)
        ends = parts[row, :, index].cumsum(-1, dtype=numbers.dtype)
        index += parts.shape[2] * _first_above(ends, number * ends[:, -1])
    return index


def _first_above(ends: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulated weight is above the target, one a row.

    Such an index has a weight itself. Where rounding leaves none above, it is the last that has.
    """
    return torch.minimum((ends <= target.unsqueeze(1)).sum(-1), (ends < ends[:, -1:]).sum(-1))


def nucleus_floors(weights: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The lowest weight in each row's nucleus: the fewest best tokens with a share of `top_p`.

    Args:
        weights: Shape (rows, vocabulary), in proportion to the probabilities.
        top_p: One a row; 1 keeps all tokens.
    """
    wide = _widest(weights.device)
    target = top_p * weights.sum(-1).to(wide)
    floors = torch.zeros_like(weights[:, 0])
    left = (top_p < 1).nonzero().squeeze(1)
    for size in (*(n for n in _NUCLEUS if n < weights.shape[1]), weights.shape[1]):
        if not len(left):
            break
        rows = weights if len(left) == len(weights) else weights[left]
        best = rows.topk(size).values
        reached = best.cumsum(-1, dtype=wide)
        last = (reached < target[left].unsqueeze(1)).sum(-1).clamp(max=size - 1)
        floors[left] = best.gather(1, last.unsqueeze(1)).squeeze(1)
        left = left[reached[:, -1] < target[left]]
    return floors


def _widest(device: torch.device) -> torch.dtype:
    """float64 for what is added up over a vocabulary; Apple's GPUs have none."""
    return torch.float32 if device.type == "mps" else torch.float64
