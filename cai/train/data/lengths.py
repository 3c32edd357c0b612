"""Examples as token ids, and what becomes of those that are too long to be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from cai.train.config import TrainSettings
from cai.train.data.examples import Example
from cai.train.data.report import Reason
from cai.train.encoding import Encoded, Encoder


class Fitted(NamedTuple):
    """The examples that stay, their ids, and why others do not; `cut` are among those that stay.

    `measured` rows were looked at, the longest of which has `longest` tokens.
    """

    kept: list[Example]
    encoded: list[Encoded]
    dropped: Counter[Reason]
    cut: int
    longest: int
    measured: int


def fit(
    rows: Iterable[Example], settings: TrainSettings, encoder: Encoder, count: int | None = None
) -> Fitted:
    """The rows that the template takes, those above `max_length` dropped or cut.

    Args:
        rows: In the order in which they are taken.
        settings: `max_length`, and whether a longer row is dropped or cut; a prompt never is cut.
        encoder: Turns rows into ids.
        count: After how many rows that stay to stop; None takes all.
    """
    examples: list[Example] = []
    encoded: list[Encoded] = []
    dropped: Counter[Reason] = Counter()
    cut = longest = measured = 0
    for example in rows:
        if count is not None and len(examples) >= count:
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
        examples.append(example)
        encoded.append(row.cut(settings.max_length) if over else row)
    return Fitted(examples, encoded, dropped, cut, longest, measured)
