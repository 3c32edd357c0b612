"""Preference losses on log-probabilities, one value per pair. Pure functions with no model in them.

Throughout, `pi` is the policy, `ref` the reference, and a log-probability is that of a whole answer
given its prompt: a tensor of shape (pairs,), in nats.
"""

from __future__ import annotations

import math
from typing import Literal, assert_never

from torch import Tensor
from torch.nn.functional import logsigmoid

Loss = Literal["hard", "soft", "geometric"]


def delta_of(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    lengths: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Δ: log pi/ref of the chosen answer minus log pi/ref of the rejected one.

    Args:
        policy_chosen: log pi(chosen), shape (pairs,).
        policy_rejected: log pi(rejected).
        ref_chosen: log ref(chosen).
        ref_rejected: log ref(rejected).
        lengths: Tokens of the chosen and of the rejected answers; each log-ratio is then one per
            token (length-normalised DPO: Lambert et al. 2024, "Tülu 3", arXiv 2411.15124).
    """
    chosen, rejected = policy_chosen - ref_chosen, policy_rejected - ref_rejected
    if lengths is not None:
        chosen, rejected = normalised(chosen, lengths[0]), normalised(rejected, lengths[1])
    return chosen - rejected


def normalised(logps: Tensor, lengths: Tensor) -> Tensor:
    """Log-probabilities per token; an answer that was cut to no tokens stays 0."""
    return logps / lengths.clamp(min=1)


def preference_loss(delta: Tensor, probability: Tensor, beta: float, kind: Loss) -> Tensor:
    """How badly the policy orders each pair, by the label of the pair.

    - `hard`, -log σ(β Δ), takes the order as certain: Rafailov et al. 2023, "Direct preference
      optimization", arXiv 2305.18290, equation 7.
    - `soft`, -p log σ(β Δ) - (1 - p) log σ(-β Δ), is least where σ(β Δ) = p: Mitchell 2023, "A note
      on DPO with noisy preferences", equation 3, with 1 - p as the noise of each pair.
    - `geometric`, -log σ(β (2p - 1) Δ), has no gradient at p = 0.5: Furuta et al. 2024,
      "Geometric-averaged preference optimization for soft preference labels", arXiv 2409.06691.

    Args:
        delta: Δ of each pair, see `delta_of`.
        probability: p, that the chosen answer is the better one; the same shape, 0.5 to 1.
        beta: How strongly the policy is held to the reference.
        kind: Which loss.
    """
    match kind:
        case "hard":
            return -logsigmoid(beta * delta)
        case "soft":
            right, wrong = -logsigmoid(beta * delta), -logsigmoid(-beta * delta)
            return probability * right + (1 - probability) * wrong
        case "geometric":
            return -logsigmoid(beta * (2 * probability - 1) * delta)
        case _:
            assert_never(kind)


def nll(logps: Tensor, lengths: Tensor) -> Tensor:
    """-log pi per token of each answer.

    Pang et al. 2024, "Iterative reasoning preference optimization", arXiv 2404.19733, where it is
    added to the preference loss so that the chosen answers do not become unlikely themselves.
    """
    return -normalised(logps, lengths)


def loss_at_reference() -> float:
    """The preference loss of every kind and label where policy and reference are one: ln 2."""
    return math.log(2)
