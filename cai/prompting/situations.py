"""The situations of each principle: listed by the writer, each used a few times."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from cai.cleaning.units import pieces
from cai.constitution.records import Principle
from cai.personal import personal_spans
from cai.prompting.filters import cut
from cai.prompting.nearness import Nearness
from cai.prompting.records import BARREN, BARREN_SITUATIONS, PER_SITUATION, Slot
from cai.prompting.words import Words
from cai.quality.gibberish import is_gibberish
from cai.quality.replies import reply_class
from cai.records import Sampling
from cai.runtime.calls import Rejected, RowCalls

BATCH = 10  # situations that are asked for at once
_KNOWN = 20  # of the last ones, which the next are to be unlike
_EMPTY = 2  # batches in a row without a new situation, after which there is none
_LONGEST = 60  # words
_NEAR = 0.7


class Sort(NamedTuple):
    """What slots are counted by: a principle, and whether they are for ordinary work."""

    principle: str
    helpful: bool


@dataclass
class _Place:
    """Where a sort of slots is in the list of situations."""

    number: int = 0
    uses: int = 0
    barren: int = 0  # slots in a row that gave nothing
    barren_situations: int = 0
    slots: int = 0


@dataclass
class Situations:
    """The situations so far, and where the slots are in them."""

    words: Words
    sampling: Sampling
    lists: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    saturated: Counter[str] = field(default_factory=Counter)
    _known: dict[str, Nearness] = field(default_factory=dict)
    _batches: Counter[str] = field(default_factory=Counter)
    _places: dict[Sort, _Place] = field(default_factory=dict)

    def alive(self, principle: Principle, *, helpful: bool) -> bool:
        """Whether there may still be something new."""
        return f"{principle.id}{'/helpful' if helpful else ''}" not in self.left

    async def next_slot(self, principle: Principle, row: RowCalls, *, helpful: bool) -> Slot | None:
        """The next slot of a sort; None where the writer has no situation any more."""
        place = self._places.setdefault(Sort(principle.id, helpful), _Place())
        if place.uses >= PER_SITUATION:
            self._move(place)
        listed = self.lists.setdefault(principle.id, [])
        empty = 0
        while place.number >= len(listed):
            if empty >= _EMPTY:
                self._leave(principle.id, helpful, "the writer has no other situation")
                return None
            empty = 0 if await self._more(principle, row) else empty + 1
        place.uses += 1
        place.slots += 1
        return Slot(principle, helpful, place.slots - 1, listed[place.number], place.number)

    def tell(self, slot: Slot, *, gave: bool) -> None:
        """Take what came of a slot; a situation that brings nothing new is left for another."""
        place = self._places[Sort(slot.principle.id, slot.helpful)]
        if gave:
            place.barren = place.barren_situations = 0
            return
        place.barren += 1
        if place.barren < BARREN:
            return
        self.saturated[slot.principle.id] += 1
        place.barren_situations += 1
        place.barren = 0
        if place.number == slot.place:
            self._move(place)
        if place.barren_situations >= BARREN_SITUATIONS:
            words = f"{place.barren_situations} situations in a row brought nothing new"
            self._leave(slot.principle.id, slot.helpful, words)

    def _move(self, place: _Place) -> None:
        place.number += 1
        place.uses = 0

    def _leave(self, principle: str, helpful: bool, why: str) -> None:
        self.left[f"{principle}{'/helpful' if helpful else ''}"] = why

    async def _more(self, principle: Principle, row: RowCalls) -> bool:
        """Ask for a batch; whether one of them is new."""
        listed = self.lists[principle.id]
        number = self._batches[principle.id]
        self._batches[principle.id] += 1
        request = self.words.situations(principle, BATCH, listed[-_KNOWN:])
        calls = row.beside(f"{principle.id}/situations")
        try:
            made = await calls.generate(
                "respond", 0, [request], self.sampling, lambda _: None, ordinal=number
            )
        except Rejected:
            return False
        known = self._known.setdefault(principle.id, Nearness(threshold=_NEAR))
        before = len(listed)
        lines = made.text.splitlines()
        if made.finish_reason == "length":
            lines = lines[:-1]  # it ends where the room did
        for line in lines:
            text = cut(line).text.rstrip(".")
            if _is_situation(text) and not known.is_near(text):
                known.add(text)
                listed.append(text)
        return len(listed) > before


def _is_situation(text: str) -> bool:
    count = len(pieces(text))
    if not 3 <= count <= _LONGEST or text.endswith((":", "：")):
        return False
    if is_gibberish(text) or personal_spans(text):
        return False
    return reply_class(text) != "refuse"
