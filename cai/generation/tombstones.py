"""Digests of texts that were forgotten, and what they keep out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.dataset.schema import text_key
from cai.errors import CaiError
from cai.records import Failure, Prompt, digest, messages_as_data
from cai.runtime.journal import Journal

PENDING = ".forgetting.json"  # in a folder in which forgetting has not come to its end


def tombstone(messages: Iterable[Mapping[str, Any]]) -> str:
    """The digest of a conversation, whatever its case, its white space and its system text."""
    turns = [[m["role"], text_key(m["content"])] for m in messages if m["role"] != "system"]
    return digest(["cai forgotten 1", turns])


def tombstone_of(prompt: Prompt) -> str:
    return tombstone(messages_as_data(prompt.messages))


def known_tombstones(journal: Journal, others: Sequence[Journal]) -> frozenset[str]:
    """The tombstones of a journal and of those whose calls it reuses, which become its own."""
    own = journal.tombstones()
    foreign = frozenset[str]().union(*(other.tombstones() for other in others)) - own
    if foreign:
        journal.add_tombstones(sorted(foreign))
    return own | foreign


def refuse_half_forgotten(folder: Path) -> None:
    """Raise `CaiError` where forgetting was stopped: the datasets are between two states."""
    if (folder / PENDING).exists():
        raise CaiError(
            f"{folder}: forgetting a prompt was stopped here", "Run the same cai forget again."
        )


class Living:
    """Prompts without those that were forgotten; None holds their places, `forgotten` counts them.

    Places count for `limit` and `shard`: the prompts behind a forgotten one stay where they were.
    """

    def __init__(self, items: Iterable[Prompt | Failure], tombstones: frozenset[str]) -> None:
        self._items, self._tombstones = items, tombstones
        self._seen: set[str] = set()

    @property
    def forgotten(self) -> int:
        return len(self._seen)

    def __iter__(self) -> Iterator[Prompt | Failure | None]:
        for item in self._items:
            if isinstance(item, Failure) or not self._is_forgotten(item):
                yield item
            elif item.text_digest not in self._seen:  # one that was there twice had one place
                self._seen.add(item.text_digest)
                yield None

    def _is_forgotten(self, prompt: Prompt) -> bool:
        return bool(self._tombstones) and tombstone_of(prompt) in self._tombstones
