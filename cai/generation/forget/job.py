"""Forgetting a prompt: it and all that came of it leave a run folder, and do not come back."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from cai import templates
from cai.dataset.run import Run
from cai.dataset.schema import DATASETS, SPLITS
from cai.dataset.traces import lines_of
from cai.errors import CaiError
from cai.files import JOURNAL, Lock, replacing
from cai.generation.forget.copies import copies, is_dry_run
from cai.generation.forget.counts import failure_goes, manifest_without
from cai.generation.forget.erasure import Erasure
from cai.generation.forget.files import (
    dropped_goes,
    erase_rows,
    made_from,
    pages_of,
    write_anew,
)
from cai.generation.forget.holders import holders_of
from cai.generation.forget.plan import (
    Selection,
    Wanted,
    methods_of,
    note_uses,
    prompts_that_go,
    rows_that_go,
    select,
)
from cai.generation.tombstones import PENDING
from cai.method import Method
from cai.quality.fix import DROPPED
from cai.records import Prompt
from cai.row import replay
from cai.runtime.erase import Eraser
from cai.runtime.folder import has_journal, reading
from cai.runtime.journal import Journal
from cai.runtime.tally import Tally

_HINT = "Give the folder that cai generate or cai quality --fix wrote."


def plan_forgetting(folder: Path, wanted: Wanted) -> Erasure:
    """What `forget` would take out of a run folder; nothing is written.

    Where forgetting was stopped, it is what is still to be done of that.

    Raises:
        CaiError: It is no run folder, or nothing in it is wanted.
    """
    wanted.check()
    _check_folder(folder)
    plan = _pending(folder)
    if plan is None:
        with _eraser(folder, readonly=True) as eraser:
            plan = _plan(folder, wanted, eraser)
    return plan if plan is not None else _nothing(folder)


def forget(
    folder: Path, wanted: Wanted, approve: Callable[[Erasure], bool] = lambda plan: True
) -> Erasure | None:
    """Take prompts and all that came of them out of a run folder; what was taken out.

    A process that is killed leaves its plan in the folder; whoever forgets there next ends it
    first.

    Args:
        folder: The run folder.
        wanted: What to forget.
        approve: Is shown what would go, and says whether it shall.

    Returns:
        None where it was not approved.

    Raises:
        CaiError: It is no run folder, nothing in it is wanted, another process works there, the
            disk is full, or a file is damaged.
    """
    wanted.check()
    _check_folder(folder)
    lock = Lock(folder)
    try:
        stopped = _pending(folder)
        if stopped is not None:
            if not approve(stopped):
                return None
            with _eraser(folder) as eraser:
                if eraser is not None:
                    with reading(folder, _HINT) as journal:
                        note_uses(eraser, journal)
                    eraser.keep_others(stopped.ids)
                stopped = _carry_out(folder, stopped, eraser)
        with _eraser(folder) as eraser:
            plan = _plan(folder, wanted, eraser)
            if plan is None:
                return stopped or _nothing(folder)
            return _carry_out(folder, plan, eraser) if approve(plan) else None
    except (OSError, sqlite3.Error) as error:
        raise CaiError(
            f"{folder}: {error}",
            "Make room or rights, and run the same command again: it goes on.",
        ) from error
    finally:
        lock.release()


def _nothing(folder: Path) -> NoReturn:
    raise CaiError(
        f"{folder}: no prompt is like that, and no failure",
        f"cai show {folder} --ids lists the ids; what was forgotten before is gone.",
    )


@contextmanager
def _eraser(folder: Path, *, readonly: bool = False) -> Iterator[Eraser | None]:
    """The eraser of a folder's journal, if it has one."""
    if not has_journal(folder):
        yield None
        return
    with Eraser(folder / JOURNAL, readonly=readonly) as eraser:
        yield eraser


def _carry_out(folder: Path, plan: Erasure, eraser: Eraser | None) -> Erasure:
    """Do what a plan says; each step does nothing more when it is done again."""
    with replacing(folder / PENDING) as file:
        file.write(plan.model_dump_json() + "\n")
    if eraser is not None:
        eraser.erase(plan.ids, plan.failed, plan.digests)
        eraser.compact()
    erase_rows(folder, plan)
    done = write_anew(folder, plan)
    (folder / PENDING).unlink()
    return done


def _check_folder(folder: Path) -> None:
    if not has_journal(folder) and not (folder / "manifest.json").is_file():
        raise CaiError(f"{folder}: not a run folder", _HINT)
    if is_dry_run(folder):
        hint = "Forget the prompt in the run; then remove this folder and write it anew."
        raise CaiError(f"{folder}: what cai push --dry-run wrote, and not a run", hint)


def _pending(folder: Path) -> Erasure | None:
    """The plan of a process that was stopped."""
    path = folder / PENDING
    if not path.is_file():
        return None
    try:
        return Erasure.model_validate_json(path.read_bytes())
    except ValidationError:
        raise CaiError(f"{path}: damaged", "Remove it and run cai forget again.") from None


def _plan(folder: Path, wanted: Wanted, eraser: Eraser | None) -> Erasure | None:
    """A new plan; None where nothing is wanted. The eraser then keeps what others use."""
    with ExitStack() as stack:
        there = eraser is not None
        journal = stack.enter_context(reading(folder, _HINT)) if there else None
        if journal is not None and eraser is not None and wanted.match is not None:
            note_uses(eraser, journal)
        chosen = select(folder, journal, eraser, wanted)
        if not chosen:
            return None
        if journal is not None and eraser is not None and wanted.match is None:
            note_uses(eraser, journal)
        return _plan_of(folder, chosen, journal, eraser)


def _plan_of(
    folder: Path, chosen: Selection, journal: Journal | None, eraser: Eraser | None
) -> Erasure:
    prompts, rows = prompts_that_go(folder, journal, chosen), rows_that_go(folder, chosen)
    counts = Counter({"prompts": len(chosen.ids), "failures": 0})
    for dataset in DATASETS:
        counts[dataset] = sum(rows[f"{dataset}.{split}"] for split in SPLITS)
    counts["failures"] = sum(
        failure_goes(line, chosen.ids, chosen.failed)
        for line in lines_of(folder / "failures.jsonl")
    )
    dropped = Counter(
        line["rule"] for line in lines_of(folder / DROPPED) if dropped_goes(line, chosen.ids)
    )
    counts["dropped"] = dropped.total()
    spent = Tally()
    if journal is not None and eraser is not None:
        counts["calls"] = eraser.keep_others(chosen.ids)
        counts["unused calls"] = eraser.surplus() - counts["calls"]
        spent = _tokens(journal, prompts.values())
    manifest = None
    if (folder / "manifest.json").is_file():
        method, before = _method(folder, journal), Run.load(folder).manifest
        manifest = manifest_without(
            before, folder, chosen, prompts, rows, dropped, method, spent
        ).model_dump(mode="json")
    left = copies(folder, chosen.digests)
    holders = holders_of(folder, chosen.digests, left)
    return Erasure(
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        ids=tuple(sorted(chosen.ids)),
        failed=tuple(sorted(chosen.failed)),
        digests=tuple(sorted(chosen.digests)),
        counts=dict(counts),
        holders=holders,
        manifest=manifest,
        exports=left.exports,
        pages=pages_of(folder, holders.runs),
    )


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
    there = made_from(folder)
    return Method(there[1], templates.load(), there[0]) if there else None
