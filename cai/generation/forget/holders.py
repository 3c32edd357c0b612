"""Who else holds the rows of a run: revisions that were pushed, models, other run folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cai.dataset.schema import DATASETS, SPLITS
from cai.dataset.traces import lines_of, traces
from cai.files import file_digest
from cai.generation.forget.copies import Copies, Copy, is_dry_run
from cai.generation.tombstones import is_forgotten
from cai.records import Record

PUSHES = "pushes.jsonl"
_TRAINING = "training.json"


class Holders(Record):
    """What held a forgotten prompt and is not changed with the run.

    Attributes:
        pushes: Revisions on a hub, each with `repo`, `revision` and `commit`.
        models: Folders of models that were trained on the run, or on such a model.
        runs: Other run folders beside this one that have the prompt.
        copies: Exports, dry runs of a push and pages that may hold it still.
        gone: Folders of exports and dry runs that are not where they were.
    """

    pushes: tuple[dict[str, str | None], ...] = ()
    models: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    gone: tuple[str, ...] = ()


def holders_of(folder: Path, digests: set[str], left: Copies) -> Holders:
    """Who holds what is in a run folder; folders are looked for beside it.

    Args:
        folder: The run folder.
        digests: Of the prompts that are forgotten.
        left: The copies of its rows.
    """
    keys = ("repo", "revision", "commit")
    pushes = tuple({key: line.get(key) for key in keys} for line in lines_of(folder / PUSHES))
    beside = sorted(p for p in folder.resolve().parent.iterdir() if p.is_dir())
    others = [p for p in beside if p != folder.resolve()]
    return Holders(
        pushes=pushes,
        models=tuple(str(path) for path in _models(folder, others)),
        runs=tuple(str(path) for path in others if digests and _has(path, digests)),
        copies=left.left,
        gone=left.gone,
    )


def _models(folder: Path, others: list[Path]) -> list[Path]:
    """Trainings on the run's files, and those that go on from one of them."""
    records = {path: record for path in others if (record := _record(path)) is not None}
    files = {
        file_digest(path)
        for dataset in DATASETS
        for split in SPLITS
        if (path := folder / dataset / f"{split}.parquet").is_file()
    }
    taught = [
        path for path, record in records.items() if _names(record, path, folder.resolve(), files)
    ]
    while later := [
        path
        for path, record in records.items()
        if path not in taught
        and any(_is_inside(record["settings"].get("model"), path, base) for base in taught)
    ]:
        taught += later
    return sorted(taught)


def _record(folder: Path) -> dict[str, Any] | None:
    """What a training wrote about itself; None where there is nothing of the kind."""
    try:
        record = json.loads((folder / _TRAINING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("settings"), dict)
    return record if whole else None


def _names(record: dict[str, Any], trained: Path, run: Path, files: set[str]) -> bool:
    """Whether a training names a run, or files with these digests, as its data."""
    sources = record.get("data", {}).get("files", {})
    names = [record["settings"].get("data"), *sources]
    return bool(files & set(sources.values())) or any(
        _is_inside(name, trained, run) for name in names
    )


def _is_inside(name: str | None, trained: Path, folder: Path) -> bool:
    """Whether a name of a file is in a folder, seen from here or from where the training was."""
    if not name or name.startswith("hf:"):
        return False
    places = [Path(name), *(parent / name for parent in trained.parents)]
    return any(place.resolve().is_relative_to(folder) for place in places)


def _has(folder: Path, digests: set[str]) -> bool:
    return any(is_forgotten(row["prompt"], digests) for row in _traces(folder))


def _traces(folder: Path) -> Iterator[dict[str, Any]]:
    if (folder / "manifest.json").is_file() and not is_dry_run(folder):
        yield from (row for _, row in traces(folder, ["prompt"]))
