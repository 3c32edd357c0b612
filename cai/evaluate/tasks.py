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
    joined: dict[str, str] = {}
    for suite, item in items:
        first, *others = (_root(joined, key) for key in _keys(suite, item))
        joined |= dict.fromkeys(others, first)
    return [Task(suite, item, _root(joined, next(_keys(suite, item)))) for suite, item in items]


def _keys(suite: str, item: SuiteItem) -> Iterator[str]:
    """What a prompt has in common with others; one without words, of recorded labels, is itself."""
    prompt = item.prompt
    if prompt.group:
        yield f"group {prompt.group}"
    if item.pair:
        yield f"pair {item.pair}"
    alone = f"{suite}: {prompt.id}"
    yield prompt.text_digest if prompt.last_human_turn.strip() else alone


def _root(joined: dict[str, str], key: str) -> str:
    while joined.setdefault(key, key) != key:
        key = joined[key]
    return key
