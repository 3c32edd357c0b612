"""`cai prompts check`: what a file of prompts covers of a constitution, and what it lacks."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from cai.checks.asking import folder_for
from cai.cleaning.units import pieces
from cai.config import Settings
from cai.constitution.records import Constitution
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.evaluate.suites.read import ALL, read_suites
from cai.personal import personal_spans
from cai.prompting.assessor import Opinion, asked_about, critic_of, found_usable, opinions
from cai.prompting.coverage import ENOUGH, Aimed, Coverage, aimed, coverage, meets_none
from cai.prompting.nearness import NEAR
from cai.prompting.records import KINDS
from cai.prompting.request import said
from cai.prompts import Intake
from cai.quality.diversity import languages
from cai.quality.duplicates import duplicates_between, earlier_duplicates
from cai.quality.shingles import shingles
from cai.records import Prompt, Record
from cai.runtime.progress import Progress, Quiet

_NAMED = 10  # rows that are named
_TWINS = {"red-team", "borderline"}


class Assessor(Record):
    """Who was asked what prompts call for.

    Attributes:
        name: The critic.
        usable: Whether `cai check critic` found it so; else it was asked nothing. None where the
            constitution has no principle in words for these prompts.
        asked: Prompts.
        unscored: Those of which it said nothing.
        reasons: Why, by what happened.
    """

    name: str
    usable: bool | None = None
    asked: int = 0
    unscored: int = 0
    reasons: dict[str, int] = Field(default_factory=dict)


class PromptCheck(Record):
    """What a file of prompts is like.

    `lengths` are words (characters where words are not spaced): the least, the middle, 95 %, most.
    `near_duplicates` have an earlier prompt of similarity 0.5 or more that is no twin of theirs;
    `in_suites` one in the shipped suites. `meet_none` call for no principle. Rows are named by
    their ids.
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
    meet_none: int
    meet_none_ids: tuple[str, ...]
    by_kind_share: dict[str, float]
    assessor: Assessor | None = None

    @property
    def not_met(self) -> list[str]:
        """The principles that no prompt meets."""
        return [c.principle for c in self.principles if not c.met]

    @property
    def gaps(self) -> list[str]:
        """The principles that lack prompts of some kind."""
        return [c.principle for c in self.principles if c.lacks]


def read_source(source: str, constitution: Constitution) -> tuple[list[Aimed], int]:
    """The prompts of a source, and how many rows are none.

    Raises:
        CaiError: There is no such source, or no row can be used.
    """
    items = list(Intake(source, kind="unknown"))
    read = [aimed(item, constitution) for item in items if isinstance(item, Prompt)]
    if not read:
        raise CaiError(f"{source}: no prompt can be used", "docs/prompts.md says what a row is.")
    return read, len(items) - len(read)


def check_prompts(
    source: str,
    constitution: Constitution,
    *,
    settings: Settings | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    retry_failed: bool = False,
    engine: Engine | None = None,
) -> PromptCheck:
    """What a source of prompts covers of a constitution.

    No model is asked unless there are settings: those that name a critic, which says of each prompt
    and each principle in words whether the one calls for the other. One that was not found usable
    is asked nothing, and the tags say it.

    Args:
        source: As `cai generate` reads it.
        constitution: Whose principles.
        settings: Those that name the critic.
        folder: Where its calls are kept; `calls_of(source)`, if nothing is said.
        progress: Shows how far it is.
        retry_failed: Ask again where it could not answer.
        engine: A critic that is there already.

    Raises:
        CaiError: There is no such source, no row can be used, the critic does not answer.
    """
    read, unusable = read_source(source, constitution)
    prompts = [row.prompt for row in read]
    assessor, found = None, None
    if settings is not None:
        calls, progress = Path(folder or calls_of(source)), progress or Quiet()
        critic = critic_of(settings, constitution, calls, engine)
        assessor = Assessor(name=critic.name)
        if any(asked_about(constitution, prompt) for prompt in prompts):
            usable = found_usable(critic, calls, progress)
            assessor = Assessor(name=critic.name, usable=usable)
        if assessor.usable:
            found = opinions(
                prompts, critic, folder=calls, progress=progress, retry_failed=retry_failed
            )
            assessor = _assessor(assessor, found)
    return _check(read, unusable, constitution, assessor, found)


def calls_of(source: str) -> Path:
    """Where the calls about a source are kept unless somebody says where."""
    return folder_for("prompts-check", Path(source.removeprefix("hf:")).name)


