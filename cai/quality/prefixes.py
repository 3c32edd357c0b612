"""Sets in the order of their rarest elements, and which of them share one of these.

With all elements in one order, the rarest first, two sets of similarity t or more share an element
among the first of each: its prefix (Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity
search").
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.quality.shingles import Hashes, Lookup, Shingles, gram_hashes, runs

SLACK = 1e-9  # 0.7 x 10 is not to be more than 7
_ROWS = 1 << 13  # sets that are ordered at once
_SORTED = 1 << 22  # hashes that are sorted at once
_LONG = 64  # sets with one element, which are then divided by their sizes
_BAND = 1.05  # how much larger the sets of the next band are

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Ranks = NDArray[np.uint32]


class Ranked(NamedTuple):
    """Sets without the elements that no other set has, in the order of all elements.

    Attributes:
        ranks: Of the elements, from the rarest, ascending in each set.
        offsets: Where each set begins, and at the end where the last one ends.
        sizes: Of the sets with all their elements.
    """

    ranks: Ranks
    offsets: Ints
    sizes: Ints

    @property
    def lengths(self) -> Ints:
        """How many elements of each set are here."""
        return self.offsets[1:] - self.offsets[:-1]


class Prefixes(NamedTuple):
    """The elements of all prefixes that are in two of them, and which sets meet there.

    Attributes:
        rows: The set of each entry.
        left: How many elements of the set stand from this one on.
        places: Entries to be met: all of them, and behind them those of the shorter prefixes.
        visitors: Entries, each as often as there are lists that it looks through.
        starts: Where in `places` the list begins: sets in order.
        ends: Where it ends, before the set itself.
    """

    rows: Ints
    left: Ints
    places: Ints
    visitors: Ints
    starts: Ints
    ends: Ints


def ranked(sets: Shingles) -> Ranked:
    """The sets with their elements in the order of rarity; equally rare ones by their hash."""
    common, counts = _common(sets.hashes)
    rank = np.empty(len(common), np.uint32)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(common), dtype=np.uint32)
    lookup, ranks, lengths = Lookup(common), array("I"), np.zeros(sets.rows, np.int64)
    for start in range(0, sets.rows, _ROWS):
        bounds = sets.offsets[start : start + _ROWS + 1]
        parts = [np.zeros(0, np.uint64)]
        for places, index in lookup.places(sets.hashes[bounds[0] : bounds[-1]]):
            rows = np.searchsorted(bounds - bounds[0], places, "right") - 1
            parts.append(rows.astype(np.uint64) << np.uint64(32) | rank[index])
        keys = np.concatenate(parts)
        keys.sort()
        own = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(bounds) - 1)
        lengths[start : start + _ROWS] = own
        ranks.frombytes((keys & np.uint64(0xFFFFFFFF)).astype(np.uint32).tobytes())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ranked(np.frombuffer(ranks, np.uint32), offsets, sets.sizes)


def prefixes(sets: Ranked, threshold: float) -> Prefixes:
    """Where sets meet whose similarity may be `threshold` or more.

    The smaller of two such sets has the element in a shorter prefix, as it shares 2t/(1+t) of its
    elements at least (Xiao, Wang, Lin and Yu 2008, "Efficient similarity joins for near duplicate
    detection"). So an entry that is in no shorter prefix looks only through those that are.
    """
    alone = sets.sizes - sets.lengths  # these come first
    length = np.clip(_prefix(sets.sizes, threshold) - alone, 0, sets.lengths)
    places = runs(sets.offsets[:-1], length)
    rows = np.repeat(np.arange(len(sets.sizes)), length)
    order = _order(sets.ranks[places])
    order = order[_telling(sets.ranks[places[order]], rows[order])]
    rows, ranks = rows[order], sets.ranks[places[order]]
    place = places[order] - sets.offsets[rows] + alone[rows]
    bands = _bands(ranks, sets.sizes[rows])
    order = np.lexsort((bands, ranks))
    rows, ranks, place, bands = rows[order], ranks[order], place[order], bands[order]
    sizes = sets.sizes[rows]
    small = place < _prefix(sizes, 2 * threshold / (1 + threshold))
    visitors, starts, ends = _meetings(rows, ranks, bands, _reach(sizes, place, bands, threshold))
    before = np.concatenate([[0], np.cumsum(small)])
    shorter = ~small[visitors]
    starts[shorter] = len(rows) + before[starts[shorter]]
    ends[shorter] = len(rows) + before[ends[shorter]]
    everywhere = np.concatenate([np.arange(len(rows)), np.flatnonzero(small)])
    some = starts < ends
    return Prefixes(rows, sizes - place, everywhere, visitors[some], starts[some], ends[some])


def _prefix(sizes: Ints, share: float) -> Ints:
    """How many elements of a set are its prefix, where that share of it is in another."""
    length: Ints = sizes - np.ceil(share * sizes - SLACK).astype(np.int64) + 1
    return length


def _order(ranks: Ranks) -> Ints:
    """The places of ascending ranks; those of one rank stay in order."""
    keys = ranks.astype(np.uint64) << np.uint64(32) | np.arange(len(ranks), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _telling(ranks: Ranks, rows: Ints) -> Ints:
    """The entries of elements of several prefixes; of those that are in the same ones, the first.

    A phrase of many texts is many shingles, which all tell of the same pairs.
    """
    firsts, lengths = _groups(ranks)
    several = lengths > 1
    firsts, lengths = firsts[several], lengths[several]
    of_several = runs(firsts, lengths)
    if not len(of_several):
        return of_several
    mixed = gram_hashes(rows[of_several].astype(np.uint64), 1)
    sums = np.add.reduceat(mixed, np.cumsum(lengths) - lengths)
    kept = np.sort(np.unique(sums, return_index=True)[1])
    return runs(firsts[kept], lengths[kept])


def _groups(values: NDArray[np.generic]) -> tuple[Ints, Ints]:
    """Where each run of equal values begins, and how long it is."""
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    firsts = np.flatnonzero(first)
    return firsts, np.diff(np.append(firsts, len(values)))


def _bands(ranks: Ranks, sizes: Ints) -> Ints:
    """The band of sizes that each entry is in; 0 in a list that is short anyway."""
    _, lengths = _groups(ranks)
    long = np.repeat(lengths >= _LONG, lengths)
    return np.where(long, _band(sizes), 0)


def _band(sizes: NDArray[np.generic]) -> Ints:
    band: Ints = np.floor(np.log(sizes) / np.log(_BAND)).astype(np.int64) + 1
    return band


def _reach(sizes: Ints, place: Ints, bands: Ints, threshold: float) -> tuple[Ints, Ints]:
    """The first and last band of sets that an entry may be similar to."""
    most = (sizes - place) * (1 + threshold) / threshold - sizes
    least, most = threshold * sizes, np.minimum(sizes / threshold, most)
    first = np.where(bands > 0, _band(np.maximum(least - SLACK, 1)), 0)
    last = np.where(bands > 0, _band(np.maximum(most + SLACK, 1)), 0)
    return first, last


def _meetings(rows: Ints, ranks: Ranks, bands: Ints, reach: tuple[Ints, Ints]) -> tuple[Ints, ...]:
    """Entries and the lists, from a start to an end, of the sets before them in a band."""
    keys = ranks.astype(np.int64) << 16 | bands
    firsts, lengths = _groups(keys)
    lists = np.repeat(np.arange(len(firsts)), lengths) << 32 | rows
    counts = np.maximum(reach[1] - reach[0] + 1, 0)
    visitors = np.repeat(np.arange(len(rows)), counts)
    wanted = ranks[visitors].astype(np.int64) << 16 | runs(reach[0], counts)
    which = np.searchsorted(keys[firsts], wanted)
    which[which == len(firsts)] = 0
    there = keys[firsts][which] == wanted if len(firsts) else np.zeros(0, bool)
    visitors, which = visitors[there], which[there]
    return visitors, firsts[which], np.searchsorted(lists, which << 32 | rows[visitors])


def _common(hashes: Hashes) -> tuple[Hashes, Ints]:
    """The elements of two sets or more, ascending, and in how many sets each is.

    Hashes are spread evenly, so a range of them after the other takes little room.
    """
    parts = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
    step = (1 << 64) // (len(hashes) // _SORTED + 1) + 1
    for low in range(0, 1 << 64, step):
        high = min(low + step, 1 << 64) - 1
        part = hashes[(hashes >= np.uint64(low)) & (hashes <= np.uint64(high))]
        part.sort()
        again = part[1:][part[1:] == part[:-1]]
        common, counts = np.unique(again, return_counts=True)
        parts.append((common, counts + 1))
    common, counts = map(np.concatenate, zip(*parts, strict=True))
    return common, counts
