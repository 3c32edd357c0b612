from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cai import statistics
from cai.calibration import Bin, brier, calibration_bins, ece, fit_temperature, nll, tempered
from cai.statistics import mean_interval, paired_difference, student_t_95, wilson

probabilities = st.floats(0, 1)
outcomes = st.sampled_from([0.0, 0.5, 1.0])


def table(both: int, only_judge: int, only_other: int, neither: int) -> list[tuple[float, float]]:
    """The pairs of a 2x2 table."""
    return (
        [(1.0, 1.0)] * both
        + [(1.0, 0.0)] * only_judge
        + [(0.0, 1.0)] * only_other
        + [(0.0, 0.0)] * neither
    )


def difference(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return paired_difference([x for x, _ in pairs], [y for _, y in pairs])


def test_wilson_by_hand() -> None:
    # z = 2, 6 of 12: centre (6 + 2) / 16, half 2 * sqrt(12 / 4 + 1) / 16.
    assert wilson(6, 12, z=2) == pytest.approx((0.25, 0.75))
    # z = 2, 0 of 12: from 0 to 4 / 16.
    assert wilson(0, 12, z=2) == (0.0, pytest.approx(0.25))
    assert wilson(12, 12, z=2) == (pytest.approx(0.75), 1.0)
    # A half counts: centre (1.5 + 2) / 8, half 2 * sqrt(4 * 0.375 * 0.625 + 1) / 8.
    half = math.sqrt(1.9375) / 4
    assert wilson(1.5, 4, z=2) == pytest.approx((0.4375 - half, 0.4375 + half))


def test_wilson_at_95_percent_is_the_published_interval() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@pytest.mark.parametrize(("right", "n"), [(0, 0), (-1, 3), (4, 3), (math.nan, 3)])
def test_wilson_of_what_is_no_share(right: float, n: int) -> None:
    with pytest.raises(ValueError, match="share"):
        wilson(right, n)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, 2 * n), st.just(n))))
def test_wilson_is_inside_0_to_1_and_around_the_share(halves_n: tuple[int, int]) -> None:
    halves, n = halves_n
    low, high = wilson(halves / 2, n)
    assert 0 <= low <= halves / 2 / n <= high <= 1


@pytest.mark.parametrize(
    ("cells", "interval"),
    [
        # Newcombe 1998, method 10: phi is below 0 and not corrected.
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        # Airway hyper-responsiveness, Fagerland et al. 2014: the correction takes phi to 0.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        # Altman et al. 2000, "Statistics with confidence", p. 52: phi is above 0 and corrected.
        ((14, 5, 0, 22), (0.011, 0.226)),
    ],
)
def test_paired_difference_as_published(
    cells: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    digits = 4 if cells[0] == 36 else 3
    assert tuple(round(x, digits) for x in difference(table(*cells))) == interval


def test_paired_difference_by_hand() -> None:
    # z = 2 and n = 12, both sides right on the same 6: Wilson intervals 0.25 to 0.75, each 0.25
    # from its share; ad - bc = 36, less n / 2 is 30, over sqrt(6^4) is phi = 5 / 6. The half-width
    # is sqrt(0.25^2 * (2 - 2 * 5 / 6)).
    half = math.sqrt(0.0625 / 3)
    same = [1.0] * 6 + [0.0] * 6
    assert paired_difference(same, same, z=2) == pytest.approx((-half, half))
    # Ties only: a quarter of each pair in each cell, so phi = 0.
    ties = [0.5] * 12
    half = math.sqrt(2 * 0.0625)
    assert paired_difference(ties, ties, z=2) == pytest.approx((-half, half))
    # All right against all wrong: a margin is empty, phi = 0; 0.25 from each side, by Pythagoras.
    low, high = paired_difference([1.0] * 12, [0.0] * 12, z=2)
    assert (low, high) == pytest.approx((1 - half, 1))


@given(st.lists(st.tuples(outcomes, outcomes), min_size=1, max_size=60))
def test_paired_difference_is_around_the_estimate_and_swaps_sign(
    pairs: list[tuple[float, float]],
) -> None:
    low, high = difference(pairs)
    estimate = sum(x - y for x, y in pairs) / len(pairs)
    assert -1 - 1e-12 <= low <= estimate + 1e-12
    assert estimate - 1e-12 <= high <= 1 + 1e-12
    swapped = difference([(y, x) for x, y in pairs])
    assert swapped == pytest.approx((-high, -low), abs=1e-12)


def test_paired_difference_of_what_is_not_paired() -> None:
    with pytest.raises(ValueError, match="no values"):
        paired_difference([], [])
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1, 0], [1])
    with pytest.raises(ValueError, match="not in"):
        paired_difference([2, 0], [1, 0])


