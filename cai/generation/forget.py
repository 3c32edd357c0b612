"""Forgetting a prompt: it and all that came of it leave a run folder, and do not come back."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import ValidationError

from cai import templates
from cai.config import Settings, stored_settings
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution
from cai.dataset.run import Run
from cai.dataset.schema import ANSWERS, DATASETS, SPLITS, Manifest
from cai.dataset.traces import damaged
from cai.dataset.write import rewrite
from cai.errors import CaiError
from cai.files import JOURNAL, Lock, replacing
from cai.generation.end import limits_of
from cai.generation.forget_counts import failure_goes, manifest_without
from cai.generation.forget_holders import Holders, holders_of
from cai.generation.forget_plan import (
    Wanted,
    keep_others,
    lines_of,
    methods_of,
    own_calls,
    prompts_that_go,
    rows_that_go,
    select,
)
from cai.generation.tombstones import PENDING, tombstone
from cai.method import Method
from cai.publish.card import dataset_card
from cai.quality.fix import DROPPED
from cai.quality.measure import measure
from cai.quality.records import QUALITY, write_quality
from cai.records import Prompt, Record
from cai.row import replay
from cai.runtime.erase import Eraser
from cai.runtime.folder import has_journal, reading
from cai.runtime.journal import Journal
from cai.runtime.tally import Tally
from cai.settings import read_config

RECORD = "forgotten.jsonl"
REPORT = "report.html"
_HINT = "Give the folder that cai generate or cai quality --fix wrote."


class Erasure(Record):
    """What is taken out of a run folder, without its text.

    Attributes:
        time: When it was asked for; UTC, ISO 8601.
        ids: The prompts, by id.
        failed: Input that was no prompt, by the id of its failure.
        digests: Tombstones: digests of the prompts' texts.
        counts: What goes: prompts, calls, rows by dataset, lines of failures and dropped rows.
        holders: What held it and is not changed.
        manifest: The manifest of what stays; None where there is none.
    """

    version: Literal[1] = 1
    time: str
    ids: tuple[str, ...]
    failed: tuple[str, ...]
    digests: tuple[str, ...]
    counts: dict[str, int]
    holders: Holders
    manifest: dict[str, Any] | None

    @property
    def line(self) -> dict[str, Any]:
        """What the folder keeps of it; ids are left out, as they may name a person."""
        return {
            "time": self.time,
            "digests": list(self.digests),
            "counts": self.counts,
            **self.holders.model_dump(mode="json"),
        }


def plan_forgetting(folder: Path, wanted: Wanted) -> Erasure:
    """What `forget` would take out of a run folder; nothing is written.

    Raises:
        CaiError: It is no run folder, or nothing in it is wanted.
    """
    wanted.check()
    if not has_journal(folder) and not (folder / "manifest.json").is_file():
        raise CaiError(f"{folder}: not a run folder", _HINT)
    pending = _pending(folder)
    if pending is not None:
        return pending
    with ExitStack() as stack:
        journal = eraser = None
        if has_journal(folder):
            journal = stack.enter_context(reading(folder, _HINT))
            eraser = stack.enter_context(Eraser(folder / JOURNAL, readonly=True))
        return _plan(folder, wanted, journal, eraser)


def forget(folder: Path, wanted: Wanted) -> Erasure:
    """Take prompts and all that came of them out of a run folder; what was taken out.

    A process that is killed leaves its plan in the folder; whoever forgets there next ends it.

    Args:
        folder: The run folder.
        wanted: What to forget.

    Raises:
        CaiError: It is no run folder, nothing in it is wanted, another process works there, the
            disk is full, or a file is damaged.
    """
    if not folder.is_dir():
        raise CaiError(f"{folder}: not a run folder", _HINT)
    lock = Lock(folder)
    try:
        plan = plan_forgetting(folder, wanted)
        with replacing(folder / PENDING) as file:
            file.write(plan.model_dump_json() + "\n")
        if has_journal(folder):
            _erase_calls(folder, plan)
        _erase_rows(folder, plan)
        _write_anew(folder, plan)
        (folder / PENDING).unlink()
    except OSError as error:
        raise CaiError(
            f"{error.filename or folder}: {error.strerror or error}",
            "Make room or rights, and run the same command again: it goes on.",
        ) from error
    finally:
        lock.release()
    return plan


def _pending(folder: Path) -> Erasure | None:
    """The plan of a process that was stopped."""
    path = folder / PENDING
    if not path.is_file():
        return None
    try:
        return Erasure.model_validate_json(path.read_bytes())
    except ValidationError:
        raise CaiError(f"{path}: damaged", "Remove it and run cai forget again.") from None


def _plan(folder: Path, wanted: Wanted, journal: Journal | None, eraser: Eraser | None) -> Erasure:
    chosen = select(folder, journal, wanted)
    if not chosen:
        raise CaiError(
            f"{folder}: no prompt is like that, and no failure",
            f"cai show {folder} --ids lists the ids; what was forgotten before is gone.",
        )
    prompts, rows = prompts_that_go(folder, journal, chosen), rows_that_go(folder, chosen)
    counts = Counter({"prompts": len(chosen.ids), "failures": 0})
    for dataset in DATASETS:
        counts[dataset] = sum(rows[f"{dataset}.{split}"] for split in SPLITS)
    counts["failures"] = sum(
        failure_goes(line, chosen.ids, chosen.failed)
        for line in lines_of(folder / "failures.jsonl")
    )
    dropped = Counter(
        line["rule"] for line in lines_of(folder / DROPPED) if _dropped_goes(line, chosen.ids)
    )
    counts["dropped"] = dropped.total()
    spent = Tally()
    if journal is not None and eraser is not None:
        keep_others(eraser, journal, chosen.ids)
        counts["calls"] = own_calls(eraser, journal, chosen.ids)
        counts["unused calls"] = eraser.surplus() - counts["calls"]
        spent = _tokens(journal, prompts.values())
    manifest = None
    if (folder / "manifest.json").is_file():
        method, before = _method(folder, journal), Run.load(folder).manifest
        manifest = manifest_without(
            before, folder, chosen, prompts, rows, dropped, method, spent
        ).model_dump(mode="json")
    return Erasure(
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        ids=tuple(sorted(chosen.ids)),
        failed=tuple(sorted(chosen.failed)),
        digests=tuple(sorted(chosen.digests)),
        counts=dict(counts),
        holders=holders_of(folder, chosen.digests),
        manifest=manifest,
    )


def _dropped_goes(line: Mapping[str, Any], ids: Collection[str]) -> bool:
    """Whether a dropped row is of a prompt that goes; its id is the prompt's, or goes on by #."""
    return line["id"] in ids or line["id"].rpartition("#")[0] in ids


