"""The rows of a run's files: one by one, or the traces in batches, column by column."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.run import Run
from cai.dataset.schema import SPLITS, Split
from cai.errors import CaiError

BATCH = 1000
_COLUMNS = {
    *("id", "prompt.role", "prompt.content", "response", "steps.principle_id", "final", "target"),
    *(f"pairs.{name}" for name in ("source", "response_a", "response_b", "p_a", "dropped")),
    *(f"pairs.judgements.{name}" for name in ("principle_id", "q_ab", "q_ba")),
}

_LEVELS = {"list", "element", "item"}  # how Parquet names the inside of a list


def rows_of(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a batch in memory at a time; none where there is no file.

    Raises:
        CaiError: The file is damaged.
    """
    if not path.is_file():
        return
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise damaged(path) from error


def traces(
    folder: Path, columns: list[str] | None = None
) -> Iterator[tuple[Split, dict[str, Any]]]:
    """All traces of a run, each with its split; none where it has none."""
    for split in SPLITS:
        for row in rows_of(folder / "traces" / f"{split}.parquet", columns):
            yield split, row


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines; none where there is no file.

    Raises:
        CaiError: A line is no JSON.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise CaiError(f"{path}:{number}: damaged", "Mend or remove the line.") from None


class Place(NamedTuple):
    """Where a row stands: the file and the row group."""

    path: Path
    group: int


def batches(run: Run) -> Iterator[tuple[Place, list[dict[str, Any]]]]:
    """The needed columns of all traces, in batches that do not cross row groups."""
    for split in SPLITS:
        path = run.folder / "traces" / f"{split}.parquet"
        if not path.is_file():
            continue
        try:
            with pq.ParquetFile(path) as file:
                columns = _columns(file)
                for group in range(file.num_row_groups):
                    parts = file.iter_batches(BATCH, row_groups=[group], columns=columns)
                    for batch in parts:
                        yield Place(path, group), batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise damaged(path) from error


def _columns(file: Any) -> list[str]:
    """The paths of the needed columns in this file; critiques and reasoning are not read."""
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    return [p for p in paths if ".".join(x for x in p.split(".") if x not in _LEVELS) in _COLUMNS]


def damaged(path: Path) -> CaiError:
    return CaiError(f"{path}: damaged", "Run the same cai generate command again.")


def finals(places: Iterable[Place], ids: set[str]) -> dict[str, str]:
    """The final texts of these prompts, from the row groups in which they stand."""
    texts: dict[str, str] = {}
    for path, group in sorted(set(places)):
        try:
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(group, columns=["id", "final"])
        except (pa.ArrowException, OSError) as error:
            raise damaged(path) from error
        rows = zip(table.column("id").to_pylist(), table.column("final").to_pylist(), strict=True)
        texts |= {name: text for name, text in rows if name in ids}
    return texts
