"""Which rows are trained on, each filter by itself."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from cai.train.config import TrainSettings
from cai.train.data.examples import Example
from cai.train.data.load import Reason, Row
from cai.train.data.report import Counts
from cai.train.data.source import Source
from cai.train.encoding import Encoded, Encoder


class Selection(NamedTuple):
    """The examples of a source that stay, their ids, and what became of the rest."""

    kept: list[Example]
    encoded: list[Encoded]
    counts: Counts
    longest: int
    measured: int

    def rows(self) -> Iterator[Row]:
        """The columns that the trainers take."""
        for example, encoded in zip(self.kept, self.encoded, strict=True):
            yield columns(encoded, example.probability)


def columns(encoded: Encoded, probability: float) -> Row:
    """A row as the trainers take it."""
    prompt, answers = encoded.prompt, encoded.answers
    if len(answers) == 1:
        mask = array("b", [0]) * len(prompt) + array("b", [1]) * len(answers[0])
        return {"input_ids": prompt + answers[0], "completion_mask": mask}
    return {
        "prompt_ids": prompt,
        "chosen_ids": answers[0],
        "rejected_ids": answers[1],
        "chosen_probability": probability,
    }


def select(
    source: Source,
    settings: TrainSettings,
    encoder: Encoder,
    held_out: Collection[str] = (),
    seen: Collection[str] = (),
    wanted: int | None = None,
) -> Selection:
    """The train rows of a source after all filters, in file order, or `wanted` drawn ones.

    Args:
        source: Rows as they were read.
        settings: The filters' settings.
        encoder: Turns rows into ids.
        held_out: Prompts of the test split; no row may have one.
        seen: Contents that other sources have given already.
        wanted: How many rows to take; None takes all.
    """
    parsed = [e for e in source.train if isinstance(e, Example)]
    filters: list[tuple[Reason, Callable[[Sequence[Example]], list[Example]]]] = [
        ("duplicate", lambda rows: without_duplicates(rows, seen)),
        ("leak", lambda rows: without_leaks(rows, held_out)),
        ("pair source", lambda rows: of_pair_source(rows, settings.pair_source)),
        ("margin", lambda rows: with_margin(rows, settings.min_margin)),
    ]
    dropped: Counter[Reason] = Counter(e.fault for e in source.train if not isinstance(e, Example))
    rows = parsed
    for reason, keep in filters:
        before, rows = len(rows), keep(rows)
        dropped[reason] += before - len(rows)
    if wanted is not None:
        rows = drawn(rows, settings.seed)
    kept: list[Example] = []
    encoded: list[Encoded] = []
    cut = longest = measured = 0
    for example in rows:
        if wanted is not None and len(kept) >= wanted:
            break
        measured += 1
        row = encoder.encode(example)
        if row is None:
            dropped["template"] += 1
            continue
        longest = max(longest, row.length)
        over = row.length > settings.max_length
        if over and (settings.too_long == "drop" or len(row.prompt) >= settings.max_length):
            dropped["too long"] += 1
            continue
        cut += over
        kept.append(example)
        encoded.append(row.cut(settings.max_length) if over else row)
    counts = Counts(
        origin=source.origin,
        read=len(source.train),
        dropped={reason: n for reason, n in dropped.items() if n},
        cut=cut,
        kept=len(kept),
        asked=wanted,
        unused=len(rows) - measured,
    )
    return Selection(kept, encoded, counts, longest, measured)


def without_duplicates(rows: Iterable[Example], seen: Collection[str] = ()) -> list[Example]:
    """Keep the first row of each prompt with its answers, and none that was `seen`."""
    known, kept = set(seen), []
    for example in rows:
        key = example.content_digest
        if key not in known:
            known.add(key)
            kept.append(example)
    return kept


def without_leaks(rows: Iterable[Example], held_out: Collection[str]) -> list[Example]:
    """Leave out rows whose prompt, normalised, is one of the test split's."""
    return [e for e in rows if e.prompt_key not in held_out]


def of_pair_source(rows: Iterable[Example], wanted: str) -> list[Example]:
    """Keep pairs of the wanted source, and rows that name none."""
    return [e for e in rows if wanted == "all" or e.pair_source in (None, wanted)]


ROUNDING = 1e-9  # 2 x 0.7 - 1 is a little less than 0.4 in floating point


def with_margin(rows: Iterable[Example], least: float) -> list[Example]:
    """Keep labels with 2p - 1 of at least `least`."""
    return [e for e in rows if 2 * e.probability - 1 >= least - ROUNDING]


def drawn(rows: Iterable[Example], seed: int) -> list[Example]:
    """The rows in the order of a hash of seed and id: a larger draw only adds to a smaller one."""
    return sorted(rows, key=lambda e: hashlib.sha256(f"{seed} {e.id}".encode()).digest())
