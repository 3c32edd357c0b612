"""The datasets as they are sent: as they stand, or without the rows of some prompts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cai.dataset.schema import SPLITS
from cai.dataset.traces import lines_of
from cai.errors import CaiError

_BATCH = 2000


def prompt_of(row_id: str) -> str:
    """The prompt of a row: what stands before `#`, which names a step or a pair of it."""
    return row_id.partition("#")[0]


def prompt_ids(run: Path, ids: Iterable[str]) -> frozenset[str]:
    """The prompts of ids that are given of rows or prompts.

    Raises:
        CaiError: The run has no such row.
    """
    given = {prompt_of(name) for name in ids}
    if not given:
        return frozenset()
    there = {str(line["prompt_id"]) for line in lines_of(run / "failures.jsonl")}
    for name in ("sft", "preferences", "traces"):
        for split in SPLITS:
            path = run / name / f"{split}.parquet"
            if path.is_file():
                for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=["id"]):
                    there |= {prompt_of(row_id) for row_id in batch.column(0).to_pylist()}
    if missing := sorted(given - there):
        raise CaiError(
            f"{run}: no row has the id {missing[0]}", "cai show RUN --ids lists all of them."
        )
    return frozenset(given)


def place(source: Path, target: Path, without: Collection[str] = ()) -> bool:
    """Put a Parquet file in its place: a link, or a copy without the rows of some prompts.

    Returns:
        Whether anything was left of it; a file without rows is not written.
    """
    if not without:
        link(source, target)
        return True
    tables = []
    with pq.ParquetFile(source) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            prompts = pc.list_element(pc.split_pattern(table.column("id"), "#", max_splits=1), 0)
            left_out = pc.is_in(prompts, value_set=pa.array(sorted(without)))
            tables.append(table.filter(pc.invert(left_out)))
    kept = pa.concat_tables(tables) if tables else None
    if kept is None or not kept.num_rows:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(kept, target)
    return True


def place_failures(source: Path, target: Path, without: Collection[str] = ()) -> None:
    """Write the failures without those of some prompts, and without the places of their files."""
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as out:
        for line in lines:
            row = json.loads(line)
            if row["prompt_id"] not in without:
                out.write(json.dumps({**row, "where": None}, ensure_ascii=False) + "\n")


def link(source: Path, target: Path) -> None:
    """A link to a file of the run, so that nothing large is copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())
