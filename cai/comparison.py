"""Two models on the same prompts: tests, intervals, and what a judge's errors do to a rate.

Values are per prompt, in the order of the prompts; clusters are names of what belongs together
(twins, a conversation): prompts of one cluster are drawn together. Random draws come from a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.statistics import Z_95

DRAWS = 2000
Z_80 = 0.8416212335729143  # of a power of 80 %
Floats = NDArray[np.float64]
Verdict = Literal["passed", "failed", "undecided"]


def mcnemar(only_one: int, only_other: int) -> float:
    """The exact two-sided p of McNemar's test.

    Args:
        only_one: Pairs in which only the first is right.
        only_other: Pairs in which only the second is.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages"; p of the binomial distribution with a half, doubled, at most 1.
    """
    n, k = only_one + only_other, min(only_one, only_other)
    if n == 0:
        return 1.0
    tail = math.fsum(math.comb(n, i) / 2**n for i in range(k + 1)) if n <= 1000 else _tail(n, k)
    return min(1.0, 2 * tail)


def _tail(n: int, k: int) -> float:
    """P(X <= k) of a binomial with a half, by logarithms: 2^n has too many digits."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(k + 1)
    ]
    return math.fsum(math.exp(x) for x in logs)


def bootstrap_mean(
    values: Sequence[float] | Floats,
    clusters: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile interval of a mean, of prompts or of clusters of them.

    Efron 1979, "Bootstrap methods: another look at the jackknife". Whole clusters are drawn with
    replacement (Field and Welsh 2007, "Bootstrapping clustered data").

    Raises:
        ValueError: There are none, or the lengths differ.
    """
    sums, sizes = _by_cluster(np.asarray(values, float), clusters)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(sums), (draws, len(sums)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def permutation(
    values: Sequence[float],
    baseline: Sequence[float],
    clusters: Sequence[str] | None = None,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """The two-sided p of a mean difference when the two models change places at random.

    The signs of whole clusters are flipped (Fisher 1935, "The design of experiments"). The
    observed one counts as a draw, so p is never 0 (Phipson and Smyth 2010).

    Raises:
        ValueError: There are none, or the lengths differ.
    """
    sums, _ = _by_cluster(_differences(values, baseline), clusters)
    rng = np.random.default_rng(seed)
    observed, extreme, done = abs(float(sums.sum())), 0, 0
    while done < draws:
        part = min(1000, draws - done)
        signs = rng.integers(0, 2, (part, len(sums))) * 2 - 1
        extreme += int((np.abs(signs @ sums) >= observed - 1e-9).sum())
        done += part
    return (extreme + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, adjusted so that one false alarm is as unlikely as in one.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted


def detectable_difference(n: int, discordant: float) -> float | None:
    """The least difference of two shares on the same `n` prompts that a test sees 4 times in 5.

    Args:
        n: Prompts.
        discordant: The share of prompts in which just one of the two is right. Where so few differ
            that no test could show anything, more would have to.

    Returns:
        None of fewer than six prompts: McNemar's exact test cannot reach 5 % then.

    Level 5 % (two-sided), power 80 %: Connor 1987, "Sample size for testing differences in
    proportions for the paired-sample design", solved for the difference.
    """
    if n < 6:
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if prompts_needed(middle, max(discordant, middle)) > n:
            low = middle
        else:
            high = middle
    return high


def prompts_needed(difference: float, discordant: float) -> float:
    """How many prompts show a difference of two shares 4 times in 5; see `detectable_difference`.

    n = (z_a √ψ + z_b √(ψ - d²))² / d², with ψ the discordant share and d the difference.
    """
    if difference == 0:
        return math.inf
    spread = Z_95 * math.sqrt(discordant) + Z_80 * math.sqrt(max(0.0, discordant - difference**2))
    return (spread / difference) ** 2


class Corrected(NamedTuple):
    """A rate without the errors of who judged, and its 95 % interval."""

    value: float
    low: float
    high: float


class JudgeErrors(NamedTuple):
    """How a judge did on cases of known truth.

    Attributes:
        hits: Positive cases that it called positive.
        positives: All positive cases.
        rejections: Negative cases that it called negative.
        negatives: All negative cases.
    """

    hits: int
    positives: int
    rejections: int
    negatives: int

    @property
    def sensitivity(self) -> float:
        return self.hits / self.positives

    @property
    def specificity(self) -> float:
        return self.rejections / self.negatives


def rogan_gladen(rate: float, sensitivity: float, specificity: float) -> float | None:
    """The true rate behind one that a judge gave, in [0, 1]; None where it judges by chance.

    (rate + specificity - 1) / (sensitivity + specificity - 1): Rogan and Gladen 1978, "Estimating
    prevalence from the results of a screening test".
    """
    better = sensitivity + specificity - 1
    if better <= 0:
        return None
    return min(1.0, max(0.0, (rate + specificity - 1) / better))


def corrected_rate(
    positive: float,
    n: float,
    errors: JudgeErrors,
    *,
    known: tuple[float, float] = (0, 0),
    independent: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Corrected | None:
    """A rate without a judge's errors; its interval knows how few cases measured them.

    Args:
        positive: Answers that the judge called positive.
        n: All that it judged.
        errors: How it did on cases of known truth.
        known: Positive and negative answers that no judge had to decide; the rate is of all.
        independent: How many independent answers all of them are worth: clusters.
        draws: Of the parametric bootstrap over all three, the answers, how many of them a judge
            decides, and the cases.
        seed: Of the draws.

    Returns:
        None where the judge is no better than chance.
    """
    judged = rogan_gladen(positive / n, errors.sensitivity, errors.specificity)
    if judged is None:
        return None
    total = n + sum(known)
    worth = 1.0 if independent is None else independent / total
    value = (judged * n + known[0]) / total
    rng = np.random.default_rng(seed)
    rates = _beta(rng, worth * positive, worth * n, draws)
    sensitivities = _beta(rng, errors.hits, errors.positives, draws)
    specificities = _beta(rng, errors.rejections, errors.negatives, draws)
    better = sensitivities + specificities - 1
    usable = better > 0
    found = np.clip((rates + specificities - 1)[usable] / better[usable], 0, 1)
    if not len(found):
        return Corrected(value, 0.0, 1.0)
    if any(known):
        drawn = _beta(rng, worth * n, worth * total, len(found))
        without: float | Floats = known[0] / sum(known)
        if all(known):
            without = _beta(rng, worth * known[0], worth * sum(known), len(found))
        found = drawn * found + (1 - drawn) * without
    low, high = np.quantile(found, (0.025, 0.975))
    return Corrected(value, min(value, float(low)), max(value, float(high)))


def _beta(rng: np.random.Generator, k: float, n: float, draws: int) -> Floats:
    """Draws of a share of which `k` of `n` were seen, by Jeffreys' prior: 10 of 10 is not all."""
    drawn: Floats = rng.beta(k + 0.5, n - k + 0.5, draws)
    return drawn


def _differences(values: Sequence[float], baseline: Sequence[float]) -> Floats:
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values and {len(baseline)} of the baseline")
    differences: Floats = np.asarray(values, float) - np.asarray(baseline, float)
    return differences


def _by_cluster(values: Floats, clusters: Sequence[str] | None) -> tuple[Floats, Floats]:
    """The sum and the size of each cluster."""
    if not len(values):
        raise ValueError("no values")
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters")
    _, which = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(which, values).astype(float), np.bincount(which).astype(float)
