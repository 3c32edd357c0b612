"""What the journal holds under a key, as it is read: a result, or the error of a call."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cai.records import ChoiceScores


def is_unusable(stored: str, least: float) -> bool:
    """Whether labels were not scored, or with less than `least` of the probability."""
    return is_error(stored) or ChoiceScores.model_validate_json(stored).mass < least


def is_answer(logprobs: Sequence[float]) -> bool:
    """Whether these are log-probabilities of which at least one is more than -inf."""
    return all(x < math.inf for x in logprobs) and max(logprobs) > -math.inf


def is_error(stored: str) -> bool:
    return stored.startswith('{"error"')
