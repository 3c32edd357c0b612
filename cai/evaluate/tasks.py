"""The prompts of an evaluation: those of all its suites, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cai.evaluate.suites.records import Suite, SuiteItem


class Task(NamedTuple):
    """A prompt of a suite.

    Attributes:
        suite: Its name.
        item: The prompt.
        cluster: What it belongs to: prompts of one are not independent of each other.
    """

    suite: str
    item: SuiteItem
    cluster: str

    @property
    def text(self) -> str:
        return self.item.prompt.last_human_turn


def tasks_of(suites: Sequence[Suite]) -> list[Task]:
    """The prompts of the suites, in their order.

    Twins, prompts of one group and equal ones are one cluster, as is all that these join.
    """
    items = [(suite.name, item) for suite in suites for item in suite.items]
    labels: dict[tuple[str, str], set[str | None]] = {}
    for suite, item in items:
        labels.setdefault((suite, item.pair or ""), set()).add(item.label)
    keys = [list(_keys(suite, item, labels[suite, item.pair or ""])) for suite, item in items]
    joined: dict[str, str] = {}
    for first, *others in keys:
        top = _root(joined, first)
        joined |= {_root(joined, key): top for key in others}
    return [
        Task(suite, item, _root(joined, own[0]))
        for (suite, item), own in zip(items, keys, strict=True)
    ]


def _keys(suite: str, item: SuiteItem, labels: set[str | None]) -> Iterator[str]:
    """What a prompt has in common with others; one without words, of recorded labels, is itself.

    A pair of which a suite has both twins is its own; else the other one is in another suite.
    """
    prompt = item.prompt
    if item.pair:
        whole = {"safe", "unsafe"} <= labels
        yield f"pair {suite}: {item.pair}" if whole else f"pair {item.pair}"
    if prompt.group and prompt.group != item.pair:
        yield f"group {prompt.group}"
    alone = f"{suite}: {prompt.id}"
    yield prompt.text_digest if prompt.last_human_turn.strip() else alone


def _root(joined: dict[str, str], key: str) -> str:
    while joined.setdefault(key, key) != key:
        key = joined[key]
    return key
