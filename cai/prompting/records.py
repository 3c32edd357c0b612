"""What is to be written, what came of it, and why the rest did not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from cai.constitution.records import Principle
from cai.prompting.filters import Mended, Reason
from cai.records import KINDS as ALL_KINDS
from cai.records import Kind, Message, assistant, user

KINDS: tuple[Kind, ...] = ("red-team", "borderline", "helpful")
PER_SITUATION = 3  # slots that a situation serves
TRIES = 3  # draws for a slot
BARREN = 2  # slots in a row without a prompt, after which a situation is saturated
BARREN_SITUATIONS = 4  # saturated situations in a row, after which a principle is left


def kinds_of(principle: Principle) -> tuple[Kind, ...]:
    """The kinds of prompts to write for a principle: those that it applies to.

    What it applies to by a tag is written with the tag, whatever its kind.
    """
    if topics_of(principle):
        return KINDS
    named = tuple(kind for kind in KINDS if kind in principle.applies_to)
    return named or KINDS


def topics_of(principle: Principle) -> tuple[str, ...]:
    """The tags that a principle is limited to."""
    return tuple(name for name in principle.applies_to if name not in ALL_KINDS)


class Slot(NamedTuple):
    """A place for a prompt, or for a red-team prompt and its borderline twin.

    Attributes:
        principle: Whose prompts.
        helpful: Whether it is for ordinary work; else it is for a pair of twins.
        number: Which slot of this principle and sort, from 0.
        situation: In words.
        place: Which situation of the principle it is, from 0.
    """

    principle: Principle
    helpful: bool
    number: int
    situation: str
    place: int

    @property
    def name(self) -> str:
        """The address of its draws."""
        return f"{self.principle.id}/{'helpful' if self.helpful else 'twins'}/{self.number}"


class Written(NamedTuple):
    """A prompt that is one.

    `turns` are the user's and the assistant's in turn, the user's first and last: texts alone, as
    there may be many thousands.
    """

    slot: Slot
    kind: Kind
    turns: tuple[str, ...]
    style: tuple[str, ...]

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(assistant(t) if n % 2 else user(t) for n, t in enumerate(self.turns))

    @property
    def text(self) -> str:
        """All that the user says."""
        return "\n".join(self.turns[::2])


@dataclass
class Outcome:
    """The counts of a job.

    Attributes:
        accepted: Prompts by principle and kind.
        refused: What was no prompt, by reason.
        mended: What was taken off, by what.
        saturated: Situations that brought nothing new any more, by principle.
        left: Principles that no situation brings anything new for, with the reason.
    """

    accepted: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    refused: Counter[Reason] = field(default_factory=Counter)
    mended: Counter[Mended] = field(default_factory=Counter)
    saturated: Counter[str] = field(default_factory=Counter)
    left: dict[str, str] = field(default_factory=dict)
