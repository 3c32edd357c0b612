"""Boilerplate: runs of words that come back in the answers to many prompts.

Bai et al. 2022, section 4.3, saw it in models trained too long against AI feedback. Counted on
their released samples, the share of answers with such a run is 0 % for SL-CAI and H-RLHF, 17 % for
HH-RLHF, 29 % for RL-CAI with chain of thought and 82 % for RL-CAI.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from cai.cleaning.units import is_unspaced, units

SIZE = 5  # units of a gram: words, and characters where words are not spaced
SHARE = 0.15  # of the prompts, whose answers hold a gram that recurs
FEWEST = 3  # prompts; in two answers of ten a run of words is nothing yet
SAMPLE = 2000  # prompts in which candidates are looked for
_MANY = 60  # candidates, from which on a look at each run of a text takes less time

Gram = tuple[str, ...]
_WORD = re.compile(r"\w+")
# No letters of one code each with spaces between words: unspaced scripts, marks on letters, `_`.
_NOT_PLAIN = re.compile(
    "[_\u0300-\u036f\u0483-\u0489\u0591-\u1cff\u1dc0-\u1dff\u20d0-\u20ff\u2de0-\u2dff\u3005-\U0003ffff]"
)


def words(text: str) -> list[str]:
    """The words of a text, case folded; single characters where words are not spaced."""
    plain = "_" not in text if text.isascii() else _NOT_PLAIN.search(text) is None
    if plain:
        return _WORD.findall(text.casefold())
    return units(text)


def joined(gram: Sequence[str]) -> str:
    """A run of words as one reads it."""
    spaced = "".join(f"{'' if is_unspaced(unit) else ' '}{unit}" for unit in gram)
    return spaced.strip()


def sample_key(name: str) -> int:
    """By which a sample of prompts is drawn: the lowest keys, whatever their order."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


class Sample:
    """The answers to the `size` prompts whose names hash lowest: a sample that a stream can keep.

    All rows of a prompt are in it or none, if they stand next to each other.
    """

    def __init__(self, size: int = SAMPLE) -> None:
        self._size = size
        self._heap: list[tuple[int, str]] = []
        self._texts: dict[str, list[str]] = {}
        self.prompts = 0
        self._last: str | None = None

    def add(self, prompt_id: str, text: str) -> None:
        if prompt_id != self._last:
            self._last = prompt_id
            self.prompts += 1
            if prompt_id not in self._texts:
                key = -sample_key(prompt_id)
                if len(self._heap) < self._size:
                    heapq.heappush(self._heap, (key, prompt_id))
                elif key > self._heap[0][0]:
                    _, out = heapq.heapreplace(self._heap, (key, prompt_id))
                    del self._texts[out]
                else:
                    return
                self._texts[prompt_id] = []
        if prompt_id in self._texts:
            self._texts[prompt_id].append(text)

    @property
    def answers(self) -> list[list[str]]:
        """The texts by prompt, in the order of their keys."""
        return [self._texts[name] for _, name in sorted(self._heap, reverse=True)]


class Phrase(NamedTuple):
    """A run of words that recurs, and in the answers to how many prompts the rarest gram of it."""

    text: str
    prompts: int


