"""Texts as sets of shingles: hashes of the runs of five units in them.

A unit is a word, or a character where words are not spaced; case and punctuation play no part.
Broder 1997, "On the resemblance and containment of documents".
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.cleaning.units import units

SIZE = 5  # units in a shingle
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no unit is lost modulo 2^64
MOST_SHINGLES = 160_000_000  # a million texts of 160 words: 4 GB with the join
_PART = 1 << 18  # units that are hashed at once
_THINNED = 1 << 14  # texts that are looked at at once where some are left out
_SOUGHT = 1 << 22  # hashes that are looked for at once
_REMEMBERED = 1 << 17  # units: about 25 MB

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]


class Shingles(NamedTuple):
    """The sets of shingles of many texts, 8 bytes a shingle.

    Attributes:
        hashes: All sets one behind the other, each sorted and without doubles.
        offsets: Where each set begins, and at the end where the last one ends.
    """

    hashes: Hashes
    offsets: Offsets

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Offsets:
        return np.diff(self.offsets)

    @property
    def sums(self) -> Hashes:
        """The sum of each set modulo 2^64; 0 of an empty one. Equal sets have equal sums."""
        sums = np.zeros(self.rows, np.uint64)
        full = np.flatnonzero(self.sizes)
        if len(full):
            sums[full] = np.add.reduceat(self.hashes, self.offsets[full])
        return sums

    def of_rows(self, rows: Offsets) -> Shingles:
        """The sets of some rows, which ascend."""
        sizes = self.sizes
        kept = np.zeros(self.rows, bool)
        kept[rows] = True
        ends = np.cumsum(sizes[rows])
        return Shingles(self.hashes[np.repeat(kept, sizes)], np.concatenate([[0], ends]))


class Units:
    """The units of texts as 64-bit hashes that are the same in every process, to be taken in parts.

    The hashes of the usual units are remembered.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._hashes: list[int] = []
        self._counts: list[int] = []

    @property
    def full(self) -> bool:
        """Whether it is time to take what there is."""
        return len(self._hashes) >= _PART or len(self._counts) >= _PART

    def add(self, text: str) -> None:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        known, sequence = self._known, units(text)
        for unit in sequence:
            if unit not in known:
                known[unit] = _hash(unit)
        self._hashes += [known[unit] for unit in sequence]
        self._counts.append(len(sequence))

    def take(self) -> tuple[Hashes, Offsets]:
        """The hashes of the units of all texts since the last time, and how many each text has."""
        taken = np.array(self._hashes, np.uint64), np.array(self._counts, np.int64)
        self._hashes, self._counts = [], []
        return taken


