"""The writing itself: slots in blocks, a draw for each, and what is no prompt drawn again.

Draws of a block go to the writer together; what they are is decided one after the other, in the
order of the slots. So the prompts do not depend on which call came back first, nor on how many are
wanted: more of them are the same ones and then others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, repeat, zip_longest
from typing import NamedTuple

from cai.constitution.records import Principle
from cai.prompting.filters import Reason, cut, in_another_language, problem
from cai.prompting.nearness import Nearness
from cai.prompting.records import TRIES, Outcome, Slot, Written, kinds_of
from cai.prompting.situations import Situations
from cai.prompting.turns import conversation
from cai.prompting.words import Words, own_words
from cai.quality.gibberish import is_gibberish
from cai.records import Kind, Sampling
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress

_FIRST, _LARGEST = (8, 8, 16, 16, 32, 32, 64), 128  # slots of a block


def _of(principle: Principle, helpful: bool) -> list[Kind]:
    """The kinds of a sort of slots that are wanted of a principle."""
    return [kind for kind in kinds_of(principle) if (kind == "helpful") == helpful]


class Draft(NamedTuple):
    """What the writer gave for a slot, or that a call failed; whether it ends where room did."""

    text: str | None
    style: tuple[str, ...]
    cut: bool = False


class Writing:
    """A job of writing.

    Args:
        principles: Those to write for.
        words: What the writer reads.
        sampling: How it draws.
        avoid: Texts that no prompt may be near to.
        language: That every prompt is to be in.
        progress: Told of each prompt.
        seen: Told of the prompts of each block.
    """

    def __init__(
        self,
        principles: Sequence[Principle],
        words: Words,
        sampling: Sampling,
        avoid: Sequence[str],
        language: str | None,
        progress: Progress,
        seen: Callable[[Sequence[Written]], None] = lambda _: None,
    ) -> None:
        self._words, self._sampling = words, sampling
        self._sorts = [
            (p, helpful) for p in principles for helpful in (False, True) if _of(p, helpful)
        ]
        self._language, self._progress, self._count = language, progress, 0
        self._seen = seen
        self._avoided, self._near = Nearness(avoid), Nearness()
        self.situations = Situations(words, sampling)
        self.outcome = Outcome()

    async def write(self, count: int, row: RowCalls) -> list[Written]:
        """So many prompts, or as many as there are."""
        written: list[Written] = []
        self._count = count
        for size in chain(_FIRST, repeat(_LARGEST)):
            if len(written) >= count:
                break
            slots = await self._plan(size, row)
            if not slots:
                break
            block = await self._fill(slots, row)
            self._seen(block)
            written += block
        self.outcome.saturated = self.situations.saturated
        self.outcome.left = self.situations.left
        return written[:count]

    async def _plan(self, size: int, row: RowCalls) -> list[Slot]:
        """The next slots: always of the sort that has least for its weight."""
        slots: list[Slot] = []
        planned: dict[tuple[str, bool], int] = {}
        while len(slots) < size:
            alive = [s for s in self._sorts if self.situations.alive(s[0], helpful=s[1])]
            if not alive:
                break
            principle, helpful = min(
                alive, key=lambda s: self._has(s[0], s[1], planned) / s[0].weight
            )
            slot = await self.situations.next_slot(principle, row, helpful=helpful)
            if slot is not None:
                slots.append(slot)
                key = (principle.id, helpful)
                planned[key] = planned.get(key, 0) + 1
        return slots

    def _has(
        self, principle: Principle, helpful: bool, planned: dict[tuple[str, bool], int]
    ) -> float:
        """Prompts of each kind that there are or will be."""
        kinds = _of(principle, helpful)
        there = sum(self.outcome.accepted[principle.id, kind] for kind in kinds) / len(kinds)
        return there + planned.get((principle.id, helpful), 0)

    async def _fill(self, slots: Sequence[Slot], row: RowCalls) -> list[Written]:
        """The prompts of a block, in the order of its slots.

        A red-team prompt of a principle that applies to none is written for its twin alone.
        """
        firsts = await self._drawn([(slot, None) for slot in slots], row)
        hard = [(s, firsts[s.name]) for s in slots if s.name in firsts and not s.helpful]
        hard = [(slot, one) for slot, one in hard if "borderline" in kinds_of(slot.principle)]
        twins = await self._drawn(hard, row)
        written: list[Written] = []
        for slot in slots:
            both = (firsts.get(slot.name), twins.get(slot.name))
            kept = [one for one in both if one is not None and one.kind in kinds_of(slot.principle)]
            self.situations.tell(slot, gave=bool(kept))
            written += kept
        return written

    async def _drawn(
        self, asked: Sequence[tuple[Slot, Written | None]], row: RowCalls
    ) -> dict[str, Written]:
        """A prompt for each slot that gives one; of a red-team prompt its twin."""
        found: dict[str, Written] = {}
        for attempt in range(TRIES):
            waiting = [(slot, hard) for slot, hard in asked if slot.name not in found]
            drafts = await row.together(
                [partial(self._draft, slot, hard, attempt, row) for slot, hard in waiting]
            )
            for (slot, hard), draft in zip(waiting, drafts, strict=True):
                kind: Kind = "helpful" if slot.helpful else "borderline" if hard else "red-team"
                one = self._judged(slot, kind, draft)
                if isinstance(one, Written):
                    found[slot.name] = one
                else:
                    self.outcome.refused[one] += 1
        return found

    async def _draft(self, slot: Slot, hard: Written | None, attempt: int, row: RowCalls) -> Draft:
        if hard is None:
            request, style = self._words.prompt(slot, attempt)
        else:
            request, style = self._words.twin(hard, attempt)
        calls, step = row.beside(slot.name), int(hard is not None)
        try:
            made = await calls.generate(
                "respond", step, [request], self._sampling, lambda _: None, ordinal=attempt
            )
        except Rejected:
            return Draft(None, style)
        return Draft(made.text, style, made.finish_reason == "length")

    def _judged(self, slot: Slot, kind: Kind, draft: Draft) -> Written | Reason:
        if draft.text is None:
            return "call failed"
        if draft.cut:
            return "cut off"
        found = self._read(slot, draft)
        if isinstance(found, str):
            return found
        one = Written(slot, kind, found, draft.style)
        if kind not in kinds_of(slot.principle):
            return one
        if self._avoided.is_near(one.text):
            return "in a file to avoid"
        if self._near.is_near(one.text):
            return "near-duplicate"
        self._near.add(one.text)
        self.outcome.accepted[slot.principle.id, kind] += 1
        if self.outcome.accepted.total() <= self._count:  # the others are of the block alone
            self._progress.advance()
        return one

    def _read(self, slot: Slot, draft: Draft) -> tuple[str, ...] | Reason:
        """The turns of a draft, or why it is no prompt."""
        text, language = draft.text or "", self._language
        given = conversation(text.strip()) if "multi-turn" in draft.style else (text,)
        if given is None:
            return "no conversation"
        asked = [cut(turn) for turn in given[::2]]
        for one in asked:
            self.outcome.mended.update(one.mended)
        answers = given[1::2]
        if any(is_gibberish(answer) for answer in answers):
            return "no text"
        if language is not None and any(in_another_language(a, language) for a in answers):
            return "language"
        words = (*own_words(slot.principle), *self._words.instructions)
        for one in asked:
            why = problem(one.text, principle=words, language=language)
            if why is not None:
                return why
        both = zip_longest((one.text for one in asked), answers)
        return tuple(turn for pair in both for turn in pair if turn is not None)
