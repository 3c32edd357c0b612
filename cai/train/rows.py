"""What TRL's trainers are given: rows as texts or as tokens, a model that is loaded already."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from datasets import Dataset

from cai.errors import CaiError

MASK = "completion_mask"


def without_loading(args: Any) -> Any:
    """The settings without those for loading, which TRL warns of beside a loaded model."""
    settings = copy(args)
    settings.model_init_kwargs = None
    return settings


def tokenised(rows: Dataset, columns: tuple[Sequence[str], Sequence[str]]) -> bool:
    return set(columns[1]) <= set(rows.column_names)


def require_columns(rows: Dataset, columns: tuple[Sequence[str], Sequence[str]]) -> None:
    texts, tokens = columns
    missing = [column for column in texts if column not in rows.column_names]
    if missing and not tokenised(rows, columns):
        raise CaiError(
            f"the data has no {', '.join(missing)}",
            f"Its columns must be {', '.join(texts)}, or {', '.join(tokens)}.",
        )
    if not len(rows):
        raise CaiError("the data has no rows")
