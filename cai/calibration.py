"""How far probabilities can be believed: Brier score, calibration error, temperature."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from cai.statistics import checked

CLIP = 1e-9
TEMPERATURES = (0.01, 100.0)


class Bin(BaseModel):
    """Pairs of similar confidence: the means of confidence and correctness, and how many pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float
    accuracy: float
    count: int


def brier(p_right: Sequence[float]) -> float:
    """The mean of (1 - p)²: 0 for certain and right, 0.25 for undecided, 1 for certain and wrong.

    Raises:
        ValueError: There are none, or one is not in [0, 1].

    Brier 1950, "Verification of forecasts expressed in terms of probability", over one option.
    """
    return math.fsum((1 - p) ** 2 for p in checked(p_right)) / len(p_right)


def calibration_bins(p_right: Sequence[float], bins: int = 10) -> list[Bin]:
    """Pairs by rising confidence max(p, 1 - p), in bins of as equal a count as can be.

    A pair is right for p > 0.5 and half right for p = 0.5. Equal confidences share a bin, so there
    may be fewer bins than asked for; the order of the input does not matter.

    Raises:
        ValueError: A probability is not in [0, 1], or `bins` is less than 1.

    Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis for natural language
    processing models" (adaptive binning).
    """
    if bins < 1:
        raise ValueError("bins must be at least 1")
    if not p_right:
        return []
    levels: defaultdict[float, list[float]] = defaultdict(list)
    for p in checked(p_right):
        levels[max(p, 1 - p)].append(1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0)

    # A level goes to the bin that the middle of its places in the sorted order falls in.
    filled: defaultdict[int, list[float]] = defaultdict(list)
    start = 0
    for level in sorted(levels):
        end = start + len(levels[level])
        filled[(start + end - 1) * bins // (2 * len(p_right))].append(level)
        start = end

    made = []
    for members in filled.values():
        correct = [c for level in members for c in levels[level]]
        confidence = math.fsum(level * len(levels[level]) for level in members)
        made.append(
            Bin(
                confidence=confidence / len(correct),
                accuracy=math.fsum(correct) / len(correct),
                count=len(correct),
            )
        )
    return made


def ece(bins: Sequence[Bin]) -> float:
    """The expected calibration error: the mean of |accuracy - confidence|, weighted by count.

    Raises:
        ValueError: There are no bins.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al.
    2017, "On calibration of modern neural networks", equation 3.
    """
    if not bins:
        raise ValueError("no bins")
    total = sum(b.count for b in bins)
    return math.fsum(b.count * abs(b.accuracy - b.confidence) for b in bins) / total


def tempered(p: float, temperature: float) -> float:
    """A probability at another temperature: sigmoid(logit(p) / T); 0, 0.5 and 1 stay.

    Raises:
        ValueError: The probability is not in [0, 1], or the temperature is not above 0.

    Guo et al. 2017, "On calibration of modern neural networks", equation 9, for two classes.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"{p} is not a probability")
    if not temperature > 0:
        raise ValueError(f"{temperature} is not a temperature")
    return p if p in (0.0, 1.0) else _sigmoid(_logit(p) / temperature)


def nll(p_right: Sequence[float]) -> float:
    """The mean of -log p in nats, with p kept within [1e-9, 1 - 1e-9].

    Raises:
        ValueError: There are none, or one is not in [0, 1].
    """
    return math.fsum(-math.log(_clipped(p)) for p in checked(p_right)) / len(p_right)


def fit_temperature(p_right: Sequence[float]) -> float:
    """The temperature within [0.01, 100] at which the mean of -log tempered(p) is least.

    That mean is convex in 1 / T, so its slope has one zero. Probabilities are kept within
    [1e-9, 1 - 1e-9]; if all are 0.5, any temperature is as good and 1 is returned.

    Raises:
        ValueError: There are none, or one is not in [0, 1].

    Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """
    logits = [_logit(_clipped(p)) for p in checked(p_right)]
    if not any(logits):
        return 1.0

    def slope(temperature: float) -> float:
        return -math.fsum(z * _sigmoid(-z / temperature) for z in logits)

    # By the slope in 1 / T: above 0, a higher temperature is better.
    coldest, hottest = TEMPERATURES
    if slope(coldest) <= 0:
        return coldest
    if slope(hottest) >= 0:
        return hottest
    cold, hot = math.log(coldest), math.log(hottest)
    for _ in range(60):
        middle = (cold + hot) / 2
        if slope(math.exp(middle)) > 0:
            cold = middle
        else:
            hot = middle
    return math.exp((cold + hot) / 2)


def _clipped(p: float) -> float:
    return min(max(p, CLIP), 1 - CLIP)


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _sigmoid(x: float) -> float:
    small = math.exp(-abs(x))
    return 1 / (1 + small) if x >= 0 else small / (1 + small)
