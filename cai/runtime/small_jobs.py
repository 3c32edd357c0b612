"""Small jobs whose calls are kept: a folder with a journal, a few items, an answer for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

from cai.engines import labels
from cai.engines.base import Engine
from cai.engines.labels import Labels
from cai.errors import CaiError
from cai.files import JOURNAL
from cai.runtime import servers
from cai.runtime.calls import Calls, RowCalls
from cai.runtime.folder import working
from cai.runtime.journal import UNUSABLE
from cai.runtime.progress import Progress
from cai.runtime.work import run, schedulers_of, work_through

T = TypeVar("T")
R = TypeVar("R")


def call_all(
    folder: Path,
    engines: Mapping[str, Engine],
    items: Sequence[tuple[str, T]],
    one: Callable[[T, RowCalls], Awaitable[R]],
    *,
    seed: int,
    at_once: int,
    retry_failed: bool,
    progress: Progress,
    day: date | None = None,
) -> tuple[list[R], dict[str, Labels]]:
    """The results of `one` for each item (an id and a value), and the engines' labels.

    Calls are kept in the folder's journal: what was asked before is not asked again. `day` is that
    of the models, kept with them.

    Raises:
        CaiError: The folder is in use or holds something else, or a model does not answer.
    """
    results: dict[int, R] = {}
    with working(folder) as journal:
        if journal.meta("settings") is not None:
            raise CaiError(f"{folder}: the folder of a run", "Choose another --out.")
        journal.set_meta({"date": day.isoformat() if day else None})
        picks = labels.from_meta(journal.meta("labels"))
        servers.recall(engines, [journal])

        def whole(identities: Mapping[str, str]) -> bool:
            calls = Calls(journal, seed, identities, labels=picks)
            work = (one(value, calls.row(name)) for name, value in items)
            return not retry_failed and all(servers.comes_to_its_end(one) for one in work)

        identities = servers.settle(engines, progress.warn, whole)
        journal.set_meta({"servers": servers.abilities_of(engines)})
        calls = Calls(journal, seed, identities, retry_failed=retry_failed, labels=picks)

        def settle_labels(engine: Engine) -> None:
            calls.labels.setdefault(engine.identity, labels.pick(engine))
            journal.set_meta({"labels": calls.labels})

        async def work(item: tuple[int, tuple[str, T]]) -> None:
            position, (name, value) = item
            results[position] = await one(value, calls.row(name, position))
            progress.advance(tally=calls.tally)

        rows: Iterator[tuple[int, tuple[str, T]]] = iter(enumerate(items))
        schedulers = schedulers_of(engines, len(items), settle_labels)
        calls.schedulers = schedulers
        try:
            run(work_through(rows, work, schedulers, min(at_once, len(items))))
        except sqlite3.Error as error:
            raise CaiError(f"{folder / JOURNAL}: {error}", UNUSABLE) from error
        return [results[n] for n in range(len(items))], dict(calls.labels)
