from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from cai.engines.local.sampling import BROKEN, draw, next_tokens, nucleus_floors, uniforms
from cai.records import Sampling
from tests.engines.conftest import drawn

CHI_SQUARE_3_SIGMA = 3.0  # deviations of (chi² - n) / sqrt(2 n), n the degrees of freedom


def deviation(counts: torch.Tensor, probabilities: torch.Tensor) -> float:
    """By how many standard deviations chi² is above what it is if the counts have these shares."""
    expected = counts.sum() * probabilities
    chi = ((counts - expected) ** 2 / expected).sum().item()
    freedom = len(counts) - 1
    return (chi - freedom) / math.sqrt(2 * freedom)


def sampled(logits: torch.Tensor, rows: int, **how: float) -> torch.Tensor:
    """How often each token is drawn."""
    samplings = [drawn(seed, **how) for seed in range(rows)]
    ids = next_tokens(logits.expand(rows, -1), samplings, [3] * rows)
    return ids.bincount(minlength=len(logits))


def test_numbers_are_uniform_and_depend_on_seed_and_position_alone() -> None:
    numbers = uniforms(range(20_000), [3] * 20_000)
    assert numbers.shape == (20_000, 8)
    assert 0 < numbers.min() < numbers.max() < 1
    for column in numbers.T:
        counts = torch.from_numpy(np.histogram(column, bins=64, range=(0, 1))[0])
        assert abs(deviation(counts, torch.full((64,), 1 / 64))) < CHI_SQUARE_3_SIGMA
    assert np.abs(np.corrcoef(numbers.T) - np.eye(8)).max() < 0.03
    assert np.array_equal(uniforms([5, 7], [3, 4]), uniforms([7, 5], [4, 3])[::-1])
    assert len({*uniforms([5, 5, 6], [3, 4, 3]).flat}) == 24
    assert np.array_equal(uniforms([2**31 - 1], [0]), uniforms([2**31 - 1], [0]))


def test_a_token_is_the_inverse_of_the_cumulated_probabilities() -> None:
    """Eight tokens are one cut: the first whose cumulated probability is above the number."""
    probabilities = [0.1, 0.0, 0.4, 0.2, 0.0, 0.25, 0.05, 0.0]
    below = [(0.05, 0), (0.0999, 0), (0.1001, 2), (0.4999, 2), (0.5001, 3), (0.6999, 3)]
    above = [(0.7001, 5), (0.9499, 5), (0.9501, 6), (1 - 2.0**-53, 6), (1.0, 6)]
    for number, token in [*below, *above]:
        weights = 7 * torch.tensor([probabilities])
        found = draw(weights, torch.tensor([[number]], dtype=torch.float64))
        assert found.tolist() == [token], number


def test_a_long_row_is_cut_in_eight_and_the_part_in_eight_again() -> None:
    """40 tokens: a part holds the tokens of one remainder by 5, its own parts are the tokens."""
    weights = torch.arange(1.0, 41).unsqueeze(0)
    part = [sum(range(1 + r, 41, 5)) for r in range(5)]  # 148, 156, 164, 172, 180 of 820
    first = (part[0] + part[1] + part[2] - 0.5) / 820  # at the end of the third part
    within = (3 + 8 + 13 + 18 + 0.5) / part[2]  # just past its fourth token
    found = draw(weights, torch.tensor([[first, within]], dtype=torch.float64))
    assert found.tolist() == [5 * 4 + 2]  # the fifth token of the third part
    assert weights[0, found].item() == 23


@pytest.mark.parametrize("size", [1, 3, 8, 9, 64, 65, 500, 5000])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_tokens_are_drawn_with_their_probabilities(size: int, top_p: float) -> None:
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 2
    probabilities = logits.double().softmax(-1)
    if top_p < 1:
        order = probabilities.argsort(descending=True)
        fewest = int((probabilities[order].cumsum(0) < top_p).sum()) + 1
        probabilities[order[fewest:]] = 0
    counts = sampled(logits, 4000, top_p=top_p)
    assert counts[probabilities == 0].sum() == 0
    expected = 4000 * probabilities / probabilities.sum()
    often = expected >= 5
    counts, expected = (
        torch.cat([x[often].double(), x[~often].sum().double().unsqueeze(0)])
        for x in (counts, expected)
    )
    if expected[-1] < 5:
        counts, expected = counts[:-1], expected[:-1]
    if len(counts) > 1:
        assert deviation(counts, expected / expected.sum()) < CHI_SQUARE_3_SIGMA


