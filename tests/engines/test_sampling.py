from __future__ import annotations

import pytest
import torch

from cai.engines._sampling import gumbel_noise, next_tokens, nucleus_floor

from .conftest import drawn


def test_noise_is_gumbel_and_depends_on_seed_and_position_alone() -> None:
    noise = gumbel_noise(5, 3, 200_000)
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(torch.pi**2 / 6, abs=0.03)
    assert torch.equal(noise, gumbel_noise(5, 3, 200_000))
    assert torch.equal(noise[:100], gumbel_noise(5, 3, 100))
    assert not torch.equal(noise, gumbel_noise(5, 4, 200_000))


def test_tokens_are_drawn_with_their_probabilities() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    rows = 4000
    ids = next_tokens(logits.expand(rows, -1), [drawn(i) for i in range(rows)], [0] * rows)
    shares = ids.bincount(minlength=3) / rows
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    half = [drawn(i, top_p=0.6) for i in range(rows)]
    shares = next_tokens(logits.expand(rows, -1), half, [0] * rows).bincount(minlength=3) / rows
    assert shares.tolist() == pytest.approx([0.625, 0.375, 0], abs=0.03)


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
def test_nucleus_is_the_fewest_best_tokens_that_reach_top_p(top_p: float) -> None:
    for spread in (0.01, 3.0):  # nearly flat: more tokens than the first look holds
        scores = torch.randn(2000, generator=torch.Generator().manual_seed(0)) * spread
        kept = scores[scores >= nucleus_floor(scores, top_p)].sort().values
        probability = (kept - scores.logsumexp(-1)).exp()
        assert probability.sum() >= top_p - 1e-5
        assert probability[1:].sum() < top_p + 1e-5
