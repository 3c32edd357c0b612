"""What changed between two runs: principles, revisions and labels, joined by the prompts' ids.

`before` is run A and `after` is run B. A pair is the same when both of its texts are: only then can
its labels be held against each other. Of run A only digests and numbers stay in memory.
"""

from __future__ import annotations

import hashlib
import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from cai.config import EXECUTION_KEYS, FILE_KEYS, PROMPT_KEYS, read_config
from cai.constitution.change import constitution_change
from cai.constitution.load import load
from cai.dataset.rows import edit_distance
from cai.dataset.run import Run
from cai.dataset.run_change import (
    JudgementCounts,
    LabelChange,
    LabelCounts,
    Presence,
    RevisionChange,
    RevisionCounts,
    RunDiff,
)
from cai.dataset.schema import SPLITS
from cai.errors import CaiError
from cai.records import Constitution, canonical_json

T = TypeVar("T")
_Asked = tuple[tuple[str, float], ...]  # per principle: its p_a

BATCH = 1000
NO_PAIR = "no pair"  # the pair was never made, or its label failed
_COLUMNS = {
    *("id", "prompt.role", "prompt.content", "response", "steps.principle_id", "final", "target"),
    *(f"pairs.{name}" for name in ("source", "response_a", "response_b", "p_a", "dropped")),
    *(f"pairs.judgements.{name}" for name in ("principle_id", "q_ab", "q_ba")),
}
_LEVELS = {"list", "element", "item"}  # how Parquet names the inside of a list


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


class _Place(NamedTuple):
    """Where a row stands: the file and the row group."""

    path: Path
    group: int


def diff_runs(a: Path, b: Path, show: int = 5) -> RunDiff:
    """What changed from run `a` to run `b`, with the `show` largest changes of either sort.

    Raises:
        CaiError: A folder is no finished run, or a file in it is damaged.
    """
    run_a, run_b = Run.load(a), Run.load(b)
    before, after = (load(run.folder / "constitution.yaml") for run in (run_a, run_b))
    tally = _Tally(show)
    kept = {row["id"]: (place, _trace(row)) for place, rows in _batches(run_a) for row in rows}
    for _, rows in _batches(run_b):
        _count_batch(tally, kept, rows)
    tally.prompts["only_before"] = len(kept) - tally.prompts["both"]
    order = _order(before, after)
    return RunDiff(
        constitution=constitution_change(before, after),
        also_changed=tuple(_also_changed(run_a, run_b)),
        prompts=Presence(**tally.prompts),
        different=tally.different,
        reworded=tally.reworded,
        chains=Presence(**tally.chains),
        revisions=RevisionCounts(**tally.revisions),
        revisions_by_principle={
            name: RevisionCounts(**counts)
            for name, counts in sorted(tally.by_principle.items(), key=order)
        },
        labels={source: tally.label_counts(source) for source in sorted(tally.labels)},
        judgements={
            name: JudgementCounts(**counts, mean_change=_mean(tally.judged_changes[name]))
            for name, counts in sorted(tally.judged.items(), key=order)
        },
        largest_label_changes=tuple(tally.largest_labels),
        largest_revision_changes=tuple(tally.largest_revisions),
    )


def _order(
    before: Constitution, after: Constitution
) -> Callable[[tuple[str, object]], tuple[int, str]]:
    """Principles as they stand in the later constitution, then those that were removed."""
    ids = dict.fromkeys(p.id for c in (after, before) for p in c.principles)
    places = {name: number for number, name in enumerate(ids)}
    return lambda item: (places.get(item[0], len(places)), item[0])


def _also_changed(a: Run, b: Run) -> Iterator[str]:
    """Models, words and settings that both runs name and that are not the same."""
    one, other = a.manifest, b.manifest
    yield from (f"model of the {role}" for role in _unequal(one.models, other.models))
    yield from (f"template {name}" for name in _unequal(one.templates, other.templates))
    if _unequal(one.judge, other.judge):
        yield "judge check"
    paths = [run.folder / "config.yaml" for run in (a, b)]
    if all(path.is_file() for path in paths):
        settings = _unequal(*map(read_config, paths))
        yield from (k for k in settings if k not in EXECUTION_KEYS | FILE_KEYS | PROMPT_KEYS)


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in sorted(one.keys() & other.keys()) if one[key] != other[key]]


