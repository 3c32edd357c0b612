"""Intervals of measures against truths that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cai import statistics
from cai.evaluate.figures import Column, measured
from cai.evaluate.gates import Gate, results_of
from cai.evaluate.length_control import Pairs, length_controlled, length_controlled_interval

DRAWS = 2000


def column(values: list[float], baseline: list[float] | None = None, size: int = 1) -> Column:
    clusters = [f"c{n // size}" for n in range(len(values))]
    other = [[v] for v in baseline] if baseline is not None else None
    return Column([[v] for v in values], other, clusters)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.95])
def test_the_interval_of_a_share_covers_it(share: float) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for count in rng.binomial(100, share, DRAWS):
        found = measured(column([1.0] * count + [0.0] * (100 - count)))
        covered += found.low <= share <= found.high  # type: ignore[operator]
    assert covered / DRAWS >= 0.93


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_the_interval_of_clusters_covers_the_share(share: float) -> None:
    """Fifty clusters of four prompts, of which each has a share of its own."""
    rng = np.random.default_rng(2)
    covered, narrow = 0, 0
    for _ in range(DRAWS // 4):
        own = rng.beta(2 * share, 2 * (1 - share), 50)
        values = [float(rng.random() < p) for p in own for _ in range(4)]
        found = measured(column(values, size=4))
        covered += found.low <= share <= found.high  # type: ignore[operator]
        low, high = statistics.wilson(sum(values), len(values))
        narrow += low <= share <= high
    assert covered / (DRAWS // 4) >= 0.93
    assert narrow / (DRAWS // 4) < 0.9  # prompts of a cluster are not independent


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.5, 0.42), (0.05, 0.02)])
def test_the_interval_of_a_paired_difference_covers_it(rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(DRAWS):
        luck = rng.random(100)
        model = [float(u < rates[0]) for u in luck]
        again = [u if rng.random() < 0.6 else rng.random() for u in luck]
        baseline = [float(u < rates[1]) for u in again]
        found = measured(column(model, baseline))
        low, high = found.difference_low, found.difference_high
        covered += low <= rates[0] - rates[1] <= high  # type: ignore[operator]
    assert covered / DRAWS >= 0.93


def test_the_interval_of_a_gap_between_twins_covers_it() -> None:
    """Harmful twins are declined in 30 %, safe ones in 20 %, half of the time for one reason."""
    rng = np.random.default_rng(8)
    covered, widths = 0, []
    for _ in range(DRAWS // 4):
        luck = rng.random(100)
        again = np.where(rng.random(100) < 0.5, luck, rng.random(100))
        gaps = (luck < 0.3).astype(float) - (again < 0.2)
        found = measured(Column([[g] for g in gaps], None, [str(n) for n in range(100)], low=-1.0))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.1 <= found.high
        widths.append(found.high - found.low)
    assert covered / (DRAWS // 4) >= 0.93
    assert np.mean(widths) < 0.25


def test_eight_points_at_400_pairs_are_seen_paired_and_not_unpaired() -> None:
    """At the level of 1 %: 38 prompts that only the model gets right, 6 only the other."""
    model = [1.0] * 200 + [0.0] * 200
    baseline = [1.0] * 162 + [0.0] * 38 + [1.0] * 6 + [0.0] * 194
    found = measured(column(model, baseline))
    assert found.difference == pytest.approx(0.08)
    assert found.p is not None
    assert found.p < 0.001
    assert found.difference_low is not None
    assert found.difference_low > 0
    low, high = statistics.difference(200, 400, 168, 400, z=2.5758)
    assert low < 0 < high


def test_unscored_is_no_zero_and_differences_are_of_both() -> None:
    sides = ([[1.0], [None], [0.0], [1.0]], [[0.0], [1.0], [None], [1.0]])
    found = measured(Column(*sides, clusters=["a", "b", "c", "d"]))
    assert (found.n, found.unscored, found.pairs) == (3, 1, 2)
    assert found.value == pytest.approx(2 / 3)
    assert found.baseline == pytest.approx(2 / 3)
    assert found.difference == pytest.approx(0.5)
    nobody = measured(Column([[None], [None]], None, ["a", "b"]))
    assert (nobody.value, nobody.n, nobody.unscored) == (None, 0, 2)


def test_several_samples_count_as_one_prompt_and_tell_their_spread() -> None:
    values = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    found = measured(Column(values, None, ["a", "b", "c", "d"]))
    assert found.n == 4
    assert found.value == pytest.approx(0.5)
    assert found.spread == (0.25, 0.75)


def test_length_alone_wins_nothing() -> None:
    """A judge for whom the longer answer is better, asked of answers that are longer by chance."""
    rng = np.random.default_rng(4)
    longer = [int(d) for d in rng.normal(300, 300, 400)]
    wins = [float(d > 0) for d in longer]
    assert np.mean(wins) > 0.8
    assert length_controlled(Pairs.of(wins, longer)) == pytest.approx(0.5, abs=0.12)


def test_without_an_effect_of_length_the_rate_is_that_of_wins() -> None:
    rng = np.random.default_rng(5)
    wins = [float(u < 0.7) for u in rng.random(600)]
    longer = [int(d) for d in rng.normal(0, 200, 600)]
    assert length_controlled(Pairs.of(wins, longer)) == pytest.approx(np.mean(wins), abs=0.01)
    assert length_controlled(Pairs.of([1.0, 0.5, 0.0], [0, 0, 0])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="for each prompt"):
        Pairs.of([], [])


def test_the_interval_of_a_controlled_rate_covers_it() -> None:
    """logit(win) = 0.4 + 1.5 tanh(d / s): at equal length 0.599 are won."""
    rng = np.random.default_rng(6)
    covered, runs = 0, 100
    for _ in range(runs):
        longer = rng.normal(100, 200, 200)
        p = 1 / (1 + np.exp(-(0.4 + 1.5 * np.tanh(longer / longer.std()))))
        wins = [float(u < q) for u, q in zip(rng.random(200), p, strict=True)]
        names = [str(n) for n in range(200)]
        low, high = length_controlled_interval(
            Pairs.of(wins, [int(d) for d in longer]), names, draws=400
        )
        covered += low <= 1 / (1 + np.exp(-0.4)) <= high
    assert covered / runs >= 0.9  # 100 runs of 95 %: fewer than 90 come once in 30


@pytest.mark.parametrize("clusters", [3, 10, 60])
def test_the_interval_of_a_loss_covers_it_also_with_few_prompts(clusters: int) -> None:
    covered = 0
    names = [str(n // 2) for n in range(2 * clusters)]
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        losses = np.repeat(rng.normal(2.5, 0.5, clusters), 2) + rng.normal(0, 0.2, 2 * clusters)
        found = measured(Column([[x] for x in losses], None, names, high=math.inf), seed=seed)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 2.5 <= found.high
    assert covered / DRAWS >= 0.93


def test_one_prompt_has_a_loss_and_no_interval() -> None:
    column = Column([[2.0], [2.2]], [[2.1], [2.3]], ["one", "one"], high=math.inf)
    found = measured(column)
    assert (found.value, found.low, found.high) == (pytest.approx(2.1), None, None)
    assert found.difference == pytest.approx(-0.1)
    assert found.difference_low is None
    gate = {"held_out_nll": Gate(better_by=0.0)}
    (result,) = results_of(gate, {"held_out_nll": found})
    assert result.verdict == "undecided"
    assert result.words.endswith("a single prompt has no interval")


def test_samples_of_a_prompt_share_its_weight() -> None:
    """Ten prompts that lose once each, and one that wins in ten samples."""
    wins, longer = [0.0] * 10 + [1.0] * 10, [0] * 20
    assert length_controlled(Pairs.of(wins, longer)) == pytest.approx(0.5, abs=0.01)
    weights = [1.0] * 10 + [0.1] * 10
    assert length_controlled(Pairs.of(wins, longer, weights)) == pytest.approx(1 / 11, abs=0.01)


@pytest.mark.parametrize("joined", [0.0, 0.5, 1.0])
def test_the_interval_of_clusters_of_unequal_size_covers_the_share(joined: float) -> None:
    """50 clusters, five of 20 prompts and 45 of one; `joined`: the share that is alike in them."""
    sizes = [20] * 5 + [1] * 45
    names = [str(c) for c, size in enumerate(sizes) for _ in range(size)]
    covered, draws = 0, 500
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        values: list[float] = []
        for size in sizes:
            same, own = rng.random() < 0.3, rng.random(size) < 0.3
            values += [float(x) for x in np.where(rng.random(size) < joined, same, own)]
        found = measured(Column([[v] for v in values], None, names), seed=seed)
        covered += found.low <= 0.3 <= found.high  # type: ignore[operator]
    assert covered / draws >= 0.93


@pytest.mark.parametrize("pairs", [30, 50, 100])
def test_the_interval_of_a_difference_of_gaps_covers_it(pairs: int) -> None:
    covered, draws = 0, 500
    names = [str(n) for n in range(pairs)]
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        gaps = [
            (rng.random(pairs) < p).astype(float) - (rng.random(pairs) < 0.05) for p in (0.98, 0.95)
        ]
        columns = [[[float(v)] for v in side] for side in gaps]
        found = measured(Column(*columns, names, low=-1.0), seed=seed)
        covered += found.difference_low <= 0.03 <= found.difference_high  # type: ignore[operator]
    assert covered / draws >= 0.93


def test_a_difference_is_as_sure_of_twins_and_samples_as_of_prompts() -> None:
    """Eight points at 400 prompts, which the permutation sees in either form."""
    seen = {"prompts": 0, "twins": 0, "samples": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        base = rng.random((400, 4)) < 0.3
        model = base | (rng.random((400, 4)) < 0.08 / 0.7)
        one = [[[float(v)] for v in side[:, 0]] for side in (model, base)]
        four = [[[float(v) for v in row] for row in side] for side in (model, base)]
        prompts, twins = [str(n) for n in range(400)], [str(n // 2) for n in range(400)]
        for name, columns, clusters in (
            ("prompts", one, prompts),
            ("twins", one, twins),
            ("samples", four, prompts),
        ):
            found = measured(Column(*columns, clusters), seed=seed)
            seen[name] += found.difference_low > 0  # type: ignore[operator]
    assert min(seen.values()) >= 38, seen


@pytest.mark.parametrize("samples", [1, 2])
def test_equal_sides_differ_by_little_and_not_by_nothing(samples: int) -> None:
    rng = np.random.default_rng(0)
    side = [[float(v) for v in row] for row in rng.random((200, samples)) < 0.5]
    for clusters in ([str(n) for n in range(200)], [str(n // 2) for n in range(200)]):
        found = measured(Column(side, side, clusters))
        assert found.difference == 0
        assert found.difference_low == pytest.approx(-found.difference_high)  # type: ignore[operator]
        assert 0.009 < found.difference_high < 0.04  # type: ignore[operator]


def test_what_a_program_decided_is_not_explained_by_its_length() -> None:
    """Half of the answers decline, which is short, and lose; the others win half."""
    rng = np.random.default_rng(0)
    declined = [n % 2 == 0 for n in range(400)]
    wins = [0.0 if d else float(rng.random() < 0.5) for d in declined]
    longer = [-int(rng.integers(200, 400)) if d else int(rng.integers(-60, 60)) for d in declined]
    rate = length_controlled(Pairs.of(wins, longer, free=[not d for d in declined]))
    assert rate == pytest.approx(np.mean(wins), abs=0.03)


def test_answers_that_are_always_longer_tell_nothing_of_equal_length() -> None:
    rng = np.random.default_rng(0)
    longer = [int(d) for d in rng.integers(100, 300, 200)]
    assert Pairs.of([1.0] * 200, longer).one_sided
    assert Pairs.of([1.0] * 200, [-d for d in longer]).one_sided
    assert not Pairs.of([1.0] * 200, [d if n % 10 else -d for n, d in enumerate(longer)]).one_sided
    assert not Pairs.of([1.0] * 200, [0] * 200).one_sided
    # Those that a program decided are no such pairs.
    free = [n % 10 > 0 for n in range(200)]
    longer = [d if f else -d for d, f in zip(longer, free, strict=True)]
    assert Pairs.of([1.0] * 200, longer, free=free).one_sided
