"""The rows of one source that are trained on, after all filters, and the count of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from cai.train.config import TrainSettings
from cai.train.data.arrow import TokenRow, token_row
from cai.train.data.examples import Example
from cai.train.data.filters import (
    drawn,
    learnt,
    of_pair_source,
    with_margin,
    without_duplicates,
    without_leaks,
)
from cai.train.data.lengths import fit
from cai.train.data.report import Counts, Reason
from cai.train.data.source import Source
from cai.train.encoding import Encoded, Encoder


class Selection(NamedTuple):
    """The examples of a source that stay, their ids, and what became of the rest.

    `probabilities` are what is learnt of their labels; `before_margin` are all examples that the
    filters before the margin's have let through.
    """

    kept: list[Example]
    encoded: list[Encoded]
    counts: Counts
    longest: int
    measured: int
    probabilities: list[float]
    before_margin: list[Example]

    def rows(self) -> Iterator[TokenRow]:
        """The columns that the trainers take."""
        for encoded, probability in zip(self.encoded, self.probabilities, strict=True):
            yield token_row(encoded, probability)


def select(
    source: Source,
    settings: TrainSettings,
    encoder: Encoder,
    held_out: Collection[str] = (),
    seen: Collection[str] = (),
    count: int | None = None,
) -> Selection:
    """The train rows of a source after all filters, in file order, or `count` drawn ones.

    Args:
        source: Rows as they were read.
        settings: The filters' settings.
        encoder: Turns rows into ids.
        held_out: Prompts of the test split; no row may have one.
        seen: Contents that other sources have given already.
        count: How many rows to take; None takes all.
    """
    rows = [e for e in source.train if isinstance(e, Example)]
    filters: list[tuple[Reason, Callable[[Sequence[Example]], list[Example]]]] = [
        ("duplicate", lambda rows: without_duplicates(rows, seen)),
        ("leak", lambda rows: without_leaks(rows, held_out)),
        ("pair source", lambda rows: of_pair_source(rows, settings.pair_source)),
    ]
    dropped: Counter[Reason] = Counter(e.fault for e in source.train if not isinstance(e, Example))
    for reason, keep in filters:
        before, rows = len(rows), keep(rows)
        dropped[reason] += before - len(rows)
    before_margin, rows = rows, with_margin(rows, settings)
    dropped["margin"] += len(before_margin) - len(rows)
    if count is not None:
        rows = drawn(rows, settings.seed)
    fitted = fit(rows, settings, encoder, count)
    dropped.update(fitted.dropped)
    counts = Counts(
        origin=source.origin,
        read=len(source.train),
        dropped={reason: n for reason, n in dropped.items() if n},
        cut=fitted.cut,
        kept=len(fitted.kept),
        asked=count,
        unused=len(rows) - fitted.measured,
    )
    return Selection(
        kept=fitted.kept,
        encoded=fitted.encoded,
        counts=counts,
        longest=fitted.longest,
        measured=fitted.measured,
        probabilities=[learnt(example, settings) for example in fitted.kept],
        before_margin=before_margin,
    )