def test_brier_and_nll_by_hand() -> None:
    assert brier([1, 0.5, 0]) == pytest.approx((0 + 0.25 + 1) / 3)
    assert nll([0.5, 0.25]) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert nll([0]) == pytest.approx(-math.log(1e-9))
    assert nll([1]) == pytest.approx(1e-9)


@pytest.mark.parametrize("measure", [brier, nll, fit_temperature])
def test_measures_of_nothing_and_of_no_probabilities(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="no values"):
        measure([])
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="not in"):
            measure([0.5, bad])


def test_calibration_bins_by_hand() -> None:
    # Confidences 0.5, 0.6, 0.8, 0.9; 0.2 was wrong, 0.5 is half right.
    low, high = calibration_bins([0.9, 0.5, 0.2, 0.6], bins=2)
    assert (low.confidence, low.accuracy, low.count) == pytest.approx((0.55, 0.75, 2))
    assert (high.confidence, high.accuracy, high.count) == pytest.approx((0.85, 0.5, 2))
    assert calibration_bins([]) == []
    with pytest.raises(ValueError, match="bins"):
        calibration_bins([0.5], bins=0)


def test_bins_have_equal_counts_when_nothing_is_equal() -> None:
    p_right = [0.5 + i / 1000 for i in range(95)]
    assert sorted(b.count for b in calibration_bins(p_right)) == [9] * 5 + [10] * 5


def test_equal_confidences_share_a_bin() -> None:
    # 0.25 is as sure as 0.75, and four of five pairs are: two bins of ten come out.
    bins = calibration_bins([0.75, 0.25, 0.75, 0.75, 1.0])
    assert bins == [
        Bin(confidence=0.75, accuracy=0.75, count=4),
        Bin(confidence=1, accuracy=1, count=1),
    ]


@given(st.lists(probabilities, min_size=1, max_size=80), st.integers(1, 12), st.randoms())
def test_bins_cover_every_pair_once_in_any_order(
    p_right: list[float], bins: int, chance: random.Random
) -> None:
    made = calibration_bins(p_right, bins)
    assert sum(b.count for b in made) == len(p_right)
    assert 1 <= len(made) <= bins
    assert all(0.5 <= b.confidence <= 1 and 0 <= b.accuracy <= 1 for b in made)
    assert all(a.confidence <= b.confidence + 1e-12 for a, b in pairwise(made))
    shuffled = p_right[:]
    chance.shuffle(shuffled)
    assert calibration_bins(shuffled, bins) == made
    assert 0 <= ece(made) <= 1


def test_ece_by_hand() -> None:
    bins = [Bin(confidence=0.6, accuracy=0.5, count=1), Bin(confidence=0.9, accuracy=1, count=3)]
    assert ece(bins) == pytest.approx((0.1 + 3 * 0.1) / 4)
    with pytest.raises(ValueError, match="no bins"):
        ece([])


@given(st.lists(st.integers(51, 100), min_size=1, max_size=9, unique=True))
def test_ece_of_calibrated_groups_is_0(percents: list[int]) -> None:
    # Of 100 pairs with k % confidence, k are right.
    p_right = [p for k in percents for p in [k / 100] * k + [1 - k / 100] * (100 - k)]
    assert ece(calibration_bins(p_right)) == pytest.approx(0, abs=1e-9)


