"""Axolotl: conversations for `chat_template`, pairs for `chat_template.default` under `rl: dpo`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pyarrow as pa

from cai.publish.formats.records import Data, Format, Loss, Shape, Tables
from cai.publish.formats.rows import (
    MESSAGE,
    MESSAGES,
    SOFT_LABELS,
    SYSTEM_TURNS,
    prompt_and_messages,
    yaml_block,
)

_SOURCE = (
    "https://docs.axolotl.ai/docs/dataset-formats/conversation.html, "
    "https://docs.axolotl.ai/docs/rlhf.html and https://docs.axolotl.ai/docs/dataset_loading.html "
    "(axolotl 0.18.0)"
)
_TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("train", pa.bool_())])
# The answer is looked for in what the template wrote: prompt_strategies/dpo/chat_template.py.
_TRIMMED = Loss(
    "an answer begins or ends with white space: where the chat template trims it, axolotl does "
    "not find the answer in the text and learns its last character alone",
    lambda row: any(
        row[name][-1]["content"] != row[name][-1]["content"].strip()
        for name in ("chosen", "rejected")
    ),
)
_OPTIONS: dict[str, dict[str, Any]] = {
    "sft": {
        "type": "chat_template",
        "field_messages": "messages",
        "roles_to_train": [],
        "train_on_eos": "turn",
        "message_field_training": "train",
    },
    "preferences": {
        "type": "chat_template.default",
        "field_messages": "messages",
        "field_chosen": "chosen",
        "field_rejected": "rejected",
    },
}


def _marked(row: Data) -> list[Data]:
    """The conversation, each turn with whether it is learnt: the answer alone is."""
    before = [{**turn, "train": False} for turn in row["prompt"]]
    return [{"messages": [*before, *({**turn, "train": True} for turn in row["completion"])]}]


def _usage(tables: Tables) -> str:
    parts = []
    for dataset, options in _OPTIONS.items():
        sets = {
            "datasets" if split == "train" else "test_datasets": [
                {"path": path, "ds_type": "parquet", "split": "train", **deepcopy(options)}
            ]
            for split, path in tables.paths(dataset).items()
        }
        if sets:
            method = {"rl": "dpo"} if dataset == "preferences" else {}
            what = "Supervised training" if dataset == "sft" else "DPO"
            parts.append(f"{what}:\n\n{yaml_block(method | sets)}")
    return "\n\n".join(parts)


AXOLOTL = Format(
    name="axolotl",
    words="conversations with the answer marked, and pairs after their turns",
    source=_SOURCE,
    shapes={
        "sft": Shape(
            "sft/{split}.parquet",
            _marked,
            ("prompt", "completion"),
            pa.schema([("messages", pa.list_(_TURN))]),
            (SYSTEM_TURNS,),
        ),
        "preferences": Shape(
            "preferences/{split}.parquet",
            prompt_and_messages,
            ("prompt", "chosen", "rejected"),
            pa.schema([("messages", MESSAGES), ("chosen", MESSAGE), ("rejected", MESSAGE)]),
            (SYSTEM_TURNS, SOFT_LABELS, _TRIMMED),
        ),
    },
    usage=_usage,
)
