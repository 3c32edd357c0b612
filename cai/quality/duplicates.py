"""Near-duplicates: texts whose sets of shingles have a Jaccard similarity of 0.7 or more.

The join is exact for all texts, and measured beside MinHash in `benchmarks/duplicates.py`. Above
`MOST_SHINGLES` (cai/quality/shingles.py) it is of a sample, which keeps memory bounded.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.quality.join import Floats, earliest_partners
from cai.quality.prefixes import Ints
from cai.quality.shingles import Gathered, Hashes, Shingles, joined

THRESHOLD = 0.7
Method = Literal["exact", "sample"]


class Partners(NamedTuple):
    """The near-duplicate of each row, if it has one.

    Attributes:
        rows: The earliest row that it nearly duplicates; -1 where there is none.
        similarities: The Jaccard similarity with that row, from the threshold to 1; 0 where there
            is none.
        unfinished: How many rows without a partner were not compared with all that could have been
            one: the rarest shingles that they share are in too many others (cai/quality/join.py).
            Where it is 0, no partner is missed.
    """

    rows: Ints
    similarities: Floats
    unfinished: int = 0

    @property
    def total(self) -> int:
        """How many rows have a partner."""
        return int((self.rows >= 0).sum())


class Duplicates(NamedTuple):
    """The earlier near-duplicate of each row of a collection.

    Attributes:
        partners: Of all rows. Of those outside a sample: the first row with the same shingles.
        measured: The rows that were compared with all others, or all others of a sample.
        method: `exact`, or `sample`.
    """

    partners: Partners
    measured: Ints
    method: Method

    @property
    def total(self) -> int:
        """How many of the measured rows have an earlier near-duplicate."""
        return int((self.partners.rows[self.measured] >= 0).sum())


def near_duplicates(texts: Gathered, threshold: float = THRESHOLD) -> Duplicates:
    """For each text of a collection the earliest of those before it that it nearly duplicates.

    A text without a word is no duplicate. Of a sample, a share is `total` over the rows measured;
    equal texts are found among all rows.
    """
    within = earlier_duplicates(texts.sets, threshold)
    first = _first_equal(texts.sums, np.arange(texts.rows))
    copies = np.where(first < np.arange(texts.rows), first, -1)
    return _of_all(texts, copies, texts.numbers, texts.numbers, within)


def leaks(
    texts: Gathered, held_out: NDArray[np.bool_], threshold: float = THRESHOLD, least: int = 0
) -> Duplicates:
    """For each text that is held out the earliest of the others that it nearly duplicates.

    Args:
        texts: Those of all splits, in one collection.
        held_out: Whether each text is, of all that were added.
        threshold: Of the Jaccard similarity.
        least: Shingles of a text that is compared; shorter ones are not measured.
    """
    long, out = texts.sets.sizes >= least, held_out[texts.numbers]
    own, others = np.flatnonzero(long & out), np.flatnonzero(long & ~out)
    within = duplicates_between(texts.sets.of_rows(others), texts.sets.of_rows(own), threshold)
    copies = np.where(held_out, _first_equal(texts.sums, np.flatnonzero(~held_out)), -1)
    return _of_all(texts, copies, texts.numbers[own], texts.numbers[others], within)


def _of_all(
    texts: Gathered, copies: Ints, measured: Ints, others: Ints, within: Partners
) -> Duplicates:
    """The partners of the rows measured, and of all rows the first of their copies."""
    rows, similarities = copies, (copies >= 0).astype(float)
    rows[measured] = np.where(within.rows >= 0, others[within.rows] if len(others) else -1, -1)
    similarities[measured] = within.similarities
    method: Method = "sample" if texts.is_sample else "exact"
    return Duplicates(Partners(rows, similarities, within.unfinished), measured, method)


def earlier_duplicates(sets: Shingles, threshold: float = THRESHOLD) -> Partners:
    """For each row the earliest of those before it with at least that similarity."""
    return _partners(sets, sets.rows, threshold)


def duplicates_between(first: Shingles, second: Shingles, threshold: float = THRESHOLD) -> Partners:
    """For each row of the second the earliest row of the first with at least that similarity."""
    both = _partners(joined(first, second), first.rows, threshold)
    return Partners(both.rows[first.rows :], both.similarities[first.rows :], both.unfinished)


def _partners(sets: Shingles, before: int, threshold: float) -> Partners:
    """For each row from `before` on (of all, if that is all) a partner among those below it.

    Equal sets are joined as one, which stands where the first of them stands.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a similarity is above 0 and at most 1, not {threshold}")
    leaders = _first_equal(sets.sums, np.arange(sets.rows))
    numbers = np.arange(sets.rows)
    rows = np.flatnonzero(leaders == numbers)
    asked = leaders[before if before < sets.rows else 0 :]
    ceilings = np.minimum(np.arange(len(rows)), np.searchsorted(rows, before))
    ceilings[~np.isin(rows, asked)] = 0
    own = sets if len(rows) == sets.rows else sets.of_rows(rows)
    nearest = earliest_partners(own, ceilings, threshold)
    partners, similarities = np.full(sets.rows, -1), np.zeros(sets.rows)
    full = np.flatnonzero(leaders >= 0)
    place = np.searchsorted(rows, leaders[full])
    there = nearest.rows[place] >= 0
    partners[full[there]] = rows[nearest.rows[place[there]]]
    similarities[full] = nearest.similarities[place]
    copies = (leaders >= 0) & (partners < 0) & (leaders < np.minimum(numbers, before))
    partners[copies], similarities[copies] = leaders[copies], 1.0
    return Partners(partners, similarities, nearest.unfinished)


def _first_equal(sums: Hashes, among: Ints) -> Ints:
    """For each row the first of some rows with the same set; -1 where there is none, or no set."""
    known, first = np.unique(sums[among], return_index=True)
    if not len(known):
        return np.full(len(sums), -1)
    place = np.minimum(np.searchsorted(known, sums), len(known) - 1)
    return np.where((known[place] == sums) & (sums != 0), among[first[place]], -1)
