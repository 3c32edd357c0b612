"""Contamination: rows of a dataset that stand in evaluation sets, in whole or in part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

import numpy as np

from cai.cleaning.units import is_unspaced, units
from cai.dataset.schema import text_key
from cai.quality.duplicates import THRESHOLD, duplicates_between
from cai.quality.evaluations import EvaluationText
from cai.quality.prefixes import Ints
from cai.quality.shingles import Hashes, Lookup, Units, gram_hashes, sets_of, shingles

# In words, and in characters where words are not spaced: a Chinese word has about two.
GRAM, SHORTEST = 13, 8
CHARACTER_GRAM, SHORTEST_CHARACTERS = 26, 16
_COMPARED = 4000  # units of a text that are looked through for the piece that two share

How = Literal["exact", "near", "n-gram"]
_RANK: dict[How, int] = {"exact": 0, "near": 1, "n-gram": 2}


class Contaminated(NamedTuple):
    """A row with a text of an evaluation set.

    Attributes:
        row: The number that it was added with.
        part: Which of its texts, from 0.
        how: The two are equal but for case and spaces (`exact`), their Jaccard similarity reaches
            the threshold (`near`), or the row has a run of words of the other (`n-gram`).
        file: The evaluation set.
        where: The place in it.
        shared: The longest run of units that the two share, case folded, without punctuation.
    """

    row: int
    part: int
    how: How
    file: str
    where: str
    shared: str


class Contamination:
    """Looks for rows, which come one at a time, in evaluation sets; it keeps those it has found.

    A row is named once, with the closest text: an equal one, else a near one, else one of which it
    has a run of 13 words (26 characters where words are not spaced). Of a shorter evaluation text
    the row must have all, and at least 8 words (16 characters). These are the bounds of Brown et
    al. 2020, "Language models are few-shot learners" (appendix C), where a run has as many words as
    all but the shortest 5 % of the texts, from 8 to 13.

    Args:
        texts: Those of the evaluation sets.
        threshold: Of the Jaccard similarity of a near text.
    """

    def __init__(self, texts: Iterable[EvaluationText], threshold: float = THRESHOLD) -> None:
        self._texts = list(texts)
        self._threshold = threshold
        self._keys: dict[str, int] = {}
        for number, one in enumerate(self._texts):
            self._keys.setdefault(text_key(one.text), number)
        self._sets = shingles(one.text for one in self._texts)
        self._grams = _grams([one.text for one in self._texts])
        self._units = Units()
        self._rows: list[tuple[int, int, str]] = []  # number, part and text of what is not compared
        self._found: dict[int, tuple[int, int, Contaminated]] = {}

    def add(self, row: int, texts: Sequence[str]) -> None:
        """Look at a row: its prompt, and its answers."""
        for part, text in enumerate(texts):
            self._rows.append((row, part, text))
            self._units.add(text)
        if self._units.full:
            self._take()

    def rows(self) -> list[Contaminated]:
        """The rows so far that stand in an evaluation set, by their numbers."""
        self._take()
        return [self._found[row][-1] for row in sorted(self._found)]

    def _take(self) -> None:
        flat, counts = self._units.take()
        for place, (_, _, text) in enumerate(self._rows):
            number = self._keys.get(text_key(text))
            if number is not None and text.strip():
                self._keep(place, "exact", number)
        near = duplicates_between(self._sets, sets_of(flat, counts), self._threshold).rows
        for place in np.flatnonzero(near >= 0).tolist():
            self._keep(place, "near", int(near[place]))
        for grams in self._grams:
            for place, number in grams.first_of_each(flat, counts):
                self._keep(place, "n-gram", number)
        self._rows = []

    def _keep(self, place: int, how: How, number: int) -> None:
        """Keep what was found of a row unless something closer is known, or the same earlier."""
        row, part, text = self._rows[place]
        key = (_RANK[how], part)
        if row in self._found and self._found[row][:2] <= key:
            return
        other = self._texts[number]
        shared = shared_piece(text, other.text)
        one = Contaminated(row, part, how, other.file, other.where, shared)
        self._found[row] = (*key, one)


class _Grams(NamedTuple):
    """All runs of one size that a row must not have.

    Attributes:
        size: In units.
        lookup: Of their hashes.
        texts: The first text with each of them.
    """

    size: int
    lookup: Lookup
    texts: Ints

    def first_of_each(self, flat: Hashes, counts: Ints) -> list[tuple[int, int]]:
        """The texts that have such a run, and of which evaluation text the first one is."""
        ends = np.cumsum(counts)
        first: dict[int, int] = {}
        for places, index in self.lookup.places(gram_hashes(flat, self.size)):
            owners = np.searchsorted(ends, places, "right")
            inside = places + self.size <= ends[owners]
            texts = self.texts[index[inside]].tolist()
            for owner, text in zip(owners[inside].tolist(), texts, strict=True):
                first.setdefault(owner, text)
        return list(first.items())


def _grams(texts: Sequence[str]) -> list[_Grams]:
    """The runs of evaluation texts, by their size."""
    own = Units()
    by_size: dict[int, list[tuple[Hashes, int]]] = {}
    for number, text in enumerate(texts):
        size = _gram_size(units(text))
        own.add(text)
        flat, _ = own.take()
        if size:
            hashes = gram_hashes(flat, size)[: len(flat) - size + 1]
            by_size.setdefault(size, []).append((hashes, number))
    made = []
    for size, parts in sorted(by_size.items()):
        numbers = np.repeat([n for _, n in parts], [len(hashes) for hashes, _ in parts])
        known, first = np.unique(np.concatenate([h for h, _ in parts]), return_index=True)
        made.append(_Grams(size, Lookup(known), numbers[first]))
    return made


def _gram_size(sequence: Sequence[str]) -> int:
    """How long a run of an evaluation text is; 0 where the text is too short to tell it by one."""
    unspaced = 2 * sum(map(is_unspaced, sequence)) > len(sequence)
    size, least = (CHARACTER_GRAM, SHORTEST_CHARACTERS) if unspaced else (GRAM, SHORTEST)
    return min(size, len(sequence)) if len(sequence) >= least else 0


def shared_piece(one: str, other: str) -> str:
    """The longest run of units that two texts share, in the first 4,000 units of each."""
    a, b = units(one)[:_COMPARED], units(other)[:_COMPARED]
    match = SequenceMatcher(None, b, a, autojunk=False).find_longest_match()
    piece = ""
    for unit in b[match.a : match.a + match.size]:
        close = not piece or (is_unspaced(unit) and is_unspaced(piece[-1]))
        piece += unit if close else f" {unit}"
    return piece
