"""The rows of a run, one after the other: what became of each prompt, and what failed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.run import Run
from cai.dataset.traces import traces
from cai.errors import CaiError
from cai.runtime.folder import has_journal, reading
from cai.runtime.journal import Journal

_BATCH = 200


class Item(NamedTuple):
    """A prompt and what became of it.

    Attributes:
        trace: The columns of `traces`; of a prompt without a row, what is known of it.
        split: Where its rows are; empty for a prompt without a row.
        failures: Why it, or a part of it, is not in the data.
        place: Its place in the order of the run, where the journal tells it.
        other: Its trace in the run that is compared with, if there is one.
    """

    trace: dict[str, Any]
    split: str
    failures: list[dict[str, Any]]
    place: int | None = None
    other: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        return str(self.trace["id"])

    @property
    def failed(self) -> bool:
        """Whether the prompt gave no row at all."""
        return not self.split


def failures(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What failed, by the prompt; a line that is no JSON object means a damaged file."""
    path = folder / "failures.jsonl"
    by_prompt: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if not path.is_file():
        return by_prompt
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                failure = json.loads(line)
                by_prompt[str(failure["prompt_id"])].append(failure)
            except (ValueError, KeyError, TypeError) as error:
                raise CaiError(
                    f"{path}: damaged", "Run the same cai generate command again."
                ) from error
    return by_prompt


def items(run: Run) -> Iterator[Item]:
    """Every prompt of a finished run: those with a trace, split by split, then those without."""
    left = failures(run.folder)
    with ExitStack() as stack:
        journal = None
        if has_journal(run.folder):
            journal = stack.enter_context(reading(run.folder, ""))
        for split, trace in traces(run.folder):
            failed = left.pop(trace["id"], [])
            yield Item(trace, split, failed, _place(journal, trace["id"])[0])
        for prompt_id, failed in left.items():
            place, record = _place(journal, prompt_id)
            yield Item(without_row(prompt_id, record), "", failed, place)


def _place(journal: Journal | None, prompt_id: str) -> tuple[int | None, str | None]:
    place = journal.place(prompt_id) if journal is not None else None
    return place or (None, None)


def without_row(prompt_id: str, record: str | None) -> dict[str, Any]:
    """What is known of a prompt that gave no row, of its record in the journal."""
    prompt = json.loads(record) if record is not None else {}
    return {
        "id": prompt_id,
        "prompt": prompt.get("messages") or [],
        "prompt_kind": prompt.get("kind"),
        "tags": prompt.get("tags") or [],
        "source": prompt.get("source"),
    }
