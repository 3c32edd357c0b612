"""A measure of values per prompt: its interval, and the paired difference to the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from cai import comparison, statistics
from cai.evaluate.records import Measure
from cai.statistics import Z_95

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
    McNemar's. All else gets the wider of Student's interval and a bootstrap, both over clusters,
    and p is a permutation's.
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
    measure = measure.model_copy(
        update={"baseline_n": len(other), "baseline_unscored": len(baseline) - len(other)}
    )
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
    share = min(1.0, max(0.0, mean))
    binary = all(value in (column.low, column.high) for value in values)
    if _independent(clusters) and binary:
        low, high = statistics.wilson(share * count, count)
        return column.low + width * low, column.low + width * high
    drawn = _of_values(values, clusters, seed)
    worth = _worth(share, [(v - column.low) / width for v in values], clusters)
    low, high = statistics.wilson(share * worth, worth)
    formula = column.low + width * low, column.low + width * high
    # For gaps, which are mostly 0 and seldom -1 or 1, the formula of shares is far too wide.
    if column.low < 0:
        return _inside(_wide_enough(drawn, values, count), column.low, column.high)
    return _inside((min(formula[0], drawn[0]), max(formula[1], drawn[1])), column.low, column.high)


def _worth(share: float, values: Sequence[float], clusters: Sequence[str]) -> float:
    """How many independent prompts a share is worth, at most as many as there are clusters.

    By Kish's design effect, n / (1 + (m - 1) r), with m the size of the cluster that a prompt is in
    and r how alike those of one are (Kish 1965, "Survey sampling", section 5.4). A few large
    clusters that happen to agree have little variance, so r is measured within them.
    """
    members: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    free = len(values) - len(members)
    if not free:
        return len(members)
    squares = 0.0
    for of in members.values():
        mean = math.fsum(of) / len(of)
        squares += math.fsum((value - mean) ** 2 for value in of)
    variance = share * (1 - share)
    alike = min(1.0, max(0.0, 1 - squares / free / variance)) if variance else 1.0
    size = sum(len(of) ** 2 for of in members.values()) / len(values)
    return max(1.0, min(len(members), len(values) / (1 + (size - 1) * alike)))


def _difference(
    xs: Sequence[float], ys: Sequence[float], clusters: Sequence[str], column: Column, seed: int
) -> Interval | None:
    differences = [x - y for x, y in zip(xs, ys, strict=True)]
    if math.isinf(column.high):
        return statistics.mean_interval(differences, clusters)
    if _independent(clusters) and all(v in (0, 1) for v in (*xs, *ys)):
        return statistics.paired_difference(xs, ys)
    width = column.high - column.low
    found = _wide_enough(_of_values(differences, clusters, seed), differences, len(set(clusters)))
    return _inside(found, -width, width)


def _of_values(values: Sequence[float], clusters: Sequence[str], seed: int) -> Interval:
    """The wider of Student's interval and the bootstrap's, both over clusters."""
    drawn = comparison.bootstrap_mean(values, clusters, seed=seed)
    student = statistics.mean_interval(values, clusters) or drawn
    return min(drawn[0], student[0]), max(drawn[1], student[1])


def _wide_enough(found: Interval, values: Sequence[float], count: int) -> Interval:
    """An interval that is no narrower than that of so many clusters of which none differs.

    Clusters that are all alike have no spread; Wilson's interval of none in n ends at
    z^2 / (n + z^2).
    """
    mean, least = math.fsum(values) / len(values), Z_95**2 / (count + Z_95**2)
    return min(found[0], mean - least), max(found[1], mean + least)


def _inside(found: Interval, low: float, high: float) -> Interval:
    return max(low, found[0]), min(high, found[1])


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