def _assessor(asked: Assessor, found: Sequence[Opinion]) -> Assessor:
    errors = Counter(opinion.error for opinion in found if opinion.error is not None)
    reasons = dict(errors.most_common(_NAMED))
    facts = {"asked": len(found), "unscored": errors.total(), "reasons": reasons}
    return asked.model_copy(update=facts)


def _check(
    read: Sequence[Aimed],
    unusable: int,
    constitution: Constitution,
    assessor: Assessor | None,
    found: Sequence[Opinion] | None,
) -> PromptCheck:
    prompts = [row.prompt for row in read]
    texts = [said(prompt) for prompt in prompts]
    near, suites = _near(prompts, texts), _in_suites(prompts, texts)
    personal = [p.id for p, text in zip(prompts, texts, strict=True) if personal_spans(text)]
    none = [row.prompt.id for n, row in enumerate(read) if meets_none(constitution, row, n, found)]
    kinds = Counter(prompt.kind for prompt in prompts)
    return PromptCheck(
        prompts=len(prompts),
        unusable=unusable,
        kinds={kind: kinds[kind] for kind in (*KINDS, "unknown") if kinds[kind]},
        languages=languages(texts),
        topics=dict(Counter(topic for p in prompts for topic in _topics(p)).most_common(_NAMED)),
        multi_turn=sum(len(p.messages) > 2 for p in prompts),
        lengths=_lengths(texts),
        principles=tuple(coverage(p, read, found) for p in constitution.principles),
        near_duplicates=len(near),
        near_duplicate_ids=tuple(near[:_NAMED]),
        in_suites=len(suites),
        in_suite_ids=tuple(suites[:_NAMED]),
        personal_data=len(personal),
        personal_data_ids=tuple(personal[:_NAMED]),
        meet_none=len(none),
        meet_none_ids=tuple(none[:_NAMED]),
        by_kind_share={kind: kinds[kind] / len(prompts) for kind in KINDS},
        assessor=assessor,
    )


def _topics(prompt: Prompt) -> list[str]:
    return [tag for tag in prompt.tags if not tag.startswith("style: ")][:1]


def _near(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[str]:
    """The prompts near an earlier one that is not their twin.

    The join names the earliest partner alone. Without the one half of all twins, and without the
    other, no twin stands before another partner.
    """
    near: set[int] = set()
    for left_out in (None, "red-team", "borderline"):
        numbers = [n for n, prompt in enumerate(prompts) if prompt.kind != left_out]
        found = earlier_duplicates(shingles(texts[n] for n in numbers), NEAR)
        pairs = ((numbers[n], numbers[other]) for n, other in enumerate(found.rows) if other >= 0)
        near |= {n for n, other in pairs if not _are_twins(prompts[n], prompts[other])}
    return [prompts[n].id for n in sorted(near)]


def _are_twins(one: Prompt, other: Prompt) -> bool:
    kinds = {one.kind, other.kind}
    return one.group is not None and one.group == other.group and kinds == _TWINS


def _in_suites(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[str]:
    suites = [said(i.prompt) for suite in read_suites(ALL) for i in suite.items]
    found = duplicates_between(shingles(suites), shingles(texts), NEAR)
    return [prompts[int(n)].id for n in np.flatnonzero(found.rows >= 0)]


def _lengths(texts: Sequence[str]) -> tuple[int, int, int, int]:
    counts = [len(pieces(text)) for text in texts]
    low, middle, high, most = np.quantile(counts, (0, 0.5, 0.95, 1), method="nearest")
    return int(low), int(middle), int(high), int(most)


def advice(check: PromptCheck, source: str, constitution: Constitution, file: str) -> str | None:
    """The command that fills the gaps, where there are any.

    Each kind of a principle gets its share of the prompts by weight: so many are asked for that the
    largest gap is filled; with a seed of their own, as the same draws would be near to the others.

    Args:
        check: What is there.
        source: The prompts, which the others are not to be near to.
        constitution: Whose principles.
        file: Its name.
    """
    gaps = [c for c in check.principles if c.lacks]
    if not gaps:
        return None
    weights = {p.id: p.weight for p in constitution.principles}
    shares = sum(weights[c.principle] * len(c.kinds) for c in gaps)
    most = max((ENOUGH - c.of_kind.get(k, 0)) / weights[c.principle] for c in gaps for k in c.lacks)
    named = [f"--principle {c.principle}" for c in gaps] if len(gaps) < len(weights) else []
    parts = ["cai prompts write", f"--constitution {shlex.quote(file)}", *named, "--model NAME"]
    parts += [f"--count {math.ceil(most * shares)}", f"--avoid {shlex.quote(source)}"]
    parts += [f"--seed {check.prompts}"]
    return " ".join([*parts, "--out more.jsonl"])