class Collection:
    """The shingles of texts that come one at a time.

    Above `most` shingles it keeps a sample of the texts: those whose smallest hash lies below a
    limit, which is halved as often as needed. Two texts of similarity J have the same smallest
    hash with probability J (Broder 1997), so that most near-duplicates are kept or left together.
    A text is kept with a probability that grows with its shingles: a share of the sample is nearer
    to a share of the words than to one of the texts, and at least J times as large as it.

    Args:
        most: Shingles to keep, at 8 bytes each; the join takes half as much besides.
    """

    def __init__(self, most: int = MOST_SHINGLES) -> None:
        self._most = most
        self._units = Units()
        self._limit = 1 << 64
        # Arrays grow in place: parts that are joined in the end would take twice the room.
        self._hashes, self._sums = array("Q"), array("Q")
        self._sizes, self._numbers = array("q"), array("q")

    def add(self, text: str) -> None:
        self._units.add(text)
        if self._units.full:
            self._take()

    def gathered(self) -> Gathered:
        """What was added; nothing can be added after it."""
        self._take()
        numbers, sums = np.frombuffer(self._numbers, np.int64), np.frombuffer(self._sums, np.uint64)
        return Gathered(self._sets(), numbers, sums)

    def _sets(self) -> Shingles:
        sizes = np.frombuffer(self._sizes, np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        return Shingles(np.frombuffer(self._hashes, np.uint64), offsets)

    def _take(self) -> None:
        own = sets_of(*self._units.take())
        numbers = np.arange(len(self._sums), len(self._sums) + own.rows)
        self._sums.frombytes(own.sums.tobytes())
        if self._limit < 1 << 64:
            own, numbers = self._kept(own, numbers)
        self._hashes.frombytes(own.hashes.tobytes())
        self._sizes.frombytes(own.sizes.tobytes())
        self._numbers.frombytes(numbers.tobytes())
        while len(self._hashes) > self._most:
            self._limit >>= 1
            hashes, rows = self._thin()
            del self._hashes[hashes:], self._sizes[rows:], self._numbers[rows:]

    def _kept(self, sets: Shingles, numbers: Offsets) -> tuple[Shingles, Offsets]:
        """The texts below the limit, and their numbers."""
        kept = np.flatnonzero(sets.sizes)
        kept = kept[sets.hashes[sets.offsets[kept]] < np.uint64(self._limit)]
        return sets.of_rows(kept), numbers[kept]

    def _thin(self) -> tuple[int, int]:
        """Move the texts below the limit to the front; how many hashes and texts they are."""
        hashes, offsets = self._sets()
        sizes, numbers = (np.frombuffer(a, np.int64) for a in (self._sizes, self._numbers))
        end = row = 0
        for start in range(0, len(numbers), _THINNED):
            bounds = offsets[start : start + _THINNED + 1]
            part = Shingles(hashes[bounds[0] : bounds[-1]], bounds - bounds[0])
            own, kept = self._kept(part, numbers[start : start + _THINNED])
            hashes[end : end + len(own.hashes)] = own.hashes
            sizes[row : row + own.rows], numbers[row : row + own.rows] = own.sizes, kept
            end, row = end + len(own.hashes), row + own.rows
        return end, row


class Gathered(NamedTuple):
    """The sets of the texts of a collection, or of a sample of them.

    Attributes:
        sets: The sets that were kept.
        numbers: Which text each of them is of, from 0, ascending.
        sums: Of every text the sum of its shingles: equal sets have equal sums; 0 has no shingle.
    """

    sets: Shingles
    numbers: Offsets
    sums: Hashes

    @property
    def rows(self) -> int:
        return len(self.sums)

    @property
    def is_sample(self) -> bool:
        return self.sets.rows < self.rows


def shingles(texts: Iterable[str]) -> Shingles:
    """The shingles of texts, which are read once.

    A text of fewer than five units is one shingle of all of them; one without any has none.
    """
    collection = Collection(most=1 << 62)
    for text in texts:
        collection.add(text)
    return collection.gathered().sets


def joined(first: Shingles, second: Shingles) -> Shingles:
    """The rows of one collection, and behind them those of another."""
    return _joined([first, second])


def gram_hashes(flat: Hashes, size: int) -> Hashes:
    """The hash of the run of `size` units that begins at each unit; runs past the end hold zeros.

    A polynomial of the units modulo 2^64 and its size, mixed by the last steps of splitmix64
    (Steele, Lea and Flood 2014).
    """
    padded = np.concatenate([flat, np.zeros(size, np.uint64)])
    grams = np.full(len(flat), size, np.uint64)
    for start in range(size):
        grams *= _BASE
        grams += padded[start : start + len(flat)]
    grams ^= grams >> np.uint64(30)
    grams *= np.uint64(0xBF58476D1CE4E5B9)
    grams ^= grams >> np.uint64(27)
    grams *= np.uint64(0x94D049BB133111EB)
    grams ^= grams >> np.uint64(31)
    return grams


class Lookup:
    """Finds known hashes among others: a table of their first 24 bits spares most the search."""

    def __init__(self, known: Hashes) -> None:
        self._known = known  # ascending
        self._table = np.zeros(1 << 24, bool)
        self._table[known >> np.uint64(40)] = True

    def places(self, hashes: Hashes) -> Iterator[tuple[Offsets, Offsets]]:
        """Where known ones stand, ascending, and which of the known they are; a part at a time."""
        known = self._known
        for start in range(0, len(hashes) if len(known) else 0, _SOUGHT):
            part = hashes[start : start + _SOUGHT]
            places = np.flatnonzero(self._table[part >> np.uint64(40)])
            index = np.searchsorted(known, part[places])
            index[index == len(known)] = 0
            there = known[index] == part[places]
            yield places[there] + start, index[there]


def runs(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers start, start + 1, … of each run, one run behind the other."""
    before = np.cumsum(lengths) - lengths
    numbers = np.arange(int(lengths.sum()), dtype=np.int64)
    numbers += np.repeat(starts - before, lengths)
    return numbers


def _hash(unit: str) -> int:
    data = unit.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def sets_of(flat: Hashes, counts: Offsets) -> Shingles:
    """The sets of a few texts from the hashes of their units."""
    ends = np.cumsum(counts)
    grams = gram_hashes(flat, SIZE)
    whole = np.arange(len(flat)) + SIZE <= np.repeat(ends, counts)
    for size in range(1, SIZE):
        starts = (ends - counts)[counts == size]
        if len(starts):
            short = flat[runs(starts, np.full(len(starts), size))]
            grams[starts] = gram_hashes(short, size)[::size]
            whole[starts] = True
    hashes = grams[whole]
    offsets = np.concatenate([[0], np.cumsum(whole)])[np.concatenate([[0], ends])]
    bounds = offsets.tolist()
    for start, end in pairwise(bounds):
        hashes[start:end].sort()
    return _without_doubles(hashes, offsets)


def _without_doubles(hashes: Hashes, offsets: Offsets) -> Shingles:
    first = np.ones(len(hashes), bool)
    first[1:] = hashes[1:] != hashes[:-1]
    first[offsets[:-1][offsets[:-1] < len(hashes)]] = True
    kept = np.concatenate([[0], np.cumsum(first)])
    return Shingles(hashes[first], kept[offsets])


def _joined(parts: list[Shingles]) -> Shingles:
    ends = np.cumsum(np.concatenate([part.sizes for part in parts]))
    return Shingles(np.concatenate([p.hashes for p in parts]), np.concatenate([[0], ends]))
