"""What differs between two runs, row by row, counted."""

from __future__ import annotations

import hashlib
import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import intern
from typing import Any, NamedTuple, TypeVar

from cai.dataset.rows import edit_distance
from cai.dataset.run_change import LabelChange, LabelCounts, RevisionChange
from cai.dataset.traces import Place, finals
from cai.records import canonical_json, mean_p

T = TypeVar("T")
_Asked = tuple[tuple[str, float], ...]  # per principle: its p_a
NO_PAIR = "no pair"  # the pair was never made, or its label failed


class _Label(NamedTuple):
    """A pair as it is kept of run A; p_a is None where it has no label."""

    texts: bytes
    p_a: float | None
    dropped: str | None
    asked: _Asked

    @property
    def is_row(self) -> bool:
        return self.p_a is not None and self.dropped is None


class _Trace(NamedTuple):
    """A trace as it is kept of run A: digests for texts; no response where there is no chain."""

    prompt: bytes
    response: bytes | None
    final: bytes | None
    target: str | None
    principles: tuple[str, ...]
    pairs: dict[str, _Label]


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(canonical_json(value), digest_size=16).digest()


def trace(row: dict[str, Any]) -> _Trace:
    response, final = row["response"], row["final"]
    return _Trace(
        prompt=_digest(row["prompt"]),
        response=None if response is None else _digest(response),
        final=None if final is None else _digest(final),
        target=row["target"],
        principles=tuple(intern(step["principle_id"]) for step in row["steps"] or ()),
        pairs={intern(pair["source"]): _label(pair) for pair in row.get("pairs") or ()},
    )


def _label(pair: dict[str, Any]) -> _Label:
    return _Label(
        texts=_digest([pair["response_a"], pair["response_b"]]),
        p_a=pair["p_a"],
        dropped=pair["dropped"],
        asked=tuple(
            (intern(j["principle_id"]), mean_p(j["q_ab"], j["q_ba"]))
            for j in pair["judgements"] or ()
        ),
    )


def _flips(before: float, after: float) -> bool:
    """Whether the preferred side changed; at 0.5 there is none."""
    return before < 0.5 < after or after < 0.5 < before


def mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _counters() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


def _lists() -> defaultdict[str, list[float]]:
    return defaultdict(list)


@dataclass
class DiffTally:
    """What is counted so far, by the records' fields, and the largest changes in order of rank."""

    show: int
    different: int = 0
    reworded: int = 0
    prompts: Counter[str] = field(default_factory=Counter)
    chains: Counter[str] = field(default_factory=Counter)
    revisions: Counter[str] = field(default_factory=Counter)
    by_principle: defaultdict[str, Counter[str]] = field(default_factory=_counters)
    labels: defaultdict[str, Counter[str]] = field(default_factory=_counters)
    only_before: defaultdict[str, Counter[str]] = field(default_factory=_counters)
    only_after: defaultdict[str, Counter[str]] = field(default_factory=_counters)
    label_changes: defaultdict[str, list[float]] = field(default_factory=_lists)
    judged: defaultdict[str, Counter[str]] = field(default_factory=_counters)
    judged_changes: defaultdict[str, list[float]] = field(default_factory=_lists)
    largest_labels: list[LabelChange] = field(default_factory=list)
    largest_revisions: list[RevisionChange] = field(default_factory=list)

    def label_counts(self, source: str) -> LabelCounts:
        return LabelCounts(
            **self.labels[source],
            mean_change=mean(self.label_changes[source]),
            only_before=dict(sorted(self.only_before[source].items())),
            only_after=dict(sorted(self.only_after[source].items())),
        )

    def keep(self, largest: list[T], item: T, rank: Callable[[T], Any]) -> None:
        insort(largest, item, key=rank)
        del largest[self.show :]


