"""Intervals for shares of pairs and the calibration of probabilities. Pure functions on numbers.

Throughout, `p_right` is the probability in [0, 1] that was given to the right option of each pair.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

Z_95 = 1.959963984540054
_STEPS = 20_000


def wilson(right: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval for a share, inside [0, 1] and around `right / n`.

    Args:
        right: How many are right, 0 to `n`; a tie may count a half.
        n: How many there are; of dependent ones, how many independent ones they are worth.
        z: The normal quantile; the default is for 95 %.

    Raises:
        ValueError: There are none, or `right` is not between 0 and `n`.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n <= 0:
        raise ValueError("no share of nothing: n must be at least 1")
    if not 0 <= right <= n:
        raise ValueError(f"{right} of {n} is not a share")
    share = right / n
    centre = (right + z * z / 2) / (n + z * z)
    half = z * math.sqrt(n * share * (1 - share) + z * z / 4) / (n + z * z)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


@functools.cache
def student_t_95(freedom: int) -> float:
    """The t that a value of so many degrees of freedom exceeds in size once in 20.

    Raises:
        ValueError: There are none.

    Student 1908, "The probable error of a mean". With t = √ν tan θ the density of θ goes as
    cos^(ν-1) θ, which is summed here.
    """
    if freedom < 1:
        raise ValueError("at least one degree of freedom")
    step = math.pi / 2 / _STEPS
    density = [math.cos((k + 0.5) * step) ** (freedom - 1) for k in range(_STEPS)]
    left, k = 0.95 * math.fsum(density), 0
    while left > density[k]:
        left -= density[k]
        k += 1
    return math.sqrt(freedom) * math.tan((k + left / density[k]) * step)


def mean_interval(values: Sequence[float], clusters: Sequence[str]) -> tuple[float, float] | None:
    """The 95 % t interval of a mean; None of fewer than two clusters, which tell no spread.

    The variance is that of a ratio of sums over clusters: Cochran 1977, "Sampling techniques",
    equation 2.39. Degrees of freedom are one less than clusters of one size that would weigh as
    much, (sum of sizes)^2 / (sum of squared sizes): Kish 1965, "Survey sampling", section 8.2.
    """
    mean = math.fsum(values) / len(values)
    off: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for value, cluster in zip(values, clusters, strict=True):
        off[cluster] = off.get(cluster, 0.0) + value - mean
        sizes[cluster] = sizes.get(cluster, 0) + 1
    count = len(off)
    if count < 2:
        return None
    squares = math.fsum(x * x for x in off.values())
    like = len(values) ** 2 / sum(size * size for size in sizes.values())
    freedom = max(1, math.floor(like + 1e-9) - 1)
    half = student_t_95(freedom) * math.sqrt(squares * count / (count - 1)) / len(values)
    return mean - half, mean + half


def difference(
    right: float, n: int, other_right: float, other_n: int, z: float = Z_95
) -> tuple[float, float]:
    """The interval for the share of one group minus that of another, independent one.

    Args:
        right: How many of the first group, 0 to `n`.
        n: How many are in it.
        other_right: How many of the second.
        other_n: How many are in that.
        z: The normal quantile; the default is for 95 %.

    Raises:
        ValueError: As `wilson`.

    Newcombe 1998, "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", method 10: Wilson's intervals, joined.
    """
    low, high = wilson(right, n, z)
    other_low, other_high = wilson(other_right, other_n, z)
    share, other = right / n, other_right / other_n
    return (
        share - other - _joined(share - low, other_high - other, 0.0),
        share - other + _joined(high - share, other - other_low, 0.0),
    )


def paired_difference(
    judge: Sequence[float], other: Sequence[float], z: float = Z_95
) -> tuple[float, float]:
    """The interval for the judge's share of right pairs minus the other's, on the same pairs.

    Args:
        judge: Per pair 1 for right, 0 for wrong, 0.5 for a tie.
        other: The same for the other, in the same order; a tie counts a half for each cell.
        z: The normal quantile; the default is for 95 %.

    Raises:
        ValueError: There are no pairs, the lengths differ, or a value is not in [0, 1].

    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", method 10: Wilson intervals joined by a continuity-corrected phi.
    """
    pairs = list(zip(checked(judge), checked(other), strict=True))
    n = len(pairs)
    both = math.fsum(x * y for x, y in pairs)
    only_judge = math.fsum(x * (1 - y) for x, y in pairs)
    only_other = math.fsum((1 - x) * y for x, y in pairs)
    neither = math.fsum((1 - x) * (1 - y) for x, y in pairs)

    right, other_right = math.fsum(judge), math.fsum(other)
    low, high = wilson(right, n, z)
    other_low, other_high = wilson(other_right, n, z)
    share, other_share = right / n, other_right / n

    product = both * neither - only_judge * only_other
    if product > 0:
        product = max(product - n / 2, 0.0)
    scale = math.sqrt(right * (n - right) * other_right * (n - other_right))
    phi = product / scale if scale else 0.0

    difference = share - other_share
    return (
        difference - _joined(share - low, other_high - other_share, phi),
        difference + _joined(high - share, other_share - other_low, phi),
    )


def _joined(one: float, two: float, phi: float) -> float:
    """The half-width of a difference from those of its two sides, correlated by phi."""
    return math.sqrt(max(0.0, one * one - 2 * phi * one * two + two * two))


def checked(values: Sequence[float]) -> Sequence[float]:
    if not values:
        raise ValueError("no values")
    for value in values:
        if not 0 <= value <= 1:
            raise ValueError(f"{value} is not in [0, 1]")
    return values
