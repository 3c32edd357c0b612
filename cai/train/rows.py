"""What TRL's trainers are given: rows as texts or as tokens, a model that is loaded already."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from datasets import Dataset

from cai.dataset.schema import ANSWERS
from cai.errors import CaiError
from cai.train.data.arrow import TOKENS
from cai.train.data.columns import PROBABILITY

MASK = "completion_mask"
# As texts, or as tokens already.
DEMONSTRATION_COLUMNS = (("prompt", *ANSWERS["sft"]), TOKENS["sft"].names)
PAIR_COLUMNS = (
    ("prompt", *ANSWERS["preferences"], PROBABILITY),
    TOKENS["preferences"].names,
)


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


def require_pairs(rows: Dataset, args: Any) -> None:
    """Raise `CaiError` where a column is missing, a label is none, or they cannot be shared."""
    require_columns(rows, PAIR_COLUMNS)
    for place, label in enumerate(rows[PROBABILITY][:]):
        if label is None or not 0.5 <= label <= 1:
            raise CaiError(
                f"row {place}: {PROBABILITY} is {label}",
                "It must be 0.5 to 1; where it is less, swap chosen and rejected.",
            )
    # TRL hands precomputed values from process to process in a file beside the data's.
    if args.precompute_ref_log_probs and args.world_size > 1 and not rows.cache_files:
        raise CaiError(
            "the reference cannot be precomputed in several processes on data in memory",
            "Write the data to a file and load it from there.",
        )
