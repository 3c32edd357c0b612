"""What labels follow: length, refusals, apologies, form; and how far principles agree.

Every measure is of pairs: a text that was preferred and one that was not. The paired question is
the one of Feedback Forensics (Findeis et al. 2025): where just one of two texts has a trait, how
often is it the one that was preferred?
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cai import statistics
from cai.quality.records import Figure, share
from cai.quality.replies import any_refusal, reply_class
from cai.quality.style import apologises, first_person, markdown

TRAITS: dict[str, Callable[[str], bool]] = {
    "refusal": lambda text: any_refusal(reply_class(text)),
    "apology": apologises,
    "first_person": first_person,
    "markdown": markdown,
}
WORDS = {
    "longer": "is the longer one",
    "refusal": "declines",
    "apology": "opens with an apology",
    "first_person": "speaks of itself (I, my)",
    "markdown": "has lists, headings or bold type",
}
_TIE = 1e-9  # 0.1 + 0.2 - 0.3 is not 0
_ROOM = 4096  # texts whose traits are remembered: the pairs of a prompt share them


def length_auc(differences: Iterable[float]) -> Figure:
    """How well length alone tells the preferred text, as the area under the ROC curve.

    A pair is ranked by how much longer its first text is; each pair counts in both orders. So the
    area is the chance that of two pairs the sum of both differences is positive, ties a half: 0.5
    says that length tells nothing, 1 that the longer text is always preferred, 0 the shorter.

    Args:
        differences: Of each pair, the length of the preferred text minus that of the other.

    The interval is that of the U statistic's variance (Hoeffding 1948; DeLong et al. 1988), and at
    least Wilson's for a share of the pairs: where all pairs are alike, that variance is 0.
    """
    d = np.sort(np.fromiter(differences, float))
    n = len(d)
    if n < 2:
        return Figure(n=n)
    above = n - np.searchsorted(d, -d, side="right")
    ties = np.searchsorted(d, -d, side="right") - np.searchsorted(d, -d, side="left")
    self_pairs = (d > 0) + (d == 0) / 2  # each with itself
    each = (above + ties / 2 - self_pairs) / (n - 1)
    value = float(each.mean())
    half = statistics.Z_95 * 2 * float(each.std(ddof=1)) / math.sqrt(n)
    low, high = statistics.wilson(value * n, n)
    return Figure(
        value=value,
        low=max(0.0, min(low, value - half)),
        high=min(1.0, max(high, value + half)),
        n=n,
    )


class Preference:
    """How often the text with a trait is preferred, where just one of two has it."""

    def __init__(self) -> None:
        self._wins: Counter[str] = Counter()
        self._differ: Counter[str] = Counter()

    def add(self, preferred: Mapping[str, bool], other: Mapping[str, bool]) -> None:
        for name, has in preferred.items():
            if has != other[name]:
                self._differ[name] += 1
                self._wins[name] += has

    def figures(self) -> dict[str, Figure]:
        """Of each trait the share of pairs that differ in it and in which it was preferred."""
        return {name: share(self._wins[name], self._differ[name]) for name in WORDS}


class TraitReader:
    """The traits of texts; what was read lately is remembered."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, bool]] = {}

    def of_pair(self, one: str, other: str) -> tuple[dict[str, bool], dict[str, bool]]:
        first, second = self._of(one), self._of(other)
        longer = len(one) > len(other)
        if len(one) == len(other):
            return {**first, "longer": False}, {**second, "longer": False}
        return {**first, "longer": longer}, {**second, "longer": not longer}

    def _of(self, text: str) -> dict[str, bool]:
        if text not in self._known:
            if len(self._known) >= _ROOM:
                self._known.clear()
            self._known[text] = {name: has(text) for name, has in TRAITS.items()}
        return self._known[text]


def likes(figures: Mapping[str, Figure], least: int = 10) -> list[str]:
    """What the preferred texts have in common, in words, the clearest first.

    Args:
        figures: As `Preference.figures`.
        least: Of fewer pairs nothing is said.
    """
    clear = [
        (abs(f.value - 0.5), name, f)
        for name, f in figures.items()
        if f.value is not None and f.low is not None and f.high is not None and f.n >= least
        if f.low > 0.5 or f.high < 0.5
    ]
    return [
        f"Of {f.n:,} pairs in which just one text {WORDS[name]}, that one was preferred in "
        f"{f.value:.0%} ({f.low:.0%} to {f.high:.0%})."
        for _, name, f in sorted(clear, key=lambda entry: (-entry[0], entry[1]))
    ]


