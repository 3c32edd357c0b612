from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cai.train.losses import (
    Loss,
    delta_of,
    loss_at_reference,
    nll,
    normalised,
    preference_loss,
)

KINDS: tuple[Loss, ...] = get_args(Loss)
deltas = st.floats(-50, 50)
labels = st.floats(0.5, 1)
betas = st.floats(0.01, 2)


def row(*values: float, **more: Any) -> Any:
    return torch.tensor(values, dtype=torch.float64, **more)


def loss(delta: float, p: float, beta: float, kind: Loss) -> float:
    return preference_loss(row(delta), row(p), beta, kind).item()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def slope(delta: float, p: float, beta: float, kind: Loss) -> float:
    at = row(delta, requires_grad=True)
    preference_loss(at, row(p), beta, kind).sum().backward()
    return at.grad.item()


def test_by_hand() -> None:
    # β Δ = 0.5 · 4 = 2; σ(2) = 0.8808, σ(-2) = 0.1192; (2 · 0.7 - 1) · 2 = 0.8, σ(0.8) = 0.6900
    assert loss(4, 0.7, 0.5, "hard") == pytest.approx(-math.log(0.880797), abs=1e-6)
    soft = -0.7 * math.log(0.880797) - 0.3 * math.log(0.119203)
    assert loss(4, 0.7, 0.5, "soft") == pytest.approx(soft, abs=1e-5)
    assert loss(4, 0.7, 0.5, "geometric") == pytest.approx(-math.log(0.689974), abs=1e-6)


def test_a_loss_for_each_pair() -> None:
    delta, p = row(1, -2, 3), row(0.6, 0.9, 1)
    for kind in KINDS:
        together = preference_loss(delta, p, 0.1, kind)
        assert together.tolist() == [
            loss(d, q, 0.1, kind) for d, q in zip(delta.tolist(), p.tolist(), strict=True)
        ]


@given(p=labels, beta=betas)
def test_ln_2_at_the_reference(p: float, beta: float) -> None:
    for kind in KINDS:
        assert loss(0, p, beta, kind) == pytest.approx(loss_at_reference(), abs=1e-12)
    assert loss_at_reference() == math.log(2)


@given(delta=deltas, p=st.floats(0, 1), beta=betas)
def test_a_swapped_pair_with_the_opposite_label_is_the_same_pair(
    delta: float, p: float, beta: float
) -> None:
    for kind in ("soft", "geometric"):
        swapped = loss(-delta, 1 - p, beta, kind)
        assert swapped == pytest.approx(loss(delta, p, beta, kind), rel=1e-9, abs=1e-9)


@given(delta=deltas, beta=betas)
def test_a_certain_label_is_a_hard_one(delta: float, beta: float) -> None:
    hard = loss(delta, 1, beta, "hard")
    assert loss(delta, 1, beta, "soft") == hard
    assert loss(delta, 1, beta, "geometric") == hard


@given(delta=deltas, p=labels, beta=betas)
def test_hard_does_not_see_the_label(delta: float, p: float, beta: float) -> None:
    assert loss(delta, p, beta, "hard") == loss(delta, 1, beta, "hard")


@given(delta=deltas, p=labels, beta=betas)
def test_slopes(delta: float, p: float, beta: float) -> None:
    assert slope(delta, p, beta, "soft") == pytest.approx(beta * (sigmoid(beta * delta) - p))
    weight = beta * (2 * p - 1)
    expected = weight * (sigmoid(weight * delta) - 1)
    assert slope(delta, p, beta, "geometric") == pytest.approx(expected)


@given(p=st.floats(0.51, 0.99), beta=betas, off=st.floats(0.1, 5))
def test_soft_is_least_where_the_policy_is_as_sure_as_the_label(
    p: float, beta: float, off: float
) -> None:
    best = math.log(p / (1 - p)) / beta
    least = loss(best, p, beta, "soft")
    assert least == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert loss(best + off, p, beta, "soft") > least
    assert loss(best - off, p, beta, "soft") > least


@given(delta=deltas, beta=betas)
def test_geometric_learns_nothing_from_an_undecided_pair(delta: float, beta: float) -> None:
    assert slope(delta, 0.5, beta, "geometric") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_the_reference_nothing_overflows(kind: Loss) -> None:
    delta = torch.tensor([1e5, -1e5], requires_grad=True)
    values = preference_loss(delta, torch.tensor([0.8, 0.8]), 1.0, kind)
    values.sum().backward()
    assert values.isfinite().all()
    assert delta.grad.isfinite().all()


def test_delta_and_lengths() -> None:
    logps = row(-2, -9), row(-5, -4), row(-3, -7), row(-4, -8)
    assert delta_of(*logps).tolist() == [(-2 + 3) - (-5 + 4), (-9 + 7) - (-4 + 8)]
    lengths = row(2, 4), row(1, 8)
    by_token = [(-2 + 3) / 2 - (-5 + 4) / 1, (-9 + 7) / 4 - (-4 + 8) / 8]
    assert delta_of(*logps, lengths).tolist() == by_token
    assert nll(row(-6, -1), row(3, 4)).tolist() == [2, 0.25]
    assert normalised(row(0, -6), row(0, 3)).tolist() == [0, -2]
