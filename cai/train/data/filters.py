"""Which rows are trained on, each filter by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from cai.train.config import TrainSettings
from cai.train.data.examples import Example
from cai.train.defaults import UNCALIBRATED_MARGIN


def without_duplicates(rows: Iterable[Example], seen: Collection[str] = ()) -> list[Example]:
    """Keep the first row of each prompt with its answers, and none that was `seen`."""
    digests, examples = set(seen), []
    for example in rows:
        content = example.content_digest
        if content not in digests:
            digests.add(content)
            examples.append(example)
    return examples


def without_leaks(rows: Iterable[Example], held_out: Collection[str]) -> list[Example]:
    """Leave out rows whose prompt, normalised, is one of the test split's."""
    return [e for e in rows if e.prompt_key not in held_out]


def of_pair_source(rows: Iterable[Example], source: str) -> list[Example]:
    """Keep pairs of the source, and rows that name none; `all` keeps every row."""
    return [e for e in rows if source == "all" or e.pair_source in (None, source)]


ROUNDING = 1e-9  # 2 x 0.7 - 1 is a little less than 0.4 in floating point


def with_margin(rows: Iterable[Example], settings: TrainSettings) -> list[Example]:
    """Keep labels with 2p - 1 of at least `min_margin`, or of what the loss asks for by itself."""
    return [e for e in rows if has_margin(e, least_margin(e, settings))]


def has_margin(example: Example, least: float) -> bool:
    return 2 * example.probability - 1 >= least - ROUNDING


def least_margin(example: Example, settings: TrainSettings) -> float:
    """The margin that a label must have: 0.2 where `auto` takes it as hard, else none."""
    if settings.min_margin is not None:
        return settings.min_margin
    return UNCALIBRATED_MARGIN if settings.loss == "auto" and not example.calibrated else 0.0


def learnt(example: Example, settings: TrainSettings) -> float:
    """The probability that is learnt from a label: 1 where `auto` takes it as hard."""
    hard = settings.loss == "auto" and not example.calibrated
    return 1.0 if hard else example.probability


def drawn(rows: Iterable[Example], seed: int) -> list[Example]:
    """The rows in the order of a hash of seed and id: a larger draw only adds to a smaller one."""
    return sorted(rows, key=lambda e: hashlib.sha256(f"{seed} {e.id}".encode()).digest())
