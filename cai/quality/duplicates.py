"""Near-duplicates: texts whose sets of shingles have a Jaccard similarity of 0.7 or more.

The join is exact for all texts, and measured beside MinHash in `benchmarks/duplicates.py`. Only
where the shingles of all texts would not fit into memory it is of a sample.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from cai.quality.join import Floats, earliest_partners
from cai.quality.prefixes import Ints
from cai.quality.shingles import Gathered, Hashes, Shingles, joined

THRESHOLD = 0.7


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
    method: Literal["exact", "sample"]

    @property
    def total(self) -> int:
        """How many of the measured rows have an earlier near-duplicate."""
        return int((self.partners.rows[self.measured] >= 0).sum())


def near_duplicates(texts: Gathered, threshold: float = THRESHOLD) -> Duplicates:
    """For each text of a collection the earliest of those before it that it nearly duplicates.

    A text without a word is no duplicate. Of a sample, a share is `total` over the rows measured;
    equal texts are counted in all rows.
    """
    within = earlier_duplicates(texts.sets, threshold)
    if not texts.is_sample:
        return Duplicates(within, texts.numbers, "exact")
    leaders = _leaders(texts.sums)
    copies = (leaders >= 0) & (leaders < np.arange(texts.rows))
    rows, similarities = np.where(copies, leaders, -1), copies.astype(float)
    there = within.rows >= 0
    rows[texts.numbers[there]] = texts.numbers[within.rows[there]]
    similarities[texts.numbers] = within.similarities
    return Duplicates(Partners(rows, similarities, within.unfinished), texts.numbers, "sample")


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
    leaders = _leaders(sets.sums)
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


def _leaders(sums: Hashes) -> Ints:
    """The first row with the same set, of each row; -1 of an empty one."""
    leaders = np.full(len(sums), -1)
    full = np.flatnonzero(sums)
    _, first, which = np.unique(sums[full], return_index=True, return_inverse=True)
    leaders[full] = full[first[which]]
    return leaders