def _tokens(journal: Journal, prompts: Iterable[Prompt]) -> Tally:
    """What the datasets' rows of these prompts were made of."""
    written = methods_of(journal)[-1:]
    for method, calls in written:
        counted = replace(calls, tally=Tally())
        for prompt in prompts:
            replay(prompt, method, counted)
        return counted.tally
    return Tally()


def _method(folder: Path, journal: Journal | None) -> Method | None:
    """What the datasets were written by."""
    if journal is not None:
        return next((method for method, _ in reversed(methods_of(journal))), None)
    made_from = _made_from(folder)
    return Method(made_from[1], templates.load(), made_from[0]) if made_from else None


def _made_from(folder: Path) -> tuple[Settings, Constitution] | None:
    """The settings and the constitution that stand in a folder."""
    paths = [folder / "config.yaml", folder / "constitution.yaml"]
    if not all(path.is_file() for path in paths):
        return None
    return stored_settings(read_config(paths[0])), load_constitution(paths[1])


def _erase_calls(folder: Path, plan: Erasure) -> None:
    with Eraser(folder / JOURNAL) as eraser:
        with reading(folder, _HINT) as journal:
            keep_others(eraser, journal, set(plan.ids))
        eraser.erase(plan.ids, plan.failed, plan.digests)
        eraser.compact()


def _erase_rows(folder: Path, plan: Erasure) -> None:
    """Take the rows out of the datasets and lists, and remove what was left by killed writers."""
    for path in [*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp"), folder / REPORT]:
        if path.name != f".{PENDING}.tmp":
            path.unlink(missing_ok=True)
    digests, ids, failed = set(plan.digests), set(plan.ids), set(plan.failed)
    for dataset in DATASETS:
        for split in SPLITS:
            path = folder / dataset / f"{split}.parquet"
            if not path.is_file():
                continue
            try:
                rewrite(path, lambda row: tombstone(row["prompt"]) not in digests)
            except pa.ArrowException as error:
                raise damaged(path) from error
    _filter(folder / "failures.jsonl", lambda line: not failure_goes(line, ids, failed))
    _filter(folder / DROPPED, lambda line: not _dropped_goes(line, ids))


def _filter(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Write a file of JSON lines again with those to keep."""
    if not path.is_file():
        return
    with replacing(path) as file:
        for line in lines_of(path):
            if keep(line):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _write_anew(folder: Path, plan: Erasure) -> None:
    """Write the manifest, the figures, the card and the record of what was forgotten."""
    if plan.manifest is not None:
        manifest = Manifest.model_validate(plan.manifest)
        with replacing(folder / "manifest.json") as file:
            file.write(json.dumps(plan.manifest, indent=2) + "\n")
        made_from = _made_from(folder)
        if made_from is not None:
            settings, constitution = made_from
            _measure(folder, settings)
            with replacing(folder / "README.md") as file:
                file.write(dataset_card(folder, settings, constitution, manifest))
    lines = list(lines_of(folder / RECORD))
    if plan.line not in lines:  # of a process that was stopped
        with replacing(folder / RECORD) as file:
            for line in [*lines, plan.line]:
                file.write(json.dumps(line) + "\n")


def _measure(folder: Path, settings: Settings) -> None:
    """Measure what is left, if it was measured before."""
    path = folder / QUALITY
    if not path.is_file():
        return
    rows = any((folder / name / f"{s}.parquet").is_file() for name in ANSWERS for s in SPLITS)
    named = Path(settings.gates) if settings.gates else None
    if not rows or (named is not None and not named.is_file()):  # cai quality does it by hand
        path.unlink()
        return
    write_quality(measure(folder, limits_of(settings)), path)
