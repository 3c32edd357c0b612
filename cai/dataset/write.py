"""Journal → sft, preferences and traces: files that are whole or not there."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.rows import preference_rows, sft_rows, trace_row, why_dropped
from cai.dataset.schema import DATASETS, SPLITS, Split, schema_of, split_of
from cai.files import publish, sync
from cai.method import Method
from cai.records import Failure, Row

ROW_GROUP = 1000


def write_datasets(
    folder: Path, outcomes: Iterable[Row | Failure], method: Method, judge: str = ""
) -> Counter[str]:
    """Write `sft/`, `preferences/`, `traces/` and `failures.jsonl` in prompt order; count rows.

    All files are written under temporary names and synced before the first is renamed.
    """
    counts: Counter[str] = Counter()
    version = method.settings.method_version
    tables = {name: _Table(folder / name, schema_of(name, version)) for name in DATASETS}
    failures = folder / ".failures.jsonl.tmp"
    try:
        with failures.open("w", encoding="utf-8") as file:
            for outcome in outcomes:
                failed = [outcome] if isinstance(outcome, Failure) else outcome.failures
                for failure in failed:
                    record = failure.model_dump(mode="json", exclude_none=True)
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                    counts[counted_as(failure)] += 1
                if isinstance(outcome, Row):
                    _add_row(outcome, method, judge, tables, counts)
            file.flush()
            os.fsync(file.fileno())
        for table in tables.values():
            table.finish()
    finally:
        for table in tables.values():
            table.close()
    for table in tables.values():
        table.publish()
    publish(failures, folder / "failures.jsonl")
    return counts


def counted_as(failure: Failure) -> str:
    """Under what a failure is counted: a prompt without a row, or a row without a part."""
    if failure.stage == "assess":
        return "failures.assessments"
    return "failures" if failure.pair is None else "failures.pairs"


def _add_row(
    row: Row, method: Method, judge: str, tables: Mapping[str, _Table], counts: Counter[str]
) -> None:
    split = split_of(row.prompt, method.settings.test_share)
    trace = trace_row(row, method)
    by_table = {
        "sft": list(sft_rows(row, method)),
        "preferences": list(preference_rows(row, method, judge)),
        "traces": [trace] if trace is not None else [],
    }
    for name, rows in by_table.items():
        for data in rows:
            tables[name].add(split, data)
            counts[f"{name}.{split}"] += 1
    if row.chain is not None and trace is not None:
        counts[f"target.{trace['target']}"] += 1
        verdicts = [step.verdict for step in row.chain.steps if step.verdict is not None]
        counts["verdicts"] += len(verdicts)
        counts["verdicts.inconsistent"] += sum(not verdict.consistent for verdict in verdicts)
        if trace["not_in_sft"] is not None and "sft" in method.settings.stages:
            counts[f"not in sft.{trace['not_in_sft']}"] += 1
    verified = row.verified(method.judge.usable)
    if verified is not None:
        counts[f"verified.{'better' if verified else 'worse'}"] += 1
    if method.sources and not method.sources_for(row.prompt):
        counts["pairs.no principle"] += 1
    for pair in row.pairs:
        counts[f"pairs.{pair.source}.{why_dropped(pair, method) or 'labelled'}"] += 1


def rewrite(path: Path, keep: Callable[[dict[str, Any]], bool]) -> int:
    """Write a dataset's file again with the rows to keep, as if it had no others; how many went.

    A file of which nothing goes is left alone, one of which nothing stays is removed.

    Raises:
        pa.ArrowException, OSError: The file cannot be read or written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    rest: list[dict[str, Any]] = []
    with pq.ParquetFile(path) as file:
        # What is read calls the inside of a list otherwise than what was written, and is equal.
        known = [schema_of(path.parent.name, version) for version in (2, 1)]
        schema = next((s for s in known if s.equals(file.schema_arrow)), file.schema_arrow)
        left = 0
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for number in range(file.num_row_groups):
                rest += filter(keep, file.read_row_group(number).to_pylist())
                last = number == file.num_row_groups - 1
                while len(rest) >= ROW_GROUP or (last and rest):
                    some, rest = rest[:ROW_GROUP], rest[ROW_GROUP:]
                    left += len(some)
                    table = pa.Table.from_pylist(some, schema=schema)
                    writer.write_table(table, row_group_size=ROW_GROUP)
        gone = int(file.metadata.num_rows) - left
    if gone and left:
        sync(temporary)
        publish(temporary, path)
        return gone
    temporary.unlink()
    if gone:
        path.unlink()
        sync(path.parent)
    return gone


class _Table:
    """The Parquet files of one dataset, a file per split, written a row group at a time."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._rows: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self._writers: dict[Split, pq.ParquetWriter] = {}
        folder.mkdir(exist_ok=True)

    def _temporary(self, split: Split) -> Path:
        return self._folder / f".{split}.parquet.tmp"

    def add(self, split: Split, row: dict[str, Any]) -> None:
        self._rows[split].append(row)
        if len(self._rows[split]) == ROW_GROUP:
            self._flush(split)

    def _flush(self, split: Split) -> None:
        if split not in self._writers:
            self._writers[split] = pq.ParquetWriter(
                self._temporary(split), self._schema, compression="zstd"
            )
        self._writers[split].write_table(
            pa.Table.from_pylist(self._rows[split], schema=self._schema), row_group_size=ROW_GROUP
        )
        self._rows[split].clear()

    def finish(self) -> None:
        """Write what is left and see it to the disk."""
        for split in SPLITS:
            if self._rows[split]:
                self._flush(split)
        self.close()
        for split in self._writers:
            with self._temporary(split).open("rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def publish(self) -> None:
        """Put the new files in place; a split that is empty now leaves no file."""
        for split in SPLITS:
            final = self._folder / f"{split}.parquet"
            if split in self._writers:
                publish(self._temporary(split), final)
            else:
                final.unlink(missing_ok=True)
