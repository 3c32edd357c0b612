"""Near-duplicates of prompts that come one at a time: exact Jaccard similarity on 5-grams.

Prefix filter (Chaudhuri et al. 2006; Bayardo et al. 2007): of two sets with similarity t or more
the first |x| - ceil(t |x|) + 1 elements in a fixed order share one. By hash they are in no order of
the texts. No text is kept: a set is 8 bytes a shingle, its place in the index 12 bytes for each of
the first half of them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from cai.quality.shingles import Hashes, shingles

NEAR = 0.5
_RECENT = 1 << 13  # entries of the index that are not sorted in yet


class Nearness:
    """The prompts so far; `is_near` asks, `add` adds."""

    def __init__(self, texts: Iterable[str] = (), threshold: float = NEAR) -> None:
        self._threshold = threshold
        self._sets, self._ends = array("Q"), array("q", [0])  # one set behind the other
        self._hashes, self._rows = np.empty(0, np.uint64), np.empty(0, np.int32)  # by hash
        self._recent: dict[int, list[int]] = {}
        self._waiting = 0
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        grams, row = _grams(text), len(self._ends) - 1
        self._sets.frombytes(grams.tobytes())
        self._ends.append(len(self._sets))
        for gram in self._prefix(grams).tolist():
            self._recent.setdefault(gram, []).append(row)
            self._waiting += 1
        if self._waiting >= _RECENT:
            self._sort_in()

    def is_near(self, text: str) -> bool:
        """Whether a text before this one has at least that similarity."""
        grams = _grams(text)
        own = frozenset(grams.tolist())
        return any(self._similar(own, row) for row in set(self._sharing(self._prefix(grams))))

    def _sharing(self, prefix: Hashes) -> Iterator[int]:
        """The rows whose prefix shares an element with this one."""
        for gram in prefix.tolist():
            yield from self._recent.get(gram, ())
        starts = np.searchsorted(self._hashes, prefix, "left").tolist()
        ends = np.searchsorted(self._hashes, prefix, "right").tolist()
        for start, end in zip(starts, ends, strict=True):
            yield from self._rows[start:end].tolist()

    def _sort_in(self) -> None:
        """Put what is recent into the index."""
        new = [(gram, row) for gram, rows in self._recent.items() for row in rows]
        hashes = np.concatenate([self._hashes, np.array([g for g, _ in new], np.uint64)])
        rows = np.concatenate([self._rows, np.array([r for _, r in new], np.int32)])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], rows[order]
        self._recent, self._waiting = {}, 0

    def _prefix(self, grams: Hashes) -> Hashes:
        return grams[: len(grams) - math.ceil(self._threshold * len(grams)) + 1]

    def _similar(self, own: frozenset[int], row: int) -> bool:
        start, end = self._ends[row], self._ends[row + 1]
        shared = len(own.intersection(self._sets[start:end]))
        return shared >= self._threshold * (len(own) + (end - start) - shared)


def _grams(text: str) -> Hashes:
    """The shingles of a text in ascending order of their hashes."""
    return shingles([text]).hashes
