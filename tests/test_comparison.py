"""Tests and intervals against scipy, statsmodels, and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from cai.comparison import (
    JudgeErrors,
    bootstrap_mean,
    corrected_rate,
    detectable_difference,
    holm,
    mcnemar,
    permutation,
    prompts_needed,
    rogan_gladen,
)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 9), (12, 3), (50, 50), (700, 500), (3000, 2900)])
def test_mcnemar_is_that_of_statsmodels(b: int, c: int) -> None:
    theirs = statsmodels_mcnemar([[10, b], [c, 10]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(theirs, rel=1e-9)


def test_holm_is_that_of_statsmodels() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.8]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_the_permutation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.random(12), rng.random(12)
    theirs = stats.permutation_test(
        (one, other),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert permutation(one.tolist(), other.tolist(), draws=40_000) == pytest.approx(
        theirs, abs=0.01
    )


def test_clusters_count_as_one() -> None:
    values, clusters = [1.0, 1.0, 0.0, 0.0] * 25, [str(i // 2) for i in range(100)]
    loose, tied = bootstrap_mean(values), bootstrap_mean(values, clusters)
    assert tied[1] - tied[0] == pytest.approx((loose[1] - loose[0]) * 2**0.5, rel=0.15)
    same = [1.0] * 4 + [0.0] * 4
    assert permutation(same, [0.0] * 8, ["a"] * 4 + ["b"] * 4) > 0.4
    assert permutation(same, [0.0] * 8) < 0.15


@pytest.mark.parametrize("clusters", [1, 2])
def test_the_bootstrap_covers_the_truth(clusters: int) -> None:
    covered, runs = 0, 500
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        groups = rng.random(120 // clusters)
        values = (np.repeat(groups, clusters) < 0.3).astype(float)
        names = [str(i // clusters) for i in range(120)]
        low, high = bootstrap_mean(values, names, draws=400, seed=seed)
        covered += low <= 0.3 <= high
    assert covered / runs >= 0.92


def test_a_model_against_itself_raises_few_alarms() -> None:
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        one, other = (rng.random((2, 300)) < 0.4).astype(float)
        both = one * other
        b, c = int((one - both).sum()), int((other - both).sum())
        alarms += mcnemar(b, c) < 0.05
    assert alarms <= 9


def test_a_planted_difference_is_seen_by_the_paired_test_and_not_by_the_unpaired() -> None:
    # 400 pairs, 8 points: 40 prompts that only one gets right, 8 that only the other does.
    one, other = 200 + 40, 200 + 8
    assert mcnemar(40, 8) < 0.001
    assert stats.chi2_contingency([[one, 400 - one], [other, 400 - other]]).pvalue > 0.01


def test_how_many_prompts_show_a_difference() -> None:
    # Connor 1987: discordant share 0.3, difference 0.1: (1.96 sqrt 0.3 + 0.8416 sqrt 0.29)^2 / 0.01
    assert prompts_needed(0.1, 0.3) == pytest.approx(233.1, abs=0.5)
    assert detectable_difference(233, 0.3) == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(("n", "discordant"), [(100, 0.0), (100, 0.06), (300, 0.007), (300, 0.2)])
def test_what_is_detectable_is_seen_four_times_in_five(n: int, discordant: float) -> None:
    least = detectable_difference(n, discordant)
    assert least is not None
    share = max(discordant, least)
    rng, seen = np.random.default_rng(0), 0
    for _ in range(1000):
        gained, lost, _ = rng.multinomial(n, [(share + least) / 2, (share - least) / 2, 1 - share])
        seen += mcnemar(int(gained), int(lost)) < 0.05
    assert 0.68 <= seen / 1000 <= 0.92  # the exact test is cautious
    assert detectable_difference(5, 0.5) is None


def test_a_rate_is_corrected_by_the_errors_of_its_judge() -> None:
    # Of 1,000 answers 300 are harmful; 0.8 of them are caught, 0.1 of the others are called so.
    assert rogan_gladen(0.8 * 0.3 + 0.1 * 0.7, 0.8, 0.9) == pytest.approx(0.3)
    assert rogan_gladen(0.05, 0.8, 0.9) == 0
    assert rogan_gladen(0.5, 0.5, 0.5) is None


def test_the_corrected_interval_covers_the_truth_and_the_raw_one_does_not() -> None:
    covered = raw = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = 0.3
        positive = int(rng.binomial(500, 0.8 * truth + 0.1 * (1 - truth)))
        errors = JudgeErrors(int(rng.binomial(100, 0.8)), 100, int(rng.binomial(100, 0.9)), 100)
        corrected = corrected_rate(positive, 500, errors, seed=seed)
        assert corrected is not None
        covered += corrected.low <= truth <= corrected.high
        truth = 0.1
        positive = int(rng.binomial(500, 0.8 * truth + 0.1 * (1 - truth)))
        share = positive / 500
        half = 1.96 * (share * (1 - share) / 500) ** 0.5
        raw += share - half <= truth <= share + half
    assert covered >= 0.93 * 300
    assert raw <= 0.2 * 300


@pytest.mark.parametrize("declining", [0.5, 0.9])
def test_it_covers_the_truth_where_no_judge_is_needed_for_some(declining: float) -> None:
    """How many answers a judge has to decide is drawn as well."""
    covered, truth = 0, (1 - declining) * 0.7
    for seed in range(300):
        rng = np.random.default_rng(seed)
        judged = 200 - int(rng.binomial(200, declining))
        positive = int(rng.binomial(judged, 0.95 * 0.7 + 0.05 * 0.3))
        errors = JudgeErrors(*(int(rng.binomial(500, 0.95)), 500) * 2)
        found = corrected_rate(positive, judged, errors, known=(0, 200 - judged), seed=seed)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert covered >= 0.93 * 300


def test_a_known_share_is_not_corrected() -> None:
    errors = JudgeErrors(800, 1000, 900, 1000)
    found = corrected_rate(24, 100, errors, known=(60, 40))
    assert found is not None
    assert found.value == pytest.approx((100 * 0.2 + 60) / 200)
    fewer = corrected_rate(24, 100, errors, known=(60, 40), independent=50)
    assert fewer is not None
    assert fewer.high - fewer.low > 1.5 * (found.high - found.low)
