"""`cai prompts check`: what a file of prompts covers of a constitution, and what it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cai.cleaning.units import pieces
from cai.constitution.records import Constitution, Principle
from cai.errors import CaiError
from cai.evaluate.suites.read import ALL, read_suites
from cai.personal import personal_spans
from cai.prompting.lines import written_for
from cai.prompting.nearness import NEAR
from cai.prompting.records import KINDS
from cai.prompting.request import said
from cai.prompts import Intake
from cai.quality.diversity import languages
from cai.quality.duplicates import duplicates_between, earlier_duplicates
from cai.quality.shingles import shingles
from cai.records import Kind, Prompt, Record

ENOUGH = 5  # prompts of a kind for a principle; fewer are a gap
_NAMED = 10  # rows that are named


class Coverage(Record):
    """How many prompts meet a principle, by kind.

    A prompt meets it where it was written for it or shares one of its tags; a principle without
    tags is met by all prompts that it applies to. `of_kind`: the same by kind.
    """

    principle: str
    by: str
    met: int
    of_kind: dict[str, int]

    @property
    def lacks(self) -> list[Kind]:
        """The kinds of which there are too few."""
        return [kind for kind in KINDS if self.of_kind.get(kind, 0) < ENOUGH]


class PromptCheck(Record):
    """What a file of prompts is like.

    `lengths` are words (characters where words are not spaced): the least, the middle, 95 %, most.
    `near_duplicates` have an earlier prompt of similarity 0.5 or more that is no twin of theirs;
    `in_suites` one in the shipped suites. Rows are named by their ids.
    """

    prompts: int
    unusable: int
    kinds: dict[str, int]
    languages: dict[str, int]
    topics: dict[str, int]
    multi_turn: int
    lengths: tuple[int, int, int, int]
    principles: tuple[Coverage, ...]
    near_duplicates: int
    near_duplicate_ids: tuple[str, ...]
    in_suites: int
    in_suite_ids: tuple[str, ...]
    personal_data: int
    personal_data_ids: tuple[str, ...]
    by_kind_share: dict[str, float]

    @property
    def not_met(self) -> list[str]:
        """The principles that no prompt meets."""
        return [c.principle for c in self.principles if not c.met]

    @property
    def gaps(self) -> list[str]:
        """The principles that lack prompts of some kind."""
        return [c.principle for c in self.principles if c.lacks]


class Aimed(NamedTuple):
    """A prompt and the principle that it was written for, if the file says so."""

    prompt: Prompt
    principle: str | None


def check_prompts(source: str, constitution: Constitution) -> PromptCheck:
    """What a source of prompts covers of a constitution; no model is asked.

    Raises:
        CaiError: There is no such source, or no row can be used.
    """
    rows = list(_rows(source, constitution))
    read = [row for row in rows if row is not None]
    if not read:
        raise CaiError(f"{source}: no prompt can be used", "docs/prompts.md says what a row is.")
    prompts = [row.prompt for row in read]
    texts = [said(prompt) for prompt in prompts]
    near, suites = _near(prompts, texts), _in_suites(prompts, texts)
    personal = [p.id for p, text in zip(prompts, texts, strict=True) if personal_spans(text)]
    kinds = Counter(prompt.kind for prompt in prompts)
    return PromptCheck(
        prompts=len(prompts),
        unusable=len(rows) - len(read),
        kinds={kind: kinds[kind] for kind in (*KINDS, "unknown") if kinds[kind]},
        languages=languages(texts),
        topics=dict(Counter(topic for p in prompts for topic in _topics(p)).most_common(_NAMED)),
        multi_turn=sum(len(p.messages) > 2 for p in prompts),
        lengths=_lengths(texts),
        principles=tuple(_coverage(p, read) for p in constitution.principles),
        near_duplicates=len(near),
        near_duplicate_ids=tuple(near[:_NAMED]),
        in_suites=len(suites),
        in_suite_ids=tuple(suites[:_NAMED]),
        personal_data=len(personal),
        personal_data_ids=tuple(personal[:_NAMED]),
        by_kind_share={kind: kinds[kind] / len(prompts) for kind in KINDS},
    )


def _rows(source: str, constitution: Constitution) -> Iterator[Aimed | None]:
    """The prompts of a source; None for a row that is none."""
    for item in Intake(source, kind="unknown"):
        yield aimed(item, constitution) if isinstance(item, Prompt) else None


def aimed(prompt: Prompt, constitution: Constitution) -> Aimed:
    """A prompt with the principle of this constitution that `cai prompts write` wrote it for."""
    return Aimed(prompt, written_for(prompt, constitution.name))


def _coverage(principle: Principle, read: Sequence[Aimed]) -> Coverage:
    tags = set(principle.tags)
    met = [row.prompt for row in read if meets(principle, row)]
    kinds = Counter(prompt.kind for prompt in met)
    by = f"tags {', '.join(sorted(tags))}" if tags else "what it applies to"
    return Coverage(principle=principle.id, by=by, met=len(met), of_kind=dict(kinds))


def meets(principle: Principle, row: Aimed) -> bool:
    """Whether a prompt is one for a principle."""
    if row.principle is not None:
        return row.principle == principle.id
    if not principle.applies(row.prompt):
        return False
    return not principle.tags or bool(set(principle.tags) & set(row.prompt.tags))


def _topics(prompt: Prompt) -> list[str]:
    return [tag for tag in prompt.tags if not tag.startswith("style: ")][:1]


def _near(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[str]:
    found = earlier_duplicates(shingles(texts), NEAR)
    return [
        prompts[n].id
        for n, other in enumerate(found.rows)
        if other >= 0 and not _are_twins(prompts[n], prompts[int(other)])
    ]


def _are_twins(one: Prompt, other: Prompt) -> bool:
    return one.group is not None and one.group == other.group and one.kind != other.kind


def _in_suites(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[str]:
    suites = [said(i.prompt) for suite in read_suites(ALL) for i in suite.items]
    found = duplicates_between(shingles(suites), shingles(texts), NEAR)
    return [prompts[int(n)].id for n in np.flatnonzero(found.rows >= 0)]


def _lengths(texts: Sequence[str]) -> tuple[int, int, int, int]:
    counts = [len(pieces(text)) for text in texts]
    low, middle, high, most = np.quantile(counts, (0, 0.5, 0.95, 1), method="nearest")
    return int(low), int(middle), int(high), int(most)


def advice(check: PromptCheck, source: str, constitution: str) -> str | None:
    """The command that fills the gaps, where there are any."""
    missing = sum(
        max(0, ENOUGH - c.of_kind.get(kind, 0)) for c in check.principles for kind in c.lacks
    )
    if not missing:
        return None
    return (
        f"cai prompts write --constitution {constitution} --model NAME --count {missing} "
        f"--avoid {source} --out more.jsonl"
    )


def as_table(check: PromptCheck) -> list[tuple[str, Mapping[str, int], int]]:
    """A line for each principle: its name, prompts by kind, all of them."""
    return [(c.principle, c.of_kind, c.met) for c in check.principles]
