"""The exact join of sets by their Jaccard similarity, for the earliest partner of each.

Sets that share one of their rarest elements (cai/quality/prefixes.py) are compared, unless where it
stands in both bounds what they can share (Xiao, Wang, Lin and Yu 2008, "Efficient similarity joins
for near duplicate detection") or a bitmap of each does (Sandes, Teodoro and Melo 2020, "Bitmap
filter: speeding up exact set similarity joins with bitwise operations").

A set looks through each of its lists from the earliest set on, and stops where it has a partner: so
any number of copies of a text with another name in each costs no more than other texts. It also
stops after `MOST` sets of a list. That can miss a partner only where every list that has it is
longer, and `Nearest.unfinished` counts the sets for which this may be so; and a partner that was
found may then not be the earliest.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.quality.prefixes import SLACK, Ints, Prefixes, Ranked, prefixes, ranked
from cai.quality.shingles import Hashes, Shingles, gram_hashes, runs

MOST = 1024  # sets of one list that a set is compared with
_BITS = 1024  # of a bitmap
_PAIRS = 1 << 18  # that are looked at together
_ELEMENTS = 1 << 22  # that are counted together

Floats = NDArray[np.float64]


class Nearest(NamedTuple):
    """For each set its earliest partner or -1, and their similarity or 0.

    `unfinished` are sets without a partner that were not compared with all that might be one.
    """

    rows: Ints
    similarities: Floats
    unfinished: int


def earliest_partners(sets: Shingles, ceilings: Ints, threshold: float) -> Nearest:
    """For each set the first one below its ceiling with a similarity of `threshold` or more.

    Args:
        sets: None of which is empty.
        ceilings: By set: it is compared with those before this one; at most its own number.
        threshold: Above 0, at most 1.
    """
    search = _Search(ranked(sets), ceilings, threshold)
    search.run()
    found = search.best < ceilings
    unfinished = np.unique(search.rows_open)
    return Nearest(
        np.where(found, search.best, -1),
        search.similarities,
        int((~found[unfinished]).sum()),
    )


class _Search:
    """The earliest partners so far (`best`; at first the ceilings), and the lists still open."""

    def __init__(self, sets: Ranked, ceilings: Ints, threshold: float) -> None:
        self._sets, self._threshold = sets, threshold
        self._lists: Prefixes = prefixes(sets, threshold)
        self._maps = _bitmaps(sets)
        self.best, self.similarities = ceilings.copy(), np.zeros(len(ceilings))
        self._next = self._lists.starts.copy()
        self._open = np.arange(len(self._next))

    @property
    def rows_open(self) -> Ints:
        """The sets that have not been compared with all that stand before their best partner."""
        return self._lists.rows[self._lists.visitors[self._open]]

    def run(self) -> None:
        """Look through all lists: at the first set of each, at the next four, sixteen, ..."""
        step, passed = 1, 0
        self._close()
        while len(self._open) and passed < MOST:
            lengths = np.minimum(self._lists.ends[self._open] - self._next[self._open], step)
            for part in _parts(lengths, _PAIRS):
                self._compare(*self._candidates(self._open[part], lengths[part]))
            self._next[self._open] += lengths
            self._close()
            passed += step
            step = min(4 * step, MOST - passed)

    def _close(self) -> None:
        """Leave the lists that end, or whose next set stands behind the best partner so far."""
        own = self._open[self._next[self._open] < self._lists.ends[self._open]]
        others = self._lists.rows[self._lists.places[self._next[own]]]
        self._open = own[others < self.best[self._lists.rows[self._lists.visitors[own]]]]

    def _candidates(self, lists: Ints, lengths: Ints) -> tuple[Ints, Ints]:
        """Pairs that meet in the next sets of lists and may be similar, each once, in order."""
        rows, left = self._lists.rows, self._lists.left
        one = np.repeat(self._lists.visitors[lists], lengths)
        other = self._lists.places[runs(self._next[lists], lengths)]
        x, y = rows[one], rows[other]
        may = y < self.best[x]
        may &= np.minimum(left[one], left[other]) >= self._needed(x, y)
        keys = np.unique(x[may] << 32 | y[may])
        x, y = keys >> 32, keys & 0xFFFFFFFF
        differ = np.bitwise_count(self._maps[x] ^ self._maps[y]).sum(axis=1, dtype=np.int64)
        may = (self._sets.lengths[x] + self._sets.lengths[y] - differ) / 2 >= self._needed(x, y)
        return x[may], y[may]

    def _needed(self, x: Ints, y: Ints) -> Floats:
        """How many elements sets of these sizes share if they are similar."""
        share = self._threshold / (1 + self._threshold)
        return np.asarray(share * (self._sets.sizes[x] + self._sets.sizes[y]) - SLACK)

    def _compare(self, x: Ints, y: Ints) -> None:
        """Count what pairs share, and keep the earliest similar partner of each set."""
        lengths, sizes = self._sets.lengths, self._sets.sizes
        for part in _parts(lengths[x] + lengths[y], _ELEMENTS):
            one, other = x[part], y[part]
            shared = _shared(self._sets, one, other)
            jaccard = shared / (sizes[one] + sizes[other] - shared)
            similar = np.flatnonzero((jaccard >= self._threshold) & (other < self.best[one]))
            rows, first = np.unique(one[similar], return_index=True)
            self.best[rows] = other[similar[first]]
            self.similarities[rows] = jaccard[similar[first]]


def _parts(lengths: Ints, most: int) -> list[slice]:
    """Pieces of a list whose lengths add up to about `most`."""
    if not len(lengths):
        return []
    piece = np.cumsum(lengths) // most
    return [slice(a, b) for a, b in pairwise(_bounds(piece))]


def _bounds(piece: Ints) -> list[int]:
    return [0, *(np.flatnonzero(piece[1:] != piece[:-1]) + 1).tolist(), len(piece)]


def _shared(sets: Ranked, x: Ints, y: Ints) -> Ints:
    """How many elements the sets of each pair share."""
    both = np.concatenate([x, y])
    lengths = sets.lengths[both]
    pair = np.tile(np.arange(len(x), dtype=np.uint64), 2) << np.uint64(32)
    keys = np.repeat(pair, lengths) | sets.ranks[runs(sets.offsets[both], lengths)]
    keys.sort()
    twice = keys[1:][keys[1:] == keys[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=len(x))


def _bitmaps(sets: Ranked) -> Hashes:
    """For each set a bit by the hash of each element, of those that others have too.

    Each bit in which two sets differ is of an element that one of them has alone.
    """
    maps = np.zeros((len(sets.sizes), _BITS // 64), np.uint64)
    for start in range(0, len(maps), 4096):
        end = min(start + 4096, len(maps))
        table = np.zeros((end - start, _BITS), bool)
        rows = np.repeat(np.arange(end - start), sets.lengths[start:end])
        ranks = sets.ranks[sets.offsets[start] : sets.offsets[end]]
        table[rows, gram_hashes(ranks.astype(np.uint64), 1) % np.uint64(_BITS)] = True
        maps[start:end] = np.packbits(table, axis=1).view(np.uint64)
    return maps
