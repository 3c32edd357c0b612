"""The same chain on many machines: Ray actors, each with models of its own, take rows one by one.

A row that is finished comes back with its calls, which are committed here; the journal never leaves
this machine. Actors are used and not Ray Data, whose tasks read on any machine: prompts, and what
is known of their calls, lie here. A row is the unit of what can be lost, and waits for no block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cai.errors import CaiError
from cai.generation.worker import Reading, Task
from cai.generation.workers import Workers
from cai.method import Method
from cai.records import Prompt
from cai.row import replay
from cai.runtime.calls import Calls
from cai.runtime.entries import is_error


@dataclass
class Distributed:
    """Rows of a run made by workers, their calls committed to the run's journal."""

    method: Method
    calls: Calls
    workers: Workers
    keep_labels: Callable[[], None]

    async def make(self, position: int, prompt: Prompt) -> bool:
        """Have a row made if the journal does not have it whole; whether a part of it failed."""
        calls, store = self.calls, self.calls.store
        own, others = Reading(store), [Reading(other) for other in calls.reuse]
        looked = Calls(own, calls.seed, calls.identities, reuse=others, labels=calls.labels)
        row = replay(prompt, self.method, looked)
        calls.tally.reused += looked.tally.reused
        entries, attempts = dict(own.entries), dict(own.attempts)
        for other in others:
            entries = {k: v for k, v in other.entries.items() if not is_error(v)} | entries
            for address, first in other.attempts.items():
                attempts[address] = max(first, attempts.get(address, 0))
        await self._keep(
            {key: value for key, value in entries.items() if key not in own.entries},
            {a: first for a, first in attempts.items() if first != own.attempts.get(a)},
        )
        if not row.missing and not (row.failures and calls.retry_failed):
            return bool(row.failures)
        task = Task(position, prompt, entries, attempts, dict(calls.labels))
        result = await self.workers.row(task)
        if result.labels.keys() - calls.labels.keys():
            calls.labels.update(result.labels)
            self.keep_labels()
        await self._keep(result.calls, result.raised)
        calls.tally.add(result.tally)
        if result.error is not None:
            raise CaiError(*result.error)
        return result.failed

    async def _keep(self, entries: Mapping[bytes, str], raised: Mapping[str, int]) -> None:
        for address, first in raised.items():
            await self.calls.store.raise_attempt(address, first)
        if entries:
            await self.calls.store.put(entries)