def test_tempered_by_hand() -> None:
    # Odds 9 to 1 at T = 2 are 3 to 1; at T = 1/2 they are 81 to 1.
    assert tempered(0.9, 2) == pytest.approx(3 / 4)
    assert tempered(0.9, 0.5) == pytest.approx(81 / 82)
    assert [tempered(p, 0.01) for p in (0, 0.5, 1)] == [0, 0.5, 1]
    assert tempered(1e-300, 0.01) == 0
    assert tempered(1e-300, 1) == pytest.approx(1e-300, rel=1e-9)
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            tempered(0.5, bad)
    with pytest.raises(ValueError, match="probability"):
        tempered(1.5, 1)


@given(st.floats(0.5, 1), st.floats(0.01, 100))
def test_tempered_is_symmetric(p: float, temperature: float) -> None:
    # From 0.5 up, 1 - p is exact.
    assert tempered(1 - p, temperature) == pytest.approx(1 - tempered(p, temperature), abs=1e-12)


@given(probabilities, probabilities, st.floats(0.01, 100))
def test_tempered_keeps_the_order_and_the_side(p: float, q: float, temperature: float) -> None:
    low, high = tempered(min(p, q), temperature), tempered(max(p, q), temperature)
    assert low <= high + 1e-12
    assert 0 <= low <= 1
    assert (low - 0.5) * (min(p, q) - 0.5) >= 0


@given(st.floats(0.2, 8))
def test_fit_temperature_finds_the_known_one(temperature: float) -> None:
    # Of 100 pairs with k % true probability, k are right, and the judge says what has to be
    # tempered by the temperature to get there.
    p_right = []
    for k in (55, 65, 70, 75, 80):
        said = tempered(k / 100, 1 / temperature)
        p_right += [said] * k + [1 - said] * (100 - k)
    assert fit_temperature(p_right) == pytest.approx(temperature, rel=1e-6)


@given(st.lists(probabilities, min_size=1, max_size=40))
def test_no_other_temperature_fits_better(p_right: list[float]) -> None:
    fitted = fit_temperature(p_right)
    assert 0.01 <= fitted <= 100
    kept = np.clip(p_right, 1e-9, 1 - 1e-9)
    logits = np.log(kept) - np.log1p(-kept)

    def loss(temperature: float) -> float:
        return float(np.logaddexp(0, -logits / temperature).mean())

    for other in (0.01, 0.1, 1.0, 3.0, 100.0, fitted * 0.99, fitted * 1.01):
        if 0.01 <= other <= 100:
            assert loss(fitted) <= loss(other) + 1e-9


def test_fit_temperature_at_its_ends() -> None:
    assert fit_temperature([0.9, 0.8]) == 0.01
    assert fit_temperature([0.1, 0.2]) == 100
    assert fit_temperature([0.0, 1.0]) == 100
    assert fit_temperature([0.5, 0.5]) == 1


@pytest.mark.parametrize(
    ("first", "second", "interval"),
    [
        # Newcombe 1998, "Interval estimation for the difference between independent proportions",
        # table II, method 10.
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ],
)
def test_the_difference_of_two_groups_is_the_published_interval(
    first: tuple[int, int], second: tuple[int, int], interval: tuple[float, float]
) -> None:
    assert statistics.difference(*first, *second) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 30, 500])
def test_students_t_is_that_of_scipy(freedom: int) -> None:
    expected = stats.t.ppf(0.975, freedom)
    assert student_t_95(freedom) == pytest.approx(expected, rel=1e-5)


def test_the_interval_of_a_mean_is_students_and_knows_clusters() -> None:
    values = [2.0, 2.5, 3.1, 2.2, 2.9]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert mean_interval(values, list("abcde")) == pytest.approx((low, high), rel=1e-5)
    # Each value twice in one cluster says no more than once.
    twice = [value for value in values for _ in range(2)]
    assert mean_interval(twice, list("aabbccddee")) == pytest.approx((low, high), rel=1e-5)
    assert mean_interval(values, list("aaaaa")) is None