def test_temperature_flattens_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    shares = sampled(logits, 4000, temperature=2.0) / 4000
    root = logits.exp().sqrt()
    assert shares.tolist() == pytest.approx((root / root.sum()).tolist(), abs=0.03)
    cold = sampled(logits, 400, temperature=1e-30)
    assert cold.tolist() == [400, 0, 0]


def test_the_tail_of_a_large_vocabulary_is_drawn_as_often_as_it_weighs() -> None:
    """151,936 tokens, one of which has half of it: the rest share the other half evenly."""
    size, rows = 151_936, 4000
    logits = torch.zeros(size)
    logits[100_000] = math.log(size - 1)
    counts = sampled(logits, rows)
    assert counts[100_000].item() / rows == pytest.approx(0.5, abs=0.03)
    tail = torch.cat([counts[:100_000], counts[100_001:]])[: 151_000 // 8 * 8]
    assert tail.max() <= 3
    folds = tail.view(8, -1).sum(1)
    assert deviation(folds, torch.full((8,), 1 / 8)) < CHI_SQUARE_3_SIGMA
    assert deviation(tail.view(-1, 8).sum(0), torch.full((8,), 1 / 8)) < CHI_SQUARE_3_SIGMA


def test_what_has_no_probability_is_never_drawn() -> None:
    """Neither masked tokens nor the padding at the end, at the ends of the numbers' range too."""
    size = 1003
    logits = torch.full((size,), -torch.inf)
    fine = [0, 17, 500, 1002]
    logits[fine] = 0.0
    assert set(sampled(logits, 500).nonzero().squeeze(1).tolist()) == set(fine)
    weights = pad(logits.exp(), (0, 5)).unsqueeze(0)
    for number in (2.0**-53, 0.5, 1 - 2.0**-53, 1.0):
        for wide in (torch.float32, torch.float64):
            found = draw(weights, torch.full((1, 8), number, dtype=wide))
            assert found.item() in fine


def test_temperature_0_is_the_largest_logit_in_a_mixed_batch() -> None:
    logits = torch.randn(40, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    mixed = [drawn(i, temperature=i % 2, top_p=[1, 0.5][i % 3 == 0]) for i in range(40)]
    together = next_tokens(logits, mixed, range(40))
    greedy = next_tokens(logits, [Sampling(temperature=0, max_tokens=1)] * 40, range(40))
    assert torch.equal(greedy, logits.argmax(-1))
    assert torch.equal(together[::2], greedy[::2])
    assert not torch.equal(together[1::2], greedy[1::2])


def test_a_row_does_not_depend_on_the_others() -> None:
    logits = torch.randn(30, 100_000, generator=torch.Generator().manual_seed(0)) * 3
    samplings = [drawn(i, temperature=[0, 1, 0.7][i % 3], top_p=[1, 0.9][i % 2]) for i in range(30)]
    positions = [7 * i for i in range(30)]
    alone = [
        next_tokens(logits[i : i + 1], [samplings[i]], [positions[i]]).item() for i in range(30)
    ]
    assert next_tokens(logits, samplings, positions).tolist() == alone
    few = next_tokens(logits[5:9], samplings[5:9], positions[5:9])
    assert few.tolist() == alone[5:9]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_of_no_numbers_is_broken_alone(temperature: float) -> None:
    logits = torch.randn(5, 50)
    logits[1, 3] = torch.nan
    logits[2, 3] = torch.inf
    logits[3] = -torch.inf
    found = next_tokens(
        logits, [drawn(i, temperature=temperature, top_p=0.9) for i in range(5)], [0] * 5
    )
    assert [token == BROKEN for token in found.tolist()] == [False, True, True, True, False]


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0])
def test_nucleus_is_the_fewest_best_tokens_that_reach_top_p(top_p: float, spread: float) -> None:
    """Nearly flat, it holds more tokens than the first looks do."""
    weights = (torch.randn(3, 9000, generator=torch.Generator().manual_seed(0)) * spread).exp()
    floors = nucleus_floors(weights, torch.tensor([top_p, 1.0, top_p], dtype=torch.float64))
    assert floors[1] == 0
    for row in (0, 2):
        shares = weights[row].double() / weights[row].double().sum()
        kept = shares[weights[row] >= floors[row]].sort().values
        assert kept.sum() >= top_p - 1e-6
        assert kept[1:].sum() < top_p + 1e-6
