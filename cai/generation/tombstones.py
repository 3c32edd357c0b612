"""Digests of texts that were forgotten, and what they keep out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.dataset.schema import text_key
from cai.errors import CaiError
from cai.records import Failure, Prompt, digest, messages_as_data
from cai.runtime.journal import Journal

PENDING = ".forgetting.json"  # in a folder in which forgetting has not come to its end


def tombstone(messages: Iterable[Mapping[str, Any]]) -> str:
    """The digest of a conversation, whatever its case, its white space and its system text."""
    return _digest(_turns(messages))


def is_forgotten(messages: Iterable[Mapping[str, Any]], tombstones: Collection[str]) -> bool:
    """Whether a conversation is a forgotten one, or goes on from one."""
    turns = _turns(messages) if tombstones else []
    ends = [n for n, (role, _) in enumerate(turns, 1) if role == "user"]
    return any(_digest(turns[:end]) in tombstones for end in ends)


def _turns(messages: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(m["role"], text_key(m["content"])) for m in messages if m["role"] != "system"]


def _digest(turns: list[tuple[str, str]]) -> str:
    return digest(["cai forgotten 1", turns])


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
            if isinstance(item, Failure) or not is_forgotten(
                messages_as_data(item.messages), self._tombstones
            ):
                yield item
            elif item.text_digest not in self._seen:  # one that was there twice had one place
                self._seen.add(item.text_digest)
                yield None
