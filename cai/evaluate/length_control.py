"""A win rate without the share that length alone wins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cai.comparison import DRAWS

Floats = NDArray[np.float64]
_PENALTY = 0.1  # on both weights: without it, wins that length alone explains have no finite fit
_STEPS = 50
_BLOCK = 200  # draws that are fitted together


def length_controlled(
    wins: Sequence[float], longer: Sequence[int], weights: Sequence[float] | None = None
) -> float:
    """The win rate to be expected between answers of equal length, in [0, 1].

    Logistic regression of wins on the difference of lengths: logit(win) = a + b tanh(d / s), with d
    the difference in characters and s its standard deviation; the rate is that of d = 0. As Dubois
    et al. 2024, "Length-controlled AlpacaEval" (arXiv 2404.04475), equations 1 and 2, without the
    term for how hard a prompt is: there is one pair of models.

    Args:
        wins: Per prompt 1, 0, or 0.5 for a tie.
        longer: Characters by which the model's answer is longer than the baseline's.
        weights: What each of them counts, one if there are none; samples of a prompt share one.

    Raises:
        ValueError: There are none, or the lengths differ.
    """
    y, d, w = _columns(wins, longer, weights)
    return float(_rates(y[None], d[None], w[None])[0])


def length_controlled_interval(
    wins: Sequence[float],
    longer: Sequence[int],
    clusters: Sequence[str],
    weights: Sequence[float] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """Its 95 % percentile interval, from a bootstrap over clusters of prompts.

    Raises:
        ValueError: As `length_controlled`.
    """
    y, d, w = _columns(wins, longer, weights)
    members: dict[str, list[int]] = {}
    for n, name in enumerate(clusters):
        members.setdefault(name, []).append(n)
    groups = [np.asarray(ns) for ns in members.values()]
    rng = np.random.default_rng(seed)
    rates: list[Floats] = []
    if all(len(group) == 1 for group in groups):
        for start in range(0, draws, _BLOCK):
            picks = rng.integers(0, len(y), (min(_BLOCK, draws - start), len(y)))
            rates.append(_rates(y[picks], d[picks], w[picks]))
    else:
        for _ in range(draws):
            rows = np.concatenate([groups[n] for n in rng.integers(0, len(groups), len(groups))])
            rates.append(_rates(y[None, rows], d[None, rows], w[None, rows]))
    low, high = np.quantile(np.concatenate(rates), (0.025, 0.975))
    return float(low), float(high)


def _columns(
    wins: Sequence[float], longer: Sequence[int], weights: Sequence[float] | None
) -> tuple[Floats, Floats, Floats]:
    y, d = np.asarray(wins, float), np.asarray(longer, float)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    if len(y) == 0 or not len(y) == len(d) == len(w):
        raise ValueError("a win and a difference in length for each prompt")
    return y, d, w


def _rates(y: Floats, d: Floats, w: Floats) -> Floats:
    """The rate at equal length for each row of wins (draws, n), by Newton's method."""
    total = w.sum(axis=1, keepdims=True)
    mean = (w * d).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((w * (d - mean) ** 2).sum(axis=1, keepdims=True) / total)
    x = np.tanh(np.divide(d, spread, out=np.zeros_like(d), where=spread > 0))
    design = np.stack([np.ones_like(x), x], axis=-1)
    weights = np.zeros((len(y), 2))
    ridge = np.diag([0.0, _PENALTY]) + 1e-6 * np.eye(2)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip((design @ weights[..., None])[..., 0], -30, 30)))
        gradient = (design * (w * (y - p))[..., None]).sum(axis=1) - weights @ ridge
        curvature = (w * np.maximum(p * (1 - p), 1e-6))[..., None, None]
        hessian = (curvature * design[..., :, None] * design[..., None, :]).sum(axis=1) + ridge
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        weights += np.clip(step, -4, 4)
        if np.abs(step).max() < 1e-8:
            break
    rates: Floats = 1 / (1 + np.exp(-np.clip(weights[:, 0], -30, 30)))
    return rates
