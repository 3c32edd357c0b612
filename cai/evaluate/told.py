"""What a reader has to be told of suites and answers, beside the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cai.evaluate.recorded import Recording
from cai.evaluate.records import Scored
from cai.evaluate.sides import Answered
from cai.evaluate.suites.records import Suite


def told(
    suites: Sequence[Suite],
    sides: Sequence[Answered],
    scored: Sequence[Sequence[Sequence[Scored]]],
    recording: Recording | None,
) -> Iterator[str]:
    """What was left out, not answered, cut or not judged, and what suites say two ways of."""
    for suite in suites:
        if suite.bad:
            yield f"{suite.name}: {len(suite.bad):,} rows left out; the first: {suite.bad[0]}"
    yield from _contradictions(suites)
    if recording is not None and recording.bad:
        count = len(recording.bad)
        yield f"{recording.path}: {count:,} rows left out; the first: {recording.bad[0]}"
    for side, answers in zip(sides, scored, strict=True):
        yield from side.told
        failed = [s.answer.error for of in answers for s in of if s.answer.error is not None]
        if failed and recording is None:
            yield f"{side.side.name}: {len(failed):,} prompts without an answer ({failed[0]})"
        cut = sum(s.answer.cut for of in answers for s in of)
        if cut:
            yield f"{side.side.name}: {cut:,} answers were cut at the greatest length"
        unjudged = [s.unjudged for of in answers for s in of if s.unjudged is not None]
        if unjudged:
            yield f"{side.side.name}: {len(unjudged):,} answers not judged ({unjudged[0]})"


def _contradictions(suites: Sequence[Suite]) -> Iterator[str]:
    """Prompts that are safe in one suite and unsafe in another: each is scored by both."""
    labels: dict[str, dict[str, str]] = {}
    for item in (item for suite in suites for item in suite.items):
        if item.label is not None and item.prompt.last_human_turn.strip():
            labels.setdefault(item.prompt.text_digest, {}).setdefault(item.label, item.where)
    both = [of for of in labels.values() if len(of) > 1]
    if both:
        where = f"{both[0]['safe']} and {both[0]['unsafe']}"
        yield f"prompts that are safe in one suite and unsafe in another: {len(both):,} ({where})"
