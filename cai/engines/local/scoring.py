"""The probabilities of labels after many endings of one beginning, which is computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from cai.engines.local.memory import attempt
from cai.engines.local.model import LocalModel
from cai.errors import CallError

_BLOCK = 16384
_NEAR = 7 / 8


@torch.inference_mode()
def label_logprobs(
    model: LocalModel, prompts: Sequence[list[int]], labels: Sequence[int], rows: int
) -> list[tuple[float, ...]]:
    """Log-probabilities of single-token labels as the next token after each prompt.

    Args:
        model: The model.
        prompts: Token ids; what all of them begin with is computed once.
        labels: Token ids.
        rows: How many prompts may be in memory together.

    Raises:
        CallError: The model gave numbers that are none.
        torch.OutOfMemoryError: Memory is too small for what the prompts begin with, or for one.
    """
    shared = common_prefix(prompts) if model.splittable and len(prompts) > 1 else 0
    rows = rows if model.splittable else 1
    start = model.new_cache() if shared else None
    if start is not None:
        model.forward(model.tensor([prompts[0][:shared]]), cache=start)
    scores: dict[int, tuple[float, ...]] = {}
    groups = _groups([len(ids) - shared for ids in prompts], rows, pad=model.device.type != "cpu")
    while groups:
        group = groups.pop(0)
        part = [prompts[n][shared:] for n in group]
        logits = attempt(partial(_last_logits, model, part, start, shared))
        if logits is not None:
            scores |= dict(zip(group, _label_scores(logits, labels), strict=True))
        elif len(group) > 1:
            half = len(group) // 2
            groups[:0] = [group[:half], group[half:]]
        else:
            raise torch.OutOfMemoryError("no room for one prompt")
    return [scores[n] for n in range(len(prompts))]


def _label_scores(logits: torch.Tensor, labels: Sequence[int]) -> list[tuple[float, ...]]:
    if not bool(logits.amax(-1).isfinite().all()):
        raise CallError("the model gave logits that are not numbers (NaN or infinity)")
    return [tuple(row) for row in logits.log_softmax(-1)[:, list(labels)].tolist()]


def _groups(lengths: Sequence[int], rows: int, *, pad: bool) -> list[list[int]]:
    """Which prompts go through the model together: at most `rows`, and little padding if need be.

    A CPU computes padding like text, and 16 endings of 66 to 100 tokens were a quarter padding: a
    group's shortest ending is at least 7/8 of its longest. A GPU prefers one large batch.
    """
    groups: list[list[int]] = []
    least = 0 if pad else _NEAR
    for n in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        if groups and len(groups[-1]) < rows and lengths[n] >= least * lengths[groups[-1][0]]:
            groups[-1].append(n)
        else:
            groups.append([n])
    return groups


def _last_logits(
    model: LocalModel, endings: list[list[int]], start: object, shared: int
) -> torch.Tensor:
    """Logits after each ending, shape (endings, V), in float32.

    Padding is on the right: what follows a token does not change it, so no mask is needed.
    """
    cache: Any = copy.deepcopy(start)
    if cache is not None:
        cache.batch_repeat_interleave(len(endings))
    width = max(map(len, endings))
    ids = model.tensor([e + [0] * (width - len(e)) for e in endings])
    positions = torch.arange(shared, shared + width, device=model.device).expand(len(endings), -1)
    last = torch.tensor([len(e) - 1 for e in endings], device=model.device)
    columns, which = torch.unique(last, return_inverse=True)
    with float32_head(model):
        logits = model.forward(ids, positions=positions, cache=cache, keep=columns)
    return logits[torch.arange(len(endings), device=model.device), which].float()


@contextmanager
def float32_head(model: LocalModel) -> Iterator[None]:
    """Let the output layer compute in float32, whatever the model's dtype.

    Between 16 and 32 bfloat16 has steps of 0.125: that is how coarse a label's log-probability
    would be. A block of the vocabulary at a time, so that no second copy of the layer is made.
    """
    head = model.model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or head.weight.dtype == torch.float32:
        yield
        return

    def again(layer: torch.nn.Linear, inputs: tuple[torch.Tensor, ...], _: object) -> torch.Tensor:
        hidden = inputs[0].float()
        parts = [hidden @ block.float().T for block in torch.split(layer.weight, _BLOCK)]
        logits = torch.cat(parts, dim=-1)
        return logits if layer.bias is None else logits + layer.bias.float()

    hook = head.register_forward_hook(again)
    try:
        yield
    finally:
        hook.remove()


def common_prefix(prompts: Sequence[list[int]]) -> int:
    """How many ids all prompts begin with, leaving each at least one of its own."""
    shortest = min(map(len, prompts)) - 1
    for at in range(shortest):
        if any(ids[at] != prompts[0][at] for ids in prompts[1:]):
            return at
    return shortest
