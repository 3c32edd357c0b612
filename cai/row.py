"""One prompt through both stages; a part that fails takes no other part with it."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from cai.assessment import assess
from cai.feedback import guided_pair, revision_pair, sampled_pair
from cai.method import Method
from cai.records import Failure, Pair, PairSource, Prompt, Row
from cai.revision import revise
from cai.runtime.calls import Calls, MissingCall, Rejected, RowCalls

T = TypeVar("T")


async def make_row(prompt: Prompt, method: Method, calls: RowCalls) -> Row:
    """The chain of a prompt and its labelled pairs; in a replay, as far as the journal goes."""
    failures: list[Failure] = []
    missing = False

    async def part(work: Awaitable[T], pair: PairSource | None = None) -> T | None:
        nonlocal missing
        try:
            return await work
        except Rejected as reason:
            failures.append(
                Failure(
                    stage=reason.stage,
                    prompt_id=prompt.id,
                    error=reason.error,
                    message=reason.message,
                    pair=pair,
                )
            )
        except MissingCall:
            missing = True
        return None

    chain = await part(revise(prompt, method, calls)) if method.revises else None
    by, assessments = method.looked_at_by(prompt), None
    if chain is not None and by:
        assessments = await part(assess(chain.prompt, chain.final, by, method, calls))
    pairs: list[Pair | None] = []
    for source in method.sources_for(prompt):
        if source == "sampled":
            pairs.append(await part(sampled_pair(prompt, method, calls), source))
        elif chain is not None and source == "guided":
            pairs.append(await part(guided_pair(chain, method, calls), source))
        elif chain is not None:
            pairs.append(await part(revision_pair(chain, method, calls), source))
    return Row(
        prompt=prompt.with_system(method.settings.system),
        chain=chain,
        assessments=assessments or (),
        pairs=tuple(pair for pair in pairs if pair is not None),
        failures=tuple(failures),
        missing=missing,
    )


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits (a replay)."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise RuntimeError("a replay waited for something")


def replay(prompt: Prompt, method: Method, calls: Calls) -> Row:
    """A row from the journal alone, as far as that goes."""
    return run_to_end(make_row(prompt, method, calls.row(prompt.id)))
