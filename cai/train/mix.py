"""Other data that is trained on beside the main data: `SOURCE` or `SOURCE=WEIGHT`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple


class Mix(NamedTuple):
    """Other data for the train split; `weight` rows per row of the main data, None for all."""

    source: str
    weight: float | None


def parse_mix(text: str) -> Mix:
    """`SOURCE` or `SOURCE=WEIGHT` in two; a file whose name has an `=` stays whole.

    Raises:
        ValueError: There is no source, or the weight is no number above 0.
    """
    source, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        source, weight = text, ""
    if not source.strip():
        raise ValueError(f"{text!r} names no data")
    if source == text:
        return Mix(source, None)
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{weight!r} is no weight: write a number above 0, as in {source}=0.3")
    return Mix(source, number)
