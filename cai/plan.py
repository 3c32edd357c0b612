"""What running would do: rows that stand, calls in the journal, calls to make; no model is used."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cai.records import Failure, Prompt, RevisionChain
from cai.revision import Method, revise
from cai.runtime.calls import Calls, MissingCall, Rejected

T = TypeVar("T")

# Changes that are the tool's daily use; the others are asked about before rows are replaced.
EXPECTED = frozenset({"constitution"})


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits (a replay)."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise RuntimeError("a replay waited for something")


def replay(prompt: Prompt, method: Method, calls: Calls) -> RevisionChain | Failure:
    """A row from the journal alone; raises `MissingCall` when a call is not there."""
    try:
        return run_to_end(revise(prompt, method, calls.row(prompt.id)))
    except Rejected as reason:
        return failure_of(prompt, reason)


def failure_of(prompt: Prompt, reason: Rejected) -> Failure:
    return Failure(
        stage=reason.stage, prompt_id=prompt.id, error=reason.error, message=reason.message
    )


@dataclass
class Plan:
    """What a run into a folder would reuse and make.

    `replaced` counts rows of the last run whose data would change or go.
    """

    changes: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    complete: int = 0
    reused: int = 0
    at_least: int = 0
    at_most: int = 0
    standing: int = 0
    replaced: int = 0
    first: list[Prompt] = field(default_factory=list)

    @property
    def needs_consent(self) -> bool:
        return self.replaced > 0 and bool(set(self.changes) - EXPECTED)


def plan_rows(
    plan: Plan,
    prompts: Iterable[Prompt],
    new: tuple[Method, Calls],
    old: tuple[Method, Calls] | None,
    show: int = 2,
) -> Plan:
    """Replay every prompt by the new method, and by the old one, and count."""
    method, calls = new
    for prompt in prompts:
        plan.rows += 1
        if len(plan.first) < show:
            plan.first.append(prompt)
        row = calls.row(prompt.id)
        outcome: RevisionChain | Failure | None = None
        try:
            outcome = run_to_end(revise(prompt, method, row))
            plan.complete += 1
        except Rejected as reason:
            outcome = failure_of(prompt, reason)
            plan.complete += 1
        except MissingCall:
            plan.at_least += 1
            plan.at_most += max(1, method.most_calls(prompt) - row.depth + 1)
        if old is not None and (before := _standing(prompt, *old)) is not None:
            plan.standing += 1
            plan.replaced += before != outcome
    plan.reused = calls.tally.reused
    return plan


def _standing(prompt: Prompt, method: Method, calls: Calls) -> RevisionChain | None:
    try:
        return run_to_end(revise(prompt, method, calls.row(prompt.id)))
    except (MissingCall, Rejected):
        return None