def count_batch(
    tally: DiffTally, traces: dict[str, tuple[Place, _Trace]], rows: list[dict[str, Any]]
) -> None:
    """Hold some rows of run B against run A."""
    revised: list[tuple[dict[str, Any], _Trace, _Trace]] = []
    for row in rows:
        if row["id"] not in traces:
            tally.prompts["only_after"] += 1
            continue
        old, new = traces[row["id"]][1], trace(row)
        tally.prompts["both"] += 1
        tally.different += old != new
        tally.reworded += old.prompt != new.prompt
        _count_chain(tally, old, new)
        for source in sorted({*old.pairs, *new.pairs}):
            _count_pair(tally, source, row, old.pairs.get(source), new.pairs.get(source))
        if None not in (old.final, new.final) and old.final != new.final:
            revised.append((row, old, new))
    if tally.show and revised:
        names = {row["id"] for row, _, _ in revised}
        texts = finals((traces[name][0] for name in names), names)
        for row, old, new in revised:
            change = _revision_change(row, texts[row["id"]], old, new)
            tally.keep(tally.largest_revisions, change, lambda c: (-c.edit_distance, c.prompt_id))


def _count_chain(tally: DiffTally, old: _Trace, new: _Trace) -> None:
    """Count a chain for all rows and for each principle of its steps in either run."""
    if old.response is None or new.response is None:
        if old.response is not None or new.response is not None:
            tally.chains["only_after" if old.response is None else "only_before"] += 1
        return
    tally.chains["both"] += 1
    targets = (old.target, new.target)
    facts = {
        "rows": True,
        "other_principles": old.principles != new.principles,
        "other_response": old.response != new.response,
        "other_final": old.final != new.final,
        "revision_to_unchanged": targets == ("revision", "unchanged"),
        "unchanged_to_revision": targets == ("unchanged", "revision"),
    }
    tally.revisions.update(facts)
    for principle in {*old.principles, *new.principles}:
        tally.by_principle[principle].update(facts)


def _count_pair(
    tally: DiffTally, source: str, row: dict[str, Any], old: _Label | None, new: _Label | None
) -> None:
    """Count a pair of one source, which at least one of the runs has."""
    counts = tally.labels[source]
    before, after = old and old.p_a, new and new.p_a
    if before is None and after is None:
        counts["unlabelled"] += 1
    elif old is None or before is None:
        tally.only_after[source][(old and old.dropped) or NO_PAIR] += 1
    elif new is None or after is None:
        tally.only_before[source][(new and new.dropped) or NO_PAIR] += 1
    elif old.texts != new.texts:
        counts["another_pair"] += 1
    else:
        counts["same_pair"] += 1
        counts["changed"] += before != after
        counts["flips"] += _flips(before, after)
        counts["rows_lost"] += old.is_row and not new.is_row
        counts["rows_gained"] += new.is_row and not old.is_row
        tally.label_changes[source].append(abs(after - before))
        _count_judgements(tally, dict(old.asked), dict(new.asked))
        if before != after and tally.show:
            change = _label_change(row, source, (before, old.asked), (after, new.asked))
            tally.keep(tally.largest_labels, change, _label_rank)


def _count_judgements(tally: DiffTally, old: dict[str, float], new: dict[str, float]) -> None:
    for principle in {*old, *new}:
        counts = tally.judged[principle]
        if principle not in new:
            counts["only_before"] += 1
        elif principle not in old:
            counts["only_after"] += 1
        else:
            counts["asked_in_both"] += 1
            counts["flips"] += _flips(old[principle], new[principle])
            tally.judged_changes[principle].append(abs(new[principle] - old[principle]))


def _label_rank(change: LabelChange) -> tuple[bool, float, str, str]:
    size = abs(change.p_a_after - change.p_a_before)
    return not change.flipped, -size, change.prompt_id, change.source


def _label_change(
    row: dict[str, Any], source: str, old: tuple[float, _Asked], new: tuple[float, _Asked]
) -> LabelChange:
    pair = next(p for p in row["pairs"] if p["source"] == source)
    return LabelChange(
        prompt_id=row["id"],
        source=source,
        prompt=row["prompt"][-1]["content"],
        response_a=pair["response_a"],
        response_b=pair["response_b"],
        p_a_before=old[0],
        p_a_after=new[0],
        flipped=_flips(old[0], new[0]),
        principles_before=tuple(name for name, _ in old[1]),
        principles_after=tuple(name for name, _ in new[1]),
    )


def _revision_change(row: dict[str, Any], text: str, old: _Trace, new: _Trace) -> RevisionChange:
    return RevisionChange(
        prompt_id=row["id"],
        prompt=row["prompt"][-1]["content"],
        edit_distance=edit_distance(text, row["final"]),
        same_response=old.response == new.response,
        final_before=text,
        final_after=row["final"],
        principles_before=old.principles,
        principles_after=new.principles,
    )