class _Votes(NamedTuple):
    """How often two votes on the same pairs said what: each `a` or `b`."""

    counts: Counter[tuple[bool, bool]]

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    @property
    def same(self) -> int:
        return self.counts[True, True] + self.counts[False, False]

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960); None where both always say one thing."""
        n = self.n
        if not n:
            return None
        one = (self.counts[True, True] + self.counts[True, False]) / n
        other = (self.counts[True, True] + self.counts[False, True]) / n
        chance = one * other + (1 - one) * (1 - other)
        return None if chance == 1 else (self.same / n - chance) / (1 - chance)


class Principles:
    """What each principle says of pairs, beside the mean of the others and each other principle."""

    def __init__(self) -> None:
        self._judged: Counter[str] = Counter()
        self._decided: Counter[str] = Counter()
        self._with_others: dict[str, _Votes] = {}
        self._between: dict[tuple[str, str], _Votes] = {}
        self._preferences: dict[str, Preference] = {}

    def add(
        self,
        judgements: Iterable[Mapping[str, Any]],
        traits: tuple[Mapping[str, bool], Mapping[str, bool]],
    ) -> None:
        """Count the judgements of one pair.

        Args:
            judgements: Each with `principle_id`, `q_ab` and `q_ba`, as in a trace.
            traits: Of response_a and of response_b.
        """
        d = {j["principle_id"]: (j["q_ab"] - j["q_ba"], j["q_ab"], j["q_ba"]) for j in judgements}
        total = math.fsum(entry[0] for entry in d.values())
        votes = {}
        for name, (difference, q_ab, q_ba) in d.items():
            self._judged[name] += 1
            self._decided[name] += q_ab > 0.5 > q_ba or q_ab < 0.5 < q_ba
            if abs(difference) <= _TIE:
                continue
            votes[name] = difference > 0
            preferred, other = traits if votes[name] else traits[::-1]
            self._preferences.setdefault(name, Preference()).add(preferred, other)
            rest = total - difference
            if abs(rest) > _TIE:
                self._with_others.setdefault(name, _Votes(Counter())).counts[
                    votes[name], rest > 0
                ] += 1
        names = sorted(votes)
        for i, one in enumerate(names):
            for other_name in names[i + 1 :]:
                pair = self._between.setdefault((one, other_name), _Votes(Counter()))
                pair.counts[votes[one], votes[other_name]] += 1

    def details(self) -> list[dict[str, Any]]:
        """Of each principle: how it agrees with the others, what it prefers, what is odd of it."""
        rows = []
        for name in sorted(self._judged):
            votes = self._with_others.get(name, _Votes(Counter()))
            agreement = share(votes.same, votes.n)
            decided = share(self._decided[name], self._judged[name])
            preference = self._preferences.get(name, Preference()).figures()
            rows.append(
                {
                    "id": name,
                    "judgements": self._judged[name],
                    "decided": decided.model_dump(),
                    "agreement": agreement.model_dump(),
                    "kappa": votes.kappa,
                    "likes": likes(preference),
                    "prefers": {trait: f.model_dump() for trait, f in preference.items()},
                    "odd": _odd(decided, agreement),
                }
            )
        return rows

    def kappas(self) -> list[dict[str, Any]]:
        """Of each two principles that judged the same pairs: kappa, and of how many pairs."""
        return [
            {"between": list(names), "kappa": votes.kappa, "n": votes.n}
            for names, votes in sorted(self._between.items())
        ]


def _odd(decided: Figure, agreement: Figure) -> str | None:
    """What is wrong with a principle, where the whole interval says so."""
    if agreement.high is not None and agreement.high < 0.5 and agreement.n >= 10:
        return "against all others"
    if decided.high is not None and decided.high < 0.5 and decided.n >= 10:
        return "decides nothing: mostly another text in the other order"
    return None