class Recurring:
    """Which grams recur, counted over all prompts; candidates come from a sample of them.

    A gram in 15 % of all prompts is in at least 10 % of 2,000 of them but for one case in 10^9
    (binomial). Where the sample is the `whole`, nothing is left to count.
    """

    def __init__(self, sample: Sample) -> None:
        answers = sample.answers
        self.whole = sample.prompts == len(answers)
        of = SHARE if self.whole else SHARE * 2 / 3
        least = max(FEWEST, math.ceil(of * len(answers)))
        counts = _counted(answers, least)
        self._candidates = {gram for gram, n in counts.items() if n >= least}
        self._parts = [(f" {' '.join(gram)} ", gram) for gram in sorted(self._candidates)]
        self._least = max(FEWEST, math.ceil(SHARE * sample.prompts))
        kept = {gram: counts[gram] for gram in self._candidates} if self.whole else {}
        self._counts: Counter[Gram] = Counter(kept)
        self._of_prompt: set[Gram] = set()
        self._last: str | None = None

    def count(self, prompt_id: str, text: str) -> None:
        """Count an answer; those to one prompt stand next to each other and count as one."""
        if prompt_id != self._last:
            self._counts.update(self._of_prompt)
            self._of_prompt, self._last = set(), prompt_id
        if self._parts:
            self._of_prompt.update(self._in(text))

    def _in(self, text: str) -> Iterator[Gram]:
        sequence = words(text)
        if len(self._parts) > _MANY:
            return (gram for gram in grams(sequence) if gram in self._candidates)
        spaced = f" {' '.join(sequence)} "
        return (gram for part, gram in self._parts if part in spaced)

    def finish(self) -> None:
        """Keep the grams that recur, now that all answers are counted."""
        self._counts.update(self._of_prompt)
        self._of_prompt = set()
        kept = {gram for gram, n in self._counts.items() if n >= self._least}
        self._candidates = kept
        self._parts = [(part, gram) for part, gram in self._parts if gram in kept]

    def held(self, text: str) -> str | None:
        """The first run of a text that recurs, or None."""
        if not self._parts:
            return None
        found = next(self._in(text), None)
        return None if found is None else joined(found)

    def all_in(self, text: str) -> set[Gram]:
        """All grams of a text that recur."""
        return set(self._in(text)) if self._parts else set()

    @property
    def phrases(self) -> list[Phrase]:
        """What recurs, in runs as long as they come, the most frequent first."""
        counts = {gram: self._counts[gram] for _, gram in self._parts}
        return sorted(_chained(counts), key=lambda phrase: (-phrase.prompts, phrase.text))


def _counted(answers: Sequence[Sequence[str]], least: int) -> Counter[Gram]:
    """In the answers to how many prompts a gram is, of those whose words are each in `least`.

    A gram is in no more answers than the rarest of its words (Agrawal and Srikant 1994, "Fast
    algorithms for mining association rules"), and few words are in many.
    """
    read = [[words(text) for text in texts] for texts in answers]
    prompts = Counter(
        word for texts in read for word in {w for sequence in texts for w in sequence}
    )
    frequent = {word for word, n in prompts.items() if n >= least}
    counts: Counter[Gram] = Counter()
    for texts in read:
        parts = (part for sequence in texts for part in _runs(sequence, frequent))
        counts.update({gram for part in parts for gram in grams(part)})
    return counts


def _runs(sequence: Sequence[str], frequent: AbstractSet[str]) -> Iterator[Sequence[str]]:
    """The runs of frequent words of a text."""
    start = 0
    for place, word in enumerate(sequence):
        if word not in frequent:
            if place - start >= SIZE:
                yield sequence[start:place]
            start = place + 1
    if len(sequence) - start >= SIZE:
        yield sequence[start:]


def grams(sequence: Sequence[str]) -> Iterable[Gram]:
    """All runs of five."""
    return zip(*(sequence[start:] for start in range(SIZE)), strict=False)


def _chained(counts: dict[Gram, int]) -> Iterator[Phrase]:
    """Grams that overlap by all but one unit, as one run."""
    after: dict[Gram, list[Gram]] = {}
    for gram in sorted(counts):
        after.setdefault(gram[:-1], []).append(gram)
    followed = {g for gram in counts for g in after.get(gram[1:], ()) if g != gram}
    left = dict.fromkeys(sorted(counts))
    for start in [*sorted(counts.keys() - followed), *sorted(counts)]:
        if start not in left:
            continue
        run, gram, least = list(start), start, counts[start]
        del left[start]
        while following := [g for g in after.get(gram[1:], ()) if g in left]:
            gram = max(following, key=lambda g: counts[g])
            del left[gram]
            run.append(gram[-1])
            least = min(least, counts[gram])
        yield Phrase(joined(run), least)
