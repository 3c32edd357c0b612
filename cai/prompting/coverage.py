"""Which prompts meet a principle: by what their lines say, or by an assessor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from cai.constitution.records import Constitution, Principle
from cai.prompting.assessor import Opinion
from cai.prompting.lines import written_for
from cai.prompting.records import kinds_of
from cai.records import Kind, Prompt, Record

ENOUGH = 5  # prompts of a kind for a principle; fewer are a gap


class Coverage(Record):
    """How many prompts meet a principle, by kind.

    By its tags a prompt meets it where it was written for it or shares one of its tags; a principle
    without tags is met by all prompts that it applies to. By an assessor it meets it where the
    assessor says so.

    Attributes:
        principle: Its id.
        kinds: Of the prompts that it may be met by: those that it applies to.
        by: What says so of `met` and `of_kind`: the assessor, the tags or what it applies to.
        met: Prompts.
        of_kind: The same by kind.
        by_tags: What the tags say, by kind.
        unsure: Prompts of which the assessor says one thing in one order and another in the other.
    """

    principle: str
    kinds: tuple[Kind, ...]
    by: str
    met: int
    of_kind: dict[str, int]
    by_tags: dict[str, int]
    unsure: int = 0

    @property
    def lacks(self) -> list[Kind]:
        """The kinds of which there are too few."""
        return [kind for kind in self.kinds if self.of_kind.get(kind, 0) < ENOUGH]


class Aimed(NamedTuple):
    """A prompt and the principle that it was written for, if the file says so."""

    prompt: Prompt
    principle: str | None


def aimed(prompt: Prompt, constitution: Constitution) -> Aimed:
    """A prompt with the principle of this constitution that `cai prompts write` wrote it for."""
    return Aimed(prompt, written_for(prompt, constitution.name))


def coverage(
    principle: Principle, read: Sequence[Aimed], found: Sequence[Opinion] | None
) -> Coverage:
    tags = set(principle.tags)
    by_tags = Counter(row.prompt.kind for row in read if meets(principle, row))
    by = f"tags {', '.join(sorted(tags))}" if tags else "what it applies to"
    of_kind, unsure = by_tags, 0
    if found is not None and principle.check is None:
        by, unsure = "assessor", sum(principle.id in opinion.unsure for opinion in found)
        pairs = zip(read, found, strict=True)
        of_kind = Counter(r.prompt.kind for r, opinion in pairs if principle.id in opinion.met)
    return Coverage(
        principle=principle.id,
        kinds=kinds_of(principle),
        by=by,
        met=of_kind.total(),
        of_kind=dict(of_kind),
        by_tags=dict(by_tags),
        unsure=unsure,
    )


def meets_none(
    constitution: Constitution, row: Aimed, number: int, found: Sequence[Opinion] | None
) -> bool:
    """Whether a prompt meets no principle; one without an opinion may meet some."""
    if found is None:
        return not any(meets(principle, row) for principle in constitution.principles)
    opinion = found[number]
    rules = (p for p in constitution.principles if p.check is not None)
    said_something = bool(opinion.met or opinion.unsure or opinion.error)
    return not (said_something or any(meets(rule, row) for rule in rules))


def meets(principle: Principle, row: Aimed) -> bool:
    """Whether a prompt is one for a principle."""
    if row.principle is not None:
        return row.principle == principle.id and principle.applies(row.prompt)
    if not principle.applies(row.prompt):
        return False
    return not principle.tags or bool(set(principle.tags) & set(row.prompt.tags))
