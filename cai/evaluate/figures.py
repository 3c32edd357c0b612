"""A measure of values per prompt: its interval, and the paired difference to the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cai import comparison, statistics
from cai.evaluate.records import Measure

Interval = tuple[float, float]
Values = Sequence[Sequence[float | None]]  # per prompt and sample; None where nobody could tell


class Column(NamedTuple):
    """The values of one measure.

    Attributes:
        model: Per prompt, one value a sample.
        baseline: The same of the baseline; None where there is none.
        clusters: Per prompt, the name of what it belongs to.
        low: The least that a value can be.
        high: The greatest; infinity where there is none.
    """

    model: Values
    baseline: Values | None
    clusters: Sequence[str]
    low: float = 0.0
    high: float = 1.0


def measured(column: Column, *, seed: int = 0) -> Measure:
    """The measure of a column, without what is known of a judge.

    Shares of independent prompts get Wilson's interval and Newcombe's paired one, and p is
    McNemar's. Values without a bound get Student's interval over clusters. All else is
    bootstrapped over clusters, and p is a permutation's.
    """
    model = [_mean(values) for values in column.model]
    scored = [n for n, value in enumerate(model) if value is not None]
    unscored = len(model) - len(scored)
    if not scored:
        return Measure(unscored=unscored)
    values = [value for value in model if value is not None]
    bounds = interval(values, [column.clusters[n] for n in scored], column, seed)
    low, high = bounds or (None, None)
    measure = Measure(
        value=math.fsum(values) / len(values),
        low=low,
        high=high,
        n=len(values),
        unscored=unscored,
        spread=_spread(column.model),
    )
    if column.baseline is None:
        return measure
    return _compared(measure, model, [_mean(v) for v in column.baseline], column, seed)


def _compared(
    measure: Measure,
    model: Sequence[float | None],
    baseline: Sequence[float | None],
    column: Column,
    seed: int,
) -> Measure:
    other = [value for value in baseline if value is not None]
    xs: list[float] = []
    ys: list[float] = []
    clusters: list[str] = []
    for x, y, cluster in zip(model, baseline, column.clusters, strict=True):
        if x is not None and y is not None:
            xs.append(x)
            ys.append(y)
            clusters.append(cluster)
    if not xs:
        value = math.fsum(other) / len(other) if other else None
        return measure.model_copy(update={"baseline": value})
    low, high = _difference(xs, ys, clusters, column, seed) or (None, None)
    binary = _independent(clusters) and all(v in (0, 1) for v in (*xs, *ys))
    gained = sum(x > y for x, y in zip(xs, ys, strict=True))
    lost = sum(x < y for x, y in zip(xs, ys, strict=True))
    if binary:
        p = comparison.mcnemar(gained, lost)
        discordant = max(1, gained + lost) / len(xs)
        detectable = comparison.detectable_difference(len(xs), discordant)
    else:
        p, detectable = comparison.permutation(xs, ys, clusters, seed=seed), None
    return measure.model_copy(
        update={
            "baseline": math.fsum(other) / len(other),
            "difference": math.fsum(x - y for x, y in zip(xs, ys, strict=True)) / len(xs),
            "difference_low": low,
            "difference_high": high,
            "pairs": len(xs),
            "p": p,
            "detectable": detectable,
        }
    )


def interval(
    values: Sequence[float], clusters: Sequence[str], column: Column, seed: int
) -> Interval | None:
    """The 95 % interval of the mean of values; None of a single cluster without bounds."""
    if math.isinf(column.high):
        return statistics.mean_interval(values, clusters)
    width = column.high - column.low
    count = len(set(clusters))
    mean = (math.fsum(values) / len(values) - column.low) / width
    low, high = statistics.wilson(min(1.0, max(0.0, mean)) * count, count)
    low, high = column.low + width * low, column.low + width * high
    if _independent(clusters) and all(value in (column.low, column.high) for value in values):
        return low, high
    return _wider((low, high), comparison.bootstrap_mean(values, clusters, seed=seed), column)


def _difference(
    xs: Sequence[float], ys: Sequence[float], clusters: Sequence[str], column: Column, seed: int
) -> Interval | None:
    if math.isinf(column.high):
        return statistics.mean_interval([x - y for x, y in zip(xs, ys, strict=True)], clusters)
    width = column.high - column.low
    one, other = (
        [min(1.0, max(0.0, (m - column.low) / width)) for m in _cluster_means(side, clusters)]
        for side in (xs, ys)
    )
    # Clusters of unequal size have other means than prompts.
    between = math.fsum(one) / len(one) - math.fsum(other) / len(other)
    moved = (math.fsum(xs) - math.fsum(ys)) / len(xs) - width * between
    low, high = (moved + width * bound for bound in statistics.paired_difference(one, other))
    if _independent(clusters) and all(v in (column.low, column.high) for v in (*xs, *ys)):
        return low, high
    drawn = comparison.bootstrap_difference(xs, ys, clusters, seed=seed)
    return _wider((low, high), drawn, column)


def _wider(formula: Interval, drawn: Interval, column: Column) -> Interval:
    """The wider of two intervals: a bootstrap of a few clusters that are alike has no width.

    For gaps, which are mostly 0 and seldom -1 or 1, the formula of shares is far too wide.
    """
    if column.low < 0 and drawn[0] < drawn[1]:
        return drawn
    return min(formula[0], drawn[0]), max(formula[1], drawn[1])


def _cluster_means(values: Sequence[float], clusters: Sequence[str]) -> list[float]:
    members: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    return [math.fsum(of) / len(of) for of in members.values()]


def _independent(clusters: Sequence[str]) -> bool:
    return len(set(clusters)) == len(clusters)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _spread(values: Values) -> tuple[float, float] | None:
    """The least and the greatest mean of one sample of every prompt."""
    samples = max(map(len, values), default=0)
    if samples < 2:
        return None
    means = [_mean([of[k] for of in values if k < len(of)]) for k in range(samples)]
    known = [mean for mean in means if mean is not None]
    return (min(known), max(known)) if known else None
