"""Near-duplicates of prompts that come one at a time: exact Jaccard similarity on 5-grams.

Prefix filter (Chaudhuri et al. 2006; Bayardo et al. 2007): of two sets with similarity t or more
the first |x| - ceil(t |x|) + 1 elements in a fixed order share one. By hash they are in no order of
the texts, and 8 bytes each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from cai.quality.shingles import shingles

NEAR = 0.5


class Nearness:
    """The prompts so far; `is_near` asks, `add` adds."""

    def __init__(self, texts: Iterable[str] = (), threshold: float = NEAR) -> None:
        self._threshold = threshold
        self._sets: list[frozenset[int]] = []
        self._by_hash: dict[int, list[int]] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        grams = _grams(text)
        for gram in self._prefix(grams):
            self._by_hash.setdefault(gram, []).append(len(self._sets))
        self._sets.append(frozenset(grams))

    def is_near(self, text: str) -> bool:
        """Whether a text before this one has at least that similarity."""
        grams = _grams(text)
        own = frozenset(grams)
        candidates = {n for gram in self._prefix(grams) for n in self._by_hash.get(gram, ())}
        return any(self._similar(own, self._sets[n]) for n in candidates)

    def _prefix(self, grams: list[int]) -> list[int]:
        return grams[: len(grams) - math.ceil(self._threshold * len(grams)) + 1]

    def _similar(self, one: frozenset[int], other: frozenset[int]) -> bool:
        shared = len(one & other)
        return shared >= self._threshold * (len(one) + len(other) - shared)


def _grams(text: str) -> list[int]:
    """The shingles of a text in ascending order of their hashes."""
    return [int(gram) for gram in shingles([text]).hashes]
