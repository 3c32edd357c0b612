"""A run folder, as it is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from cai.dataset.schema import DATASETS, SPLITS, Manifest
from cai.errors import CaiError
from cai.files import JOURNAL
from cai.records import Failure

if TYPE_CHECKING:
    from datasets import DatasetDict


class Run:
    """What `cai generate` left in a folder.

    Raises:
        CaiError: The folder is no run, or the run has not come to its end.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / JOURNAL).is_file() and not self._manifest_path.is_file():
            raise CaiError(
                f"{folder}: not a run folder", "Give the folder that cai generate wrote (--out)."
            )
        if not self._manifest_path.is_file():
            raise CaiError(
                f"{folder}: this run has no datasets yet",
                "Run the same cai generate command again: it goes on where it stopped.",
            )

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        return cls(folder)

    @property
    def _manifest_path(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def manifest(self) -> Manifest:
        try:
            return Manifest.model_validate_json(self._manifest_path.read_bytes())
        except ValueError:
            raise CaiError(
                f"{self._manifest_path}: damaged", "Run the same cai generate command again."
            ) from None

    @property
    def sft(self) -> DatasetDict:
        return self._dataset("sft")

    @property
    def preferences(self) -> DatasetDict:
        return self._dataset("preferences")

    @property
    def traces(self) -> DatasetDict:
        return self._dataset("traces")

    def check_files(self) -> None:
        """Refuse a folder in which a file of rows is missing: what is counted of it would be wrong.

        A published folder has no traces at all.

        Raises:
            CaiError: The file, and how many rows it should have.
        """
        counts = self.manifest.counts
        for dataset in DATASETS:
            rows = {split: counts.get(f"{dataset}.{split}", 0) for split in SPLITS}
            files = {split: self.folder / dataset / f"{split}.parquet" for split in SPLITS}
            lost = [split for split, n in rows.items() if n and not files[split].is_file()]
            if lost and (dataset != "traces" or any(file.is_file() for file in files.values())):
                raise CaiError(
                    f"{files[lost[0]]}: missing; it had {rows[lost[0]]:,} rows",
                    "Fetch the file again, or run the same cai generate command again.",
                )

    def __repr__(self) -> str:
        counts = self.manifest.counts
        rows = {
            name: sum(counts.get(f"{name}.{split}", 0) for split in SPLITS)
            for name in ("sft", "preferences", "traces")
        }
        words = ", ".join(f"{n:,} {name}" for name, n in rows.items())
        return f"Run({str(self.folder)!r}: {words} rows, {counts.get('failures', 0):,} failures)"

    def _dataset(self, name: str) -> DatasetDict:
        from datasets import load_dataset

        if not any((self.folder / name / f"{split}.parquet").is_file() for split in SPLITS):
            raise CaiError(
                f"{self.folder}: the {name} dataset is empty: {self.why_empty(name)}",
                f"cai show {self.folder} --failed lists the failures; the pairs that gave no row "
                "are in the traces, each with its reason.",
            )
        return load_dataset(str(self.folder), name)

    def why_empty(self, name: str) -> str:
        """Why a dataset has no row, with counts."""
        manifest = self.manifest
        counts, failed = manifest.counts, Counter(f.error for f in self.failures if f.pair is None)
        parts = [f"{n:,} prompts failed ({reason})" for reason, n in failed.most_common()]
        if name == "preferences":
            dropped = without_row(counts)
            parts = [f"{n:,} {reason}" for reason, n in dropped.items()] + parts
            if not any(key.startswith("pairs.") for key in counts):
                parts.append("no pairs were made (stages, or no principle that compares)")
        return ", ".join(parts) or "there were no prompts for it"

    @property
    def failures(self) -> list[Failure]:
        path = self.folder / "failures.jsonl"
        if not path.is_file():
            raise CaiError(f"{path}: missing", "Run the same cai generate command again.")
        with path.open(encoding="utf-8") as file:
            return [Failure.model_validate(json.loads(line)) for line in file]

    def trace(self, prompt_id: str) -> dict[str, Any] | None:
        """The trace of one prompt, or None."""
        for split in SPLITS:
            path = self.folder / "traces" / f"{split}.parquet"
            if path.is_file():
                rows = pq.read_table(path, filters=[("id", "==", prompt_id)]).to_pylist()
                if rows:
                    return dict(rows[0])
        return None

    def trace_ids(self, count: int) -> list[str]:
        """Ids of the first traces."""
        ids: list[str] = []
        for split in SPLITS:
            path = self.folder / "traces" / f"{split}.parquet"
            if path.is_file() and len(ids) < count:
                batch = next(pq.ParquetFile(path).iter_batches(count, columns=["id"]))
                ids += batch.column(0).to_pylist()
        return ids[:count]

    def ids(self) -> Iterator[tuple[str, str | None]]:
        """Id and outcome of every chain, in the order of the files."""
        for split in SPLITS:
            path = self.folder / "traces" / f"{split}.parquet"
            if path.is_file():
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(columns=["id", "target"]):
                        columns = (column.to_pylist() for column in batch.columns)
                        yield from zip(*columns, strict=True)

    def first_id(self) -> str | None:
        """Id of the first chain with a revision, else of the first chain."""
        for split in SPLITS:
            path = self.folder / "traces" / f"{split}.parquet"
            if path.is_file():
                revised = [("target", "==", "revision")]
                ids = pq.read_table(path, columns=["id"], filters=revised).column("id")
                if len(ids):
                    return str(ids[0].as_py())
        return next(iter(self.trace_ids(1)), None)


def without_row(counts: Mapping[str, int]) -> dict[str, int]:
    """Pairs that became no row of `preferences`, by reason, of a manifest's counts."""
    reasons: Counter[str] = Counter()
    for key, n in counts.items():
        reason = key.rpartition(".")[2]
        if key.startswith("pairs.") and reason != "labelled":
            reasons[reason] += n
    if counts.get("failures.pairs"):
        reasons["failed"] = counts["failures.pairs"]
    return dict(reasons)
