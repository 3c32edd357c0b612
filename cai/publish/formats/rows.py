"""Rows of a run in the forms that several tools share, and what those forms do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cai.constitution.yaml_file import dumped
from cai.dataset.schema import PREFERENCES, SFT
from cai.publish.formats.records import Data, Loss, Shape

MESSAGES = SFT.field("prompt").type
MESSAGE = MESSAGES.value_type
PROMPT_COMPLETION = pa.schema([SFT.field("prompt"), SFT.field("completion")])
PAIR = pa.schema([PREFERENCES.field(name) for name in ("prompt", "chosen", "rejected")])


def as_it_is(row: Data) -> list[Data]:
    return [row]


def prompt_and_completion(row: Data) -> list[Data]:
    return [{"prompt": row["prompt"], "completion": row["completion"]}]


def conversation(row: Data) -> list[Data]:
    """One list of messages that ends with the answer to learn."""
    return [{"messages": [*row["prompt"], *row["completion"]]}]


def pair(row: Data) -> list[Data]:
    return [{name: row[name] for name in PAIR.names}]


def prompt_and_messages(row: Data) -> list[Data]:
    """The turns before, and each of the two answers as one message."""
    return [
        {"messages": row["prompt"], "chosen": row["chosen"][-1], "rejected": row["rejected"][-1]}
    ]


SOFT_LABELS = Loss(
    "the label is soft, its probability less than 1; the trainer takes it as 1",
    lambda row: row["chosen_probability"] < 1,
)
SYSTEM_TURNS = Loss(
    "a system turn is written as a message; a chat template that knows none drops it or fails",
    lambda row: any(turn["role"] == "system" for turn in row["prompt"]),
)
EARLIER_ANSWERS = Loss(
    "nothing marks the answer to learn; a trainer that learns every assistant turn learns the "
    "earlier ones too",
    lambda row: any(turn["role"] == "assistant" for turn in row["prompt"]),
)


def code(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def yaml_block(value: Mapping[str, Any]) -> str:
    return code("yaml", dumped(value))


def command(*lines: str) -> str:
    """A command over several lines."""
    return code("bash", " \\\n    ".join(lines))


# The datasets as they are, but for the columns that only we know.
MESSAGE_SHAPES = {
    "sft": Shape(
        "sft/{split}.parquet",
        prompt_and_completion,
        ("prompt", "completion"),
        PROMPT_COMPLETION,
        (SYSTEM_TURNS,),
    ),
    "preferences": Shape(
        "preferences/{split}.parquet",
        pair,
        ("prompt", "chosen", "rejected"),
        PAIR,
        (SYSTEM_TURNS, SOFT_LABELS),
    ),
}
