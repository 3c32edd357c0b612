"""The traces of a run in batches, read column by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.run import Run
from cai.dataset.schema import SPLITS
from cai.errors import CaiError

BATCH = 1000
_COLUMNS = {
    *("id", "prompt.role", "prompt.content", "response", "steps.principle_id", "final", "target"),
    *(f"pairs.{name}" for name in ("source", "response_a", "response_b", "p_a", "dropped")),
    *(f"pairs.judgements.{name}" for name in ("principle_id", "q_ab", "q_ba")),
}

_LEVELS = {"list", "element", "item"}  # how Parquet names the inside of a list


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
