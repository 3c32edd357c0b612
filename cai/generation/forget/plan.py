"""What has to go when a prompt is forgotten: its ids and digests, and what is counted of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.made_by import last_method
from cai.dataset.schema import DATASETS, SPLITS, text_key
from cai.dataset.traces import lines_of, rows_of, traces
from cai.errors import CaiError
from cai.generation.tombstones import is_forgotten, tombstone
from cai.method import Method
from cai.records import Prompt, messages_as_data
from cai.row import replay
from cai.runtime.calls import Calls
from cai.runtime.erase import Eraser, Listening
from cai.runtime.journal import Journal

BATCH = 200
_MADE_BY = ("settings", "constitution", "templates", "identities", "judge", "critic")


class Wanted(NamedTuple):
    """What to forget: a prompt by its id, all of a source, or all in which a text stands."""

    id: str | None = None
    source: str | None = None
    match: str | None = None

    def check(self) -> None:
        """Raise `CaiError` unless it says one thing."""
        given = [value for value in self if value is not None]
        if len(given) != 1:
            raise CaiError("say what to forget", "Give one of --id, --source and --match.")
        if not text_key(given[0]):
            raise CaiError("an empty text stands everywhere", "Give what is to be forgotten.")


@dataclass
class Selection:
    """The prompts that go, by id and by digest; `failed`: ids of input that was none."""

    ids: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.ids or self.failed)


def methods_of(journal: Journal) -> list[tuple[Method, Calls]]:
    """What the journal was last used for, and what its datasets were written by."""
    if journal.meta("settings") is None:
        return []
    last, published = [last_method(journal)], journal.meta("published")
    if published is not None and any(journal.meta(key) != published.get(key) for key in _MADE_BY):
        last.append(last_method(journal, published=True))
    return last


def note_uses(eraser: Eraser, journal: Journal) -> None:
    """Tell an eraser the calls of every prompt: one replay of all rows."""
    keys: set[bytes] = set()
    addresses: set[str] = set()
    store = Listening(journal, lambda key, _: keys.add(key), addresses.add)
    listened = [(method, replace(calls, store=store)) for method, calls in methods_of(journal)]
    for prompt in _prompts(journal):
        for method, calls in listened:
            replay(prompt, method, calls)
        eraser.note_uses(prompt.id, keys, addresses)
        keys.clear()
        addresses.clear()


def select(
    folder: Path, journal: Journal | None, eraser: Eraser | None, wanted: Wanted
) -> Selection:
    """The prompts that are wanted, and all others of the same text.

    Args:
        folder: The run folder.
        journal: Its journal, if it has one.
        eraser: Knows which prompt uses which call.
        wanted: What to forget.
    """
    chosen = Selection()
    inside = _finder(wanted.match) if wanted.match is not None else None
    users: set[str] = set()
    if inside is not None and eraser is not None:
        users = eraser.users(lambda value: any(map(inside, strings(json.loads(value)))))

    def hit(name: str, source: str | None, record: Callable[[], Any]) -> bool:
        if inside is not None:
            return name in users or any(map(inside, strings(record())))
        return name == wanted.id if wanted.id is not None else source == wanted.source

    for prompt in _prompts(journal):
        if hit(prompt.id, prompt.source, prompt.model_dump):
            chosen.ids.add(prompt.id)
            chosen.digests.add(tombstone(messages_as_data(prompt.messages)))
    for _, trace in traces(folder):
        if hit(trace["id"], trace.get("source"), trace.copy):
            chosen.ids.add(trace["id"])
            chosen.digests.add(tombstone(trace["prompt"]))
    for failure in _failures(folder, journal):
        if hit(failure["prompt_id"], None, failure.copy):
            by_stage = chosen.failed if failure["stage"] == "ingest" else chosen.ids
            by_stage.add(failure["prompt_id"])
    _add_alike(chosen, folder, journal)
    return chosen


def _finder(text: str) -> Callable[[str], bool]:
    """Whether a text stands in another, whatever case and white space; most are told by one word.

    A text in ASCII has no form but its lower case, and a word of it stands there as it is.
    """
    key = text_key(text)
    word = max(key.split(), key=len)

    def inside(other: str) -> bool:
        return (not other.isascii() or word in other.lower()) and key in text_key(other)

    return inside


def _prompts(journal: Journal | None) -> Iterator[Prompt]:
    return (prompt for _, prompt in journal.prompts()) if journal is not None else iter(())


def _failures(folder: Path, journal: Journal | None) -> Iterator[dict[str, Any]]:
    yield from lines_of(folder / "failures.jsonl")
    if journal is not None:
        yield from [failure.model_dump() for failure in journal.ingest_failures()]


def _add_alike(chosen: Selection, folder: Path, journal: Journal | None) -> None:
    """Add the digests of what was chosen by its id alone, then all ids that they stand for."""
    for name, messages in _conversations(folder, journal):
        if name in chosen.ids:
            chosen.digests.add(tombstone(messages))
    for name, messages in _conversations(folder, journal):
        if is_forgotten(messages, chosen.digests):
            chosen.ids.add(name)


def _conversations(
    folder: Path, journal: Journal | None
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Id and messages of every prompt and of every trace."""
    yield from ((prompt.id, messages_as_data(prompt.messages)) for prompt in _prompts(journal))
    yield from ((row["id"], row["prompt"]) for _, row in traces(folder, ["id", "prompt"]))


def strings(value: Any) -> Iterator[str]:
    """All texts inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inside in value.values():
            yield from strings(inside)
    elif isinstance(value, list | tuple):
        for inside in value:
            yield from strings(inside)


def prompts_that_go(folder: Path, journal: Journal | None, chosen: Selection) -> dict[str, Prompt]:
    """The prompts by id, from the journal or else the traces."""
    there = {p.id: p for p in _prompts(journal) if p.id in chosen.ids}
    names = ["id", "prompt", "prompt_kind", "group", "source", "licence", "tags"]
    for _, row in traces(folder, names):
        if row["id"] in chosen.ids and row["id"] not in there:
            fields = {key: row[key] for key in ("id", "group", "source", "licence")}
            there[row["id"]] = Prompt(
                **fields,
                kind=row["prompt_kind"],
                messages=row["prompt"],
                tags=tuple(row["tags"] or ()),
            )
    return there


def rows_that_go(folder: Path, chosen: Selection) -> Counter[str]:
    """Rows of the datasets that go, by `dataset.split`, and all that are there, by `all.…`."""
    counts: Counter[str] = Counter()
    for dataset in DATASETS:
        for split in SPLITS:
            for row in rows_of(folder / dataset / f"{split}.parquet", ["prompt"]):
                counts[f"all.{dataset}.{split}"] += 1
                counts[f"{dataset}.{split}"] += is_forgotten(row["prompt"], chosen.digests)
    return counts
