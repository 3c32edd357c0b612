"""The prompts of an evaluation: those of all its suites, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cai.evaluate.suites.records import Suite, SuiteItem


class Task(NamedTuple):
    """A prompt of a suite."""

    suite: str
    item: SuiteItem

    @property
    def cluster(self) -> str:
        """What it belongs to: twins and lineages, the larger, are no independent prompts.

        Nor is a prompt that stands in two suites. One without words, of recorded labels, is itself.
        """
        prompt = self.item.prompt
        alone = prompt.text_digest if self.text.strip() else f"{self.suite}: {prompt.id}"
        return prompt.group or self.item.pair or alone

    @property
    def text(self) -> str:
        return self.item.prompt.last_human_turn


def tasks_of(suites: Sequence[Suite]) -> list[Task]:
    """The prompts of the suites, in their order."""
    return [Task(suite.name, item) for suite in suites for item in suite.items]
