"""The labels of a run: how sure, how consistent, and what the judge likes, from its traces."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cai.quality.labels import Preference, Principles, TraitReader, likes
from cai.quality.records import Figure, mean, share

BINS = 10


class Labels:
    """Counts over the pairs of one trace after the other."""

    def __init__(self) -> None:
        self._pairs = self._consistent = 0
        self._dropped: Counter[str] = Counter()
        self._gaps, self._masses, self._p = array("d"), array("d"), array("d")
        self._traits, self._preference = TraitReader(), Preference()
        self._principles = Principles()
        self._sources: Counter[str] = Counter()

    def add(self, trace: Mapping[str, Any]) -> None:
        for pair in trace.get("pairs") or ():
            if pair["dropped"]:
                self._dropped[pair["dropped"]] += 1
            if pair["p_a"] is None:
                continue
            self._pairs += 1
            self._sources[pair["source"]] += 1
            self._consistent += _is_consistent(pair["judgements"])
            self._gaps.append(pair["order_gap"])
            self._masses.append(pair["label_mass"])
            self._p.append(max(pair["p_a"], 1 - pair["p_a"]))
            traits = self._traits.of_pair(pair["response_a"], pair["response_b"])
            if pair["p_a"] != 0.5:
                self._preference.add(*(traits if pair["p_a"] > 0.5 else traits[::-1]))
            self._principles.add(pair["judgements"], traits)

    def figures(self) -> dict[str, Figure]:
        return {
            "consistent_share": share(self._consistent, self._pairs),
            "order_gap": mean(self._gaps),
            "label_mass": mean(self._masses),
        }

    def details(self) -> dict[str, Any]:
        """The histogram of p of the preferred text, 0.5 to 1, and what the judge goes by."""
        histogram = [0] * BINS
        for p in self._p:
            histogram[min(BINS - 1, int((p - 0.5) * 2 * BINS))] += 1
        return {
            "label_histogram": histogram,
            "labels_by_source": dict(self._sources),
            "pairs_dropped": dict(self._dropped.most_common()),
            "judge_likes": likes(self._preference.figures()),
            "principles": self._principles.details(),
            "principle_kappas": self._principles.kappas(),
        }


def _is_consistent(judgements: Sequence[Mapping[str, Any]]) -> bool:
    """Whether both orders prefer the same text, also of a pair that is left out for another reason.

    As `PreferenceLabel.consistent` (cai/records/preference.py).
    """
    a_first, b_first = (
        math.fsum(j[order] for j in judgements) / len(judgements) for order in ("q_ab", "q_ba")
    )
    return a_first > 0.5 > b_first or a_first < 0.5 < b_first
