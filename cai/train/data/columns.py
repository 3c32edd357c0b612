"""Which columns of a dataset are read: those of a run, of any file, and what must be there."""

from __future__ import annotations

from collections.abc import Sequence

from cai.dataset.schema import ANSWERS, schema_of
from cai.errors import InputError
from cai.sources.conversations import CONVERSATIONS, SYSTEM
from cai.sources.files import Columns
from cai.sources.wording import listed
from cai.train.config import DatasetName

PROBABILITY, CALIBRATED = "chosen_probability", "calibrated"
COLUMNS_HINT = (
    "sft learns from the columns prompt and completion, or messages; dpo from prompt, chosen and "
    "rejected, or from chosen and rejected as whole conversations. A column holds texts, "
    "transcripts, or lists of {role, content}."
)
_BESIDE = (
    "id",
    PROBABILITY,
    CALIBRATED,
    "pair_source",
    "prompt_kind",
    *SYSTEM,
)  # read if they are there


def missing_column(names: Sequence[str], dataset: DatasetName) -> str | None:
    """The first column that is needed and not there."""
    if dataset == "sft" and any(name in names for name in CONVERSATIONS):
        return None
    return next((name for name in ANSWERS[dataset] if name not in names), None)


def columns_of_run(dataset: DatasetName) -> list[str]:
    """The columns, besides the answers, that the dataset of any run has and that are read."""
    needed = {"prompt", *_BESIDE} - {"prompt_kind"}
    return [name for name in schema_of(dataset, 1).names if name in needed]


def columns_to_read(dataset: DatasetName, required: Sequence[str] = ()) -> Columns:
    """Chooses the columns that are read, of the names of all."""
    whole = CONVERSATIONS if dataset == "sft" else ()
    readable = {"prompt", *ANSWERS[dataset], *whole, *_BESIDE}

    def choose(names: Sequence[str], where: str) -> list[str]:
        lacking = [name for name in required if name not in names]
        missing = missing_column(names, dataset) or next(iter(lacking), None)
        if missing is not None:
            message = f"no column {missing}; there are: {listed(names)}"
            raise InputError(where, message, COLUMNS_HINT)
        return [name for name in names if name in readable]

    return choose
