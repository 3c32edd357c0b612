"""A run without the rows of some prompts, as a folder of its own to measure and to show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from cai.config import stored_settings
from cai.dataset.run import Run
from cai.dataset.schema import DATASETS, SPLITS, Manifest
from cai.dataset.traces import traces
from cai.publish.header import rows_of
from cai.publish.rows import link, place, place_failures
from cai.quality.measure import measure
from cai.quality.records import QUALITY, read_quality, write_quality
from cai.quality.settings import thresholds
from cai.settings import read_config

_CHECK = "judge_check"  # of the judge, whatever the rows


def rest_of(run: Run, folder: Path, left_out: Collection[str]) -> Run:
    """Write a run without the rows of some prompts into a new folder, measured anew.

    It is measured if the run was, by the thresholds that the run names. Counts of calls, verdicts
    and pairs, tokens and times stay those of the whole run.

    Raises:
        CaiError: A file of the run is damaged, or its file of thresholds is gone.
    """
    source = run.folder
    folder.mkdir()
    for name in DATASETS:
        for split in SPLITS:
            path = source / name / f"{split}.parquet"
            if path.is_file():
                place(path, folder / name / path.name, left_out)
    if (source / "failures.jsonl").is_file():
        place_failures(source / "failures.jsonl", folder / "failures.jsonl", left_out)
    for name in ("config.yaml", "constitution.yaml"):
        link(source / name, folder / name)
    manifest = _manifest(run, folder, left_out)
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    if (source / QUALITY).is_file():
        _measure(source, folder)
    return Run.load(folder)


def _manifest(run: Run, folder: Path, left_out: Collection[str]) -> Manifest:
    """The manifest with the numbers of rows, and of prompts by kind, that are left."""
    stale = {f"{name}.{split}" for name in DATASETS for split in SPLITS}
    counts = {name: n for name, n in run.manifest.counts.items() if name not in stale}
    prompts, kinds = dict(run.manifest.prompts), Counter(run.manifest.prompts.get("kinds", {}))
    if kinds:
        rows = traces(run.folder, ["id", "prompt_kind"])
        kinds.subtract(row["prompt_kind"] for _, row in rows if row["id"] in left_out)
        prompts["kinds"] = {kind: n for kind, n in kinds.items() if n > 0}
        prompts["rows"] = sum(prompts["kinds"].values())
    return run.manifest.model_copy(
        update={
            "counts": dict(sorted({**counts, **rows_of(folder, tuple(DATASETS))}.items())),
            "prompts": prompts,
        }
    )


def _measure(source: Path, folder: Path) -> None:
    settings = stored_settings(read_config(source / "config.yaml"))
    limits = thresholds({}, Path(settings.gates) if settings.gates else None)
    before = read_quality(source / QUALITY).details
    kept = {_CHECK: before[_CHECK]} if _CHECK in before else {}
    write_quality(measure(folder, limits).plus(kept), folder / QUALITY)