def _batches(run: Run) -> Iterator[tuple[_Place, list[dict[str, Any]]]]:
    """The needed columns of all traces, in batches that do not cross row groups."""
    for split in SPLITS:
        path = run.folder / "traces" / f"{split}.parquet"
        if not path.is_file():
            continue
        try:
            with pq.ParquetFile(path) as file:
                columns = _columns(file)
                for group in range(file.num_row_groups):
                    found = file.iter_batches(BATCH, row_groups=[group], columns=columns)
                    for batch in found:
                        yield _Place(path, group), batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path) from error


def _columns(file: Any) -> list[str]:
    """The paths of the needed columns in this file; critiques and reasoning are not read."""
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    return [p for p in paths if ".".join(x for x in p.split(".") if x not in _LEVELS) in _COLUMNS]


def _damaged(path: Path) -> CaiError:
    return CaiError(f"{path}: damaged", "Run the same cai generate command again.")


def _finals(places: Iterable[_Place], wanted: set[str]) -> dict[str, str]:
    """The final texts of these prompts, from the row groups in which they stand."""
    found: dict[str, str] = {}
    for path, group in sorted(set(places)):
        try:
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(group, columns=["id", "final"])
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path) from error
        rows = zip(table.column("id").to_pylist(), table.column("final").to_pylist(), strict=True)
        found |= {name: text for name, text in rows if name in wanted}
    return found


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(canonical_json(value), digest_size=16).digest()


def _trace(row: dict[str, Any]) -> _Trace:
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
            (intern(j["principle_id"]), (1 + (j["q_ab"] - j["q_ba"])) / 2)
            for j in pair["judgements"] or ()
        ),
    )


def _flips(before: float, after: float) -> bool:
    """Whether the preferred side changed; at 0.5 there is none."""
    return before < 0.5 < after or after < 0.5 < before


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _counters() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


def _lists() -> defaultdict[str, list[float]]:
    return defaultdict(list)


@dataclass
class _Tally:
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
            mean_change=_mean(self.label_changes[source]),
            only_before=dict(sorted(self.only_before[source].items())),
            only_after=dict(sorted(self.only_after[source].items())),
        )

    def keep(self, found: list[T], item: T, rank: Callable[[T], Any]) -> None:
        insort(found, item, key=rank)
        del found[self.show :]


def _count_batch(
    tally: _Tally, kept: dict[str, tuple[_Place, _Trace]], rows: list[dict[str, Any]]
) -> None:
    """Hold some rows of run B against run A."""
    revised: list[tuple[dict[str, Any], _Trace, _Trace]] = []
    for row in rows:
        if row["id"] not in kept:
            tally.prompts["only_after"] += 1
            continue
        old, new = kept[row["id"]][1], _trace(row)
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
        texts = _finals((kept[name][0] for name in names), names)
        for row, old, new in revised:
            change = _revision_change(row, texts[row["id"]], old, new)
            tally.keep(tally.largest_revisions, change, lambda c: (-c.edit_distance, c.prompt_id))


def _count_chain(tally: _Tally, old: _Trace, new: _Trace) -> None:
    """Count a chain for all rows and for each principle of its steps in either run."""
    if old.response is None or new.response is None:
        if old.response is not None or new.response is not None:
            tally.chains["only_after" if old.response is None else "only_before"] += 1
        return
    tally.chains["both"] += 1
    targets = (old.target, new.target)
    found = {
        "rows": True,
        "other_principles": old.principles != new.principles,
        "other_response": old.response != new.response,
        "other_final": old.final != new.final,
        "revision_to_unchanged": targets == ("revision", "unchanged"),
        "unchanged_to_revision": targets == ("unchanged", "revision"),
    }
    tally.revisions.update(found)
    for principle in {*old.principles, *new.principles}:
        tally.by_principle[principle].update(found)


def _count_pair(
    tally: _Tally, source: str, row: dict[str, Any], old: _Label | None, new: _Label | None
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


def _count_judgements(tally: _Tally, old: dict[str, float], new: dict[str, float]) -> None:
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
