"""What the labels of a judge on labelled pairs say of it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cai import calibration, statistics
from cai.checks.pairs import LabelledPair
from cai.checks.results import Calibration, Group, Interval, JudgeResult, JudgeVerdict
from cai.records import PreferenceLabel, digest

ECE_FROM = 200  # scored pairs: with fewer, ten bins hold too few each
CALIBRATE_FROM = 20  # scored pairs
# For a judge or a critic to be called usable. A lower bound above a half may be right in 51 of 100:
# what is filtered by such a judge is filtered nearly by chance.
ENOUGH = 100  # scored pairs
LEAST = 0.6  # what the lower bound of the accuracy has to exceed


@dataclass(frozen=True)
class Scored:
    """A pair and its label (response_a is the right answer), or why it has none."""

    pair: LabelledPair
    label: PreferenceLabel | None
    error: str | None = None
    message: str | None = None

    @cached_property
    def p_right(self) -> float:
        assert self.label is not None
        return self.label.p_a


def measure(scored: Sequence[Scored], facts: Mapping[str, Any]) -> JudgeResult:
    """All figures of a check; `facts` are the fields that say what was checked."""
    labelled = [s for s in scored if s.label is not None]
    rights = [_half(s.p_right, 0.5) for s in labelled]
    shorter = [_half(len(s.pair.rejected), len(s.pair.chosen)) for s in labelled]
    p_right = [s.p_right for s in labelled]
    interval = statistics.wilson(math.fsum(rights), len(rights)) if rights else None
    over_shorter = statistics.paired_difference(rights, shorter) if rights else None
    bins = calibration.calibration_bins(p_right)
    masses = [s.label.label_mass for s in labelled if s.label is not None]
    verdict, words = _verdict(len(scored), rights, interval, over_shorter)
    return JudgeResult(
        **facts,
        scored=len(labelled),
        unscored=len(scored) - len(labelled),
        unscored_reasons=dict(sorted(Counter(s.error for s in scored if s.error).items())),
        accuracy=_mean(rights),
        accuracy_interval=interval,
        **_by_order(labelled),
        longer_wins_rate=_mean(
            [
                _half(right, 0.5) if short == 0 else 1 - _half(right, 0.5)
                for right, short in zip(p_right, shorter, strict=True)
                if short != 0.5
            ]
        ),
        shorter_is_right=_mean(shorter),
        over_shorter=over_shorter,
        brier=calibration.brier(p_right) if p_right else None,
        ece=calibration.ece(bins) if len(p_right) >= ECE_FROM else None,
        bins=tuple(bins),
        label_mass={"mean": _mean(masses) or 0.0, "least": min(masses, default=0.0)},
        kinds=_groups(scored, lambda pair: pair.kind),
        difficulties=_groups(scored, lambda pair: pair.difficulty),
        calibration=_calibration(labelled),
        verdict=verdict,
        words=words,
    )


def _half(value: float, against: float) -> float:
    """1 if the value is greater, 0 if it is less, 0.5 if they are equal."""
    return 0.5 if value == against else float(value > against)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _by_order(labelled: Sequence[Scored]) -> dict[str, float | None]:
    """What the single orders say; p is the mean over the principles."""
    firsts = [s.label.first_probabilities for s in labelled if s.label is not None]
    right_first = [_half(p, 0.5) for p, _ in firsts]
    wrong_first = [_half(p, 0.5) for _, p in firsts]
    return {
        "accuracy_right_first": _mean(right_first),
        "accuracy_right_second": _mean([1 - w for w in wrong_first]),
        "first_position_rate": _mean([*right_first, *wrong_first]),
        "consistency": _mean([float(s.label.consistent) for s in labelled if s.label]),
    }


def _groups(
    scored: Sequence[Scored], name: Callable[[LabelledPair], str | None]
) -> dict[str, Group]:
    members: defaultdict[str, list[Scored]] = defaultdict(list)
    for one in scored:
        key = name(one.pair)
        if key is not None:
            members[key].append(one)
    groups = {}
    for key, some in sorted(members.items()):
        rights = [_half(s.p_right, 0.5) for s in some if s.label is not None]
        groups[key] = Group(
            pairs=len(some),
            unscored=len(some) - len(rights),
            accuracy=_mean(rights),
            interval=statistics.wilson(math.fsum(rights), len(rights)) if rights else None,
        )
    return groups


def _calibration(labelled: Sequence[Scored]) -> Calibration | None:
    """A temperature from one half of the pairs (by a hash of the id), measured on the other."""
    if len(labelled) < CALIBRATE_FROM:
        return None
    ranked = sorted(labelled, key=lambda s: digest(["half", s.pair.prompt.id]))
    fitted, reported = ([s.p_right for s in ranked[part::2]] for part in (0, 1))
    temperature = calibration.fit_temperature(fitted)
    after = [calibration.tempered(p, temperature) for p in reported]
    both = (reported, after)

    def ece(p_right: Sequence[float]) -> float:
        return calibration.ece(calibration.calibration_bins(p_right))

    return Calibration(
        temperature=temperature,
        fitted_on=len(fitted),
        reported_on=len(reported),
        nll=(calibration.nll(reported), calibration.nll(after)),
        brier=(calibration.brier(reported), calibration.brier(after)),
        ece=(ece(both[0]), ece(both[1])) if len(reported) >= ECE_FROM else None,
    )


def _verdict(
    pairs: int,
    rights: Sequence[float],
    interval: Interval | None,
    over_shorter: Interval | None,
) -> tuple[JudgeVerdict, str]:
    """In words: better than chance, and better than picking the shorter answer, or not."""
    if interval is None or over_shorter is None:
        return "no better than chance", f"It gave no label for any of the {pairs} pairs."
    accuracy = _mean(rights) or 0.0
    words = (
        f"Right in {accuracy:.1%} of {len(rights)} pairs (95 % interval {interval[0]:.1%} to "
        f"{interval[1]:.1%}; {over_shorter[0]:+.1%} to {over_shorter[1]:+.1%} against picking the "
        "shorter answer)"
    )
    if interval[0] <= 0.5:
        return "no better than chance", f"{words}: a coin may do as well."
    if over_shorter[0] <= 0:
        return "weak", f"{words}: better than a coin, not shown to be better than length alone."
    if interval[0] <= LEAST:
        return "weak", f"{words}: better than a coin, but not shown to be right in {LEAST:.0%}."
    if len(rights) < ENOUGH:
        return "weak", f"{words}: promising, but from fewer than {ENOUGH} pairs."
    if len(rights) < pairs / 2:
        return "weak", f"{words}; but it gave no label for {pairs - len(rights)} of {pairs} pairs."
    return "usable", f"{words}: right in more than {LEAST:.0%}, and better than length alone."
