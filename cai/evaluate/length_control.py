"""A win rate without the share that length alone wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.comparison import DRAWS

Floats = NDArray[np.float64]
# On the weight of the length alone: without it, wins that length alone explains have no finite fit.
_PENALTY = 0.1
_STEPS = 50
_BLOCK = 200  # draws that are fitted together
LEAST_OTHER = 0.05  # of the pairs in which the mostly shorter answer is not shorter


class Pairs(NamedTuple):
    """Pairs of answers, one of each side.

    Attributes:
        wins: 1, 0, or 0.5 for a tie.
        longer: Characters by which the model's answer is longer than the baseline's.
        weights: What each counts; the samples of a prompt share one.
        free: Whether length may have decided it; what a program decided is as it is.
    """

    wins: Floats
    longer: Floats
    weights: Floats
    free: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        wins: Sequence[float],
        longer: Sequence[int],
        weights: Sequence[float] | None = None,
        free: Sequence[bool] | None = None,
    ) -> Pairs:
        """Pairs that count one each and that length may have decided, unless told otherwise.

        Raises:
            ValueError: There are none, or the lengths differ.
        """
        n = len(wins)
        found = cls(
            np.asarray(wins, float),
            np.asarray(longer, float),
            np.ones(n) if weights is None else np.asarray(weights, float),
            np.ones(n, bool) if free is None else np.asarray(free, bool),
        )
        if n == 0 or any(len(column) != n for column in found):
            raise ValueError("a win and a difference in length for each prompt")
        return found

    def taken(self, rows: NDArray[np.int64]) -> Pairs:
        """Some of them, in rows of draws."""
        return Pairs(self.wins[rows], self.longer[rows], self.weights[rows], self.free[rows])

    @property
    def one_sided(self) -> bool:
        """Whether nearly all answers of one side are the longer ones.

        What equal length would give is then guessed from where no pair is.
        """
        longer, weights = self.longer[self.free], self.weights[self.free]
        total = weights.sum()
        sides = (weights[longer >= 0].sum(), weights[longer <= 0].sum())
        return bool(total and min(sides) < LEAST_OTHER * total)


def length_controlled(pairs: Pairs) -> float:
    """The win rate to be expected between answers of equal length, in [0, 1].

    Logistic regression of wins on the difference of lengths: logit(win) = a + b tanh(d / s), with d
    the difference in characters and s its standard deviation; the rate is that of d = 0. As Dubois
    et al. 2024, "Length-controlled AlpacaEval" (arXiv 2404.04475), equations 1 and 2, without the
    term for how hard a prompt is: there is one pair of models. What length cannot have decided
    counts as it is: refusals are short, and do not lose for that.
    """
    return float(_rates(pairs.taken(np.arange(len(pairs.wins))[None]))[0])


def length_controlled_interval(
    pairs: Pairs, clusters: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Its 95 % percentile interval, from a bootstrap over clusters of prompts."""
    members: dict[str, list[int]] = {}
    for n, name in enumerate(clusters):
        members.setdefault(name, []).append(n)
    groups = [np.asarray(ns) for ns in members.values()]
    rng = np.random.default_rng(seed)
    rates: list[Floats] = []
    if all(len(group) == 1 for group in groups):
        n = len(pairs.wins)
        for start in range(0, draws, _BLOCK):
            picks = rng.integers(0, n, (min(_BLOCK, draws - start), n))
            rates.append(_rates(pairs.taken(picks)))
    else:
        for _ in range(draws):
            rows = np.concatenate([groups[n] for n in rng.integers(0, len(groups), len(groups))])
            rates.append(_rates(pairs.taken(rows[None])))
    low, high = np.quantile(np.concatenate(rates), (0.025, 0.975))
    return float(low), float(high)


def _rates(pairs: Pairs) -> Floats:
    """The rate of each row of pairs (draws, n)."""
    weights = pairs.weights * pairs.free
    free, total = weights.sum(axis=1), pairs.weights.sum(axis=1)
    given = (pairs.weights * ~pairs.free * pairs.wins).sum(axis=1)
    rates: Floats = (free * _at_equal_length(pairs.wins, pairs.longer, weights) + given) / total
    return rates


def _at_equal_length(y: Floats, d: Floats, w: Floats) -> Floats:
    """The rate at equal length for each row of wins (draws, n), by Newton's method."""
    total = np.maximum(w.sum(axis=1, keepdims=True), 1e-9)
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
