"""How likely a model finds a text that somebody else wrote."""

from __future__ import annotations

import torch

from cai.engines.local.model import LocalModel
from cai.engines.local.scoring import float32_head
from cai.errors import CallError


@torch.inference_mode()
def negative_log_likelihood(model: LocalModel, ids: list[int], start: int) -> float:
    """The sum of -log p of the tokens from `start` on, each after all before it, in nats.

    Args:
        model: The model.
        ids: Token ids of a prompt and what follows it.
        start: Where what is scored begins; at least 1.

    Raises:
        CallError: The model gave numbers that are none.
        torch.OutOfMemoryError: Memory is too small.
    """
    columns = torch.arange(start - 1, len(ids) - 1, device=model.device)
    positions = torch.arange(len(ids), device=model.device)[None]
    with float32_head(model):
        logits = model.forward(model.tensor([ids]), positions=positions, keep=columns)[0].float()
    targets = model.tensor([ids[start:]])[0]
    nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double().sum()
    if not bool(nats.isfinite()):
        raise CallError("the model gave logits that are not numbers (NaN or infinity)")
    return float(nats)
