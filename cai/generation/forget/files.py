"""The files of a run folder without the prompts that are forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from cai.checks.of_run import as_detail, judge_check
from cai.config import Settings, stored_settings
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution
from cai.dataset.schema import ANSWERS, DATASETS, SPLITS, Manifest
from cai.dataset.traces import damaged, lines_of
from cai.dataset.write import rewrite
from cai.files import replacing
from cai.generation.end import limits_of
from cai.generation.forget.copies import write_exports_anew
from cai.generation.forget.counts import failure_goes
from cai.generation.forget.erasure import Erasure
from cai.generation.tombstones import PENDING, is_forgotten
from cai.publish.card import dataset_card
from cai.quality.fix import DROPPED
from cai.quality.measure import measure
from cai.quality.records import QUALITY, write_quality
from cai.report.page import PAGE, shows_chains, write_report
from cai.settings import read_config

RECORD = "forgotten.jsonl"


def dropped_goes(line: Mapping[str, Any], ids: Collection[str]) -> bool:
    """Whether a dropped row is of a prompt that goes; its id is the prompt's, or goes on by #."""
    return line["id"] in ids or line["id"].rpartition("#")[0] in ids


def made_from(folder: Path) -> tuple[Settings, Constitution] | None:
    """The settings and the constitution that stand in a folder."""
    paths = [folder / "config.yaml", folder / "constitution.yaml"]
    if not all(path.is_file() for path in paths):
        return None
    return stored_settings(read_config(paths[0])), load_constitution(paths[1])


def erase_rows(folder: Path, plan: Erasure) -> None:
    """Take the rows out of the datasets and lists, and remove what was left by killed writers."""
    for path in [*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp"), *_pages(folder)]:
        if path.name != f".{PENDING}.tmp" and path.is_file():
            path.unlink(missing_ok=True)
    digests, ids, failed = set(plan.digests), set(plan.ids), set(plan.failed)
    for dataset in DATASETS:
        for split in SPLITS:
            path = folder / dataset / f"{split}.parquet"
            if not path.is_file():
                continue
            try:
                rewrite(path, lambda row: not is_forgotten(row["prompt"], digests))
            except pa.ArrowException as error:
                raise damaged(path) from error
    _filter(folder / "failures.jsonl", lambda line: not failure_goes(line, ids, failed))
    _filter(folder / DROPPED, lambda line: not dropped_goes(line, ids))


def _filter(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Write a file of JSON lines again with those to keep."""
    if not path.is_file():
        return
    with replacing(path) as file:
        for line in lines_of(path):
            if keep(line):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _pages(folder: Path) -> list[Path]:
    return sorted(folder.glob("report*.html"))


def pages_of(folder: Path, holding: Collection[str]) -> dict[str, bool]:
    """The pages of a run that can be written anew, by name, and whether they show chains.

    Args:
        folder: The run folder.
        holding: Other runs that have what is forgotten: a page of them would show it.
    """
    return {
        path.name: shows_chains(path)
        for path in _pages(folder)
        if path.name == PAGE
        or (
            ((other := _other(folder, path.name)) / "manifest.json").is_file()
            and str(other) not in holding
        )
    }


def _other(folder: Path, page: str) -> Path:
    """The later run of a page of two runs; they are looked for beside each other."""
    return folder.resolve().parent / page.removeprefix("report-").removesuffix(".html")


def write_anew(folder: Path, plan: Erasure) -> Erasure:
    """Write manifest, figures, card, pages, exports and the record of it; how it came out."""
    if plan.manifest is not None:
        manifest = Manifest.model_validate(plan.manifest)
        with replacing(folder / "manifest.json") as file:
            file.write(json.dumps(plan.manifest, indent=2) + "\n")
        there = made_from(folder)
        if there is not None:
            settings, constitution = there
            _measure(folder, settings)
            with replacing(folder / "README.md") as file:
                file.write(dataset_card(folder, settings, constitution, manifest))
    _write_pages(folder, plan.pages)
    done = plan.with_left(write_exports_anew(folder, plan.exports))
    # A process that was stopped may have written the line.
    lines = [line for line in lines_of(folder / RECORD) if not _is_same(line, plan.line)]
    with replacing(folder / RECORD) as file:
        for line in [*lines, done.line]:
            file.write(json.dumps(line) + "\n")
    return done


def _is_same(line: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(line.get(key) == other[key] for key in ("time", "digests"))


def _has_rows(folder: Path) -> bool:
    return any((folder / name / f"{s}.parquet").is_file() for name in ANSWERS for s in SPLITS)


def _measure(folder: Path, settings: Settings) -> None:
    """Measure what is left, if it was measured before."""
    path = folder / QUALITY
    if not path.is_file():
        return
    named = Path(settings.gates) if settings.gates else None
    # Without its file of thresholds, cai quality does it by hand.
    if not _has_rows(folder) or (named is not None and not named.is_file()):
        path.unlink()
        return
    quality = measure(folder, limits_of(settings))
    write_quality(quality.plus(as_detail(judge_check(folder))), path)


def _write_pages(folder: Path, pages: Mapping[str, bool]) -> None:
    """Write pages; of no rows there is none, as when a run ends."""
    for name, chains in pages.items():
        if name != PAGE:
            write_report(folder, other=_other(folder, name))
        elif _has_rows(folder) or not (folder / "manifest.json").is_file():
            write_report(folder, chains=chains)
