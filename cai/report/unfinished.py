"""The page of a run that has not come to its end: what its journal holds so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cai.dataset.made_by import last_method
from cai.dataset.rows import trace_row
from cai.dataset.schema import schema_of, split_of
from cai.errors import CaiError
from cai.method import Method
from cai.records import Failure, Prompt
from cai.report.content import Content
from cai.report.finished import RunPage
from cai.report.rows import Item, without_row
from cai.report.tally import Tally
from cai.report.words import plural
from cai.row import replay
from cai.runtime.calls import Calls
from cai.runtime.folder import reading

_HINT = "Give the folder of cai generate."


@dataclass
class _Replay:
    """The rows of a journal as far as they go; `missing` are not made yet."""

    folder: Path
    missing: int = 0
    tokens: Counter[str] = field(default_factory=Counter)

    def items(self) -> Iterable[Item]:
        with reading(self.folder, _HINT) as journal:
            method, calls = last_method(journal)
            self.missing = 0
            for failure in journal.ingest_failures():
                yield _failed(failure.prompt_id, None, [failure])
            for position, prompt in journal.prompts():
                yield from self._item(position, prompt, method, calls)
            self.tokens = calls.tally.output_tokens

    def _item(self, position: int, prompt: Prompt, method: Method, calls: Calls) -> Iterator[Item]:
        row = replay(prompt, method, calls)
        if row.missing:
            self.missing += 1
            return
        trace = trace_row(row, method)
        if trace is not None:
            split = split_of(prompt, method.settings.test_share)
            dumped = [f.model_dump(mode="json", exclude_none=True) for f in row.failures]
            yield Item(_whole(trace, method.version), split, dumped, position)
        elif row.failures:
            yield _failed(prompt.id, prompt, row.failures, position)


def _whole(trace: dict[str, Any], version: int) -> dict[str, Any]:
    """A trace with all its columns, as a file would give it back."""
    [row] = pa.Table.from_pylist([trace], schema=schema_of("traces", version)).to_pylist()
    return dict(row)


def _failed(
    prompt_id: str, prompt: Prompt | None, failures: Iterable[Failure], place: int | None = None
) -> Item:
    record = prompt.model_dump_json() if prompt is not None else None
    dumped = [f.model_dump(mode="json", exclude_none=True) for f in failures]
    return Item(without_row(prompt_id, record), "", dumped, place)


def unfinished_content(folder: Path, *, chains: bool = True) -> Content:
    """The parts of the page of a run that goes on.

    Raises:
        CaiError: The journal cannot be read, or the run has not begun to ask.
    """
    with reading(folder, _HINT) as journal:
        if journal.meta("settings") is None:
            raise CaiError(
                f"{folder}: this run has not begun yet", "Wait until its prompts have been read."
            )
        method, _ = last_method(journal)
        kinds = journal.kinds()
        started = str(journal.meta("started") or "")[:10]
    about = {
        "Constitution": method.constitution.name,
        "Prompts": ", ".join(f"{n:,} {kind}" for kind, n in kinds.items()),
        "Made": started,
    }
    replayed = _Replay(folder)
    page = RunPage(
        folder,
        method.constitution.name,
        replayed.items,
        Tally(sft="sft" in method.settings.stages, temperature=method.judge.temperature),
        about,
        method.settings.model_dump(mode="json"),
        chains=chains,
        state="unfinished",
    ).content()

    def values() -> dict[str, object]:
        asked = ", ".join(f"{role} {n:,}" for role, n in sorted(replayed.tokens.items()))
        made = sum(kinds.values()) - replayed.missing
        words = (
            f"This run goes on: {made:,} of {plural(sum(kinds.values()), 'prompt')} are done. "
            f"Rows that are not whole yet are not shown. Tokens written so far: {asked or 'none'}."
        )
        return {**page.values(), "state": words}

    return Content(page.write_rows, values, page.meta)
