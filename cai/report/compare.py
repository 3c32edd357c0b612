"""The page of two runs: what is different in the later one, with both chains of each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.diff import diff_runs
from cai.dataset.diff_counts import trace as digested
from cai.dataset.rows import edit_distance
from cai.dataset.run import Run
from cai.dataset.run_change import RunDiff
from cai.dataset.schema import SPLITS
from cai.dataset.traces import Place, damaged, traces
from cai.records import digest
from cai.report.content import EMPTY, Content
from cai.report.facts import Facts, facts
from cai.report.finished import about, settings_of
from cai.report.listed import Listing, write_rows
from cai.report.record import whole
from cai.report.rows import Item
from cai.report.words import plural

_CHANGE = (
    "How far the two final texts are apart, from 0 to 1; where only labels changed, by how much "
    "the probability of the better answer changed."
)


def compare_content(before: Path, after: Path) -> Content:
    """The parts of the page of two runs.

    Raises:
        CaiError: A folder is no finished run, or a file in it is damaged.
    """
    one, other = Run.load(before), Run.load(after)
    diff = diff_runs(before, after, 0)

    def write(file: IO[str], limit: int) -> Mapping[str, Any]:
        listing = Listing(lambda: changed(one, other), _facts, whole, {}, limit)
        return write_rows(file, listing)

    def values() -> dict[str, Any]:
        return {
            **EMPTY,
            "title": f"{before.resolve().name} → {after.resolve().name}",
            "state": _words(diff),
            "facts": {"Before": str(before), "After": str(after), **about(other.manifest)},
            "settings": settings_of(after),
            "tables": [table for table in _tables(diff) if table["rows"]],
            "rows": True,
            "labels": True,
            "surprise": _CHANGE,
        }

    notes = digest([str(folder.resolve()) for folder in (before, after)])[:16]
    meta = {"kind": "compare", "chains": True, "notes": notes, "sft": True}
    return Content(write, values, meta)


def changed(before: Run, after: Run) -> Iterator[Item]:
    """The rows of the later run that are not as they were, then those that are gone."""
    places = {row_id: (place, digest) for place, row_id, digest in _digests(before)}
    groups = _Groups()
    for split, row in traces(after.folder):
        old = places.pop(row["id"], None)
        if old is None:
            yield Item(row, split, [])
        elif old[1] != digested(row):
            yield Item(row, split, [], other=groups.row(old[0], row["id"]))
    for row_id, (place, _) in places.items():
        yield Item({**groups.row(place, row_id), "gone": True}, place.path.stem, [])


def _digests(run: Run) -> Iterator[tuple[Place, str, object]]:
    for split in SPLITS:
        path = run.folder / "traces" / f"{split}.parquet"
        if not path.is_file():
            continue
        try:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    for batch in file.iter_batches(200, row_groups=[group]):
                        for row in batch.to_pylist():
                            yield Place(path, group), row["id"], digested(row)
        except (pa.ArrowException, OSError) as error:
            raise damaged(path) from error


class _Groups:
    """Rows by their place; the last row groups stay in memory, as both runs have one order."""

    def __init__(self) -> None:
        self._kept: dict[Place, dict[str, dict[str, Any]]] = {}

    def row(self, place: Place, row_id: str) -> dict[str, Any]:
        if place not in self._kept:
            if len(self._kept) >= 2:
                del self._kept[next(iter(self._kept))]
            with pq.ParquetFile(place.path) as file:
                rows = file.read_row_group(place.group).to_pylist()
            self._kept[place] = {row["id"]: row for row in rows}
        return self._kept[place][row_id]


def _facts(item: Item) -> Facts:
    """What the list knows of a row: what changed stands where its outcome would."""
    known, new, old = facts(item, sft=True), item.trace, item.other
    if old is None:
        return known._replace(outcome="only before" if new.get("gone") else "only after")
    texts = new["final"] != old["final"]
    labels = _labels(new) != _labels(old)
    what = [name for name, yes in (("other text", texts), ("other label", labels)) if yes]
    edit = edit_distance(old["final"] or "", new["final"] or "")
    return known._replace(
        outcome=" and ".join(what) or "other rounds",
        edit=edit,
        surprise=edit if texts else min(_moved(new, old), 1.0),
    )


def _labels(trace: dict[str, Any]) -> dict[str, float | None]:
    return {pair["source"]: pair["p_a"] for pair in trace.get("pairs") or ()}


def _moved(new: dict[str, Any], old: dict[str, Any]) -> float:
    before, after = _labels(old), _labels(new)
    both = (abs((after[s] or 0.5) - (before[s] or 0.5)) for s in before.keys() & after.keys())
    return max(both, default=0.0)


def _words(diff: RunDiff) -> str:
    if diff.same_data and diff.same_constitution:
        return "Nothing changed: same principles, revisions and labels."
    words = f"{plural(diff.different, 'prompt')} of {diff.prompts.both:,} in both runs changed."
    if diff.also_changed:
        words += f" Besides the constitution, this is different: {', '.join(diff.also_changed)}."
    return words


def _tables(diff: RunDiff) -> Iterable[dict[str, Any]]:
    change = diff.constitution
    edits = [("added", name) for name in change.added]
    edits += [("removed", name) for name in change.removed]
    edits += [("edited", f"{p.id}: {', '.join(p.fields)}") for p in change.edited]
    edits += [("changed", name) for name in change.other]
    yield _table("What changed in the constitution", ("change", "what"), edits) | {"words": True}
    revisions = [*diff.revisions_by_principle.items(), ("all", diff.revisions)]
    yield _table(
        "Revisions, by the principles of their rounds",
        ("principle", "rows", "other first answer", "other final text", "revised → unchanged",
         "unchanged → revised"),
        [
            (name, r.rows, r.other_response, r.other_final, r.revision_to_unchanged,
             r.unchanged_to_revision)
            for name, r in revisions
            if diff.revisions.rows
        ],
    )  # fmt: skip
    yield _table(
        "Labels, by the source of the pair",
        ("pairs", "same pair", "label changed", "winner changed", "no row any more", "new row",
         "another pair", "only before", "only after"),
        [
            (name, p.same_pair, p.changed, p.flips, p.rows_lost, p.rows_gained, p.another_pair,
             sum(p.only_before.values()), sum(p.only_after.values()))
            for name, p in diff.labels.items()
        ],
    )  # fmt: skip
    yield _table(
        "Judgements, by principle (same pairs)",
        ("principle", "in both", "mean change", "winner changed", "only before", "only after"),
        [
            (name, j.asked_in_both, "–" if j.mean_change is None else f"{j.mean_change:.3f}",
             j.flips, j.only_before, j.only_after)
            for name, j in diff.judgements.items()
        ],
    )  # fmt: skip


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> dict[str, Any]:
    cells = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    return {"title": title, "head": list(head), "rows": cells, "words": False}
