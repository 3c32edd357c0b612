"""TRL, and the alignment handbook, whose scripts train with it."""

from __future__ import annotations

import pyarrow as pa

from cai.publish.formats.records import Data, Format, Shape, Tables
from cai.publish.formats.rows import (
    EARLIER_ANSWERS,
    MESSAGE_SHAPES,
    MESSAGES,
    SOFT_LABELS,
    SYSTEM_TURNS,
    code,
    conversation,
    yaml_block,
)

_DATASET_FORMATS = "https://huggingface.co/docs/trl/dataset_formats (TRL 1.16)"
_HANDBOOK = (
    "https://github.com/huggingface/alignment-handbook/blob/main/scripts/README.md and "
    "src/alignment/data.py (read at commit 925acdf)"
)
_LABELLED = pa.schema(
    [("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_())],
)
_DIALOGUES = pa.schema([("chosen", MESSAGES), ("rejected", MESSAGES)])
_TRAINERS = {"sft": "SFT", "preferences": "DPO", "kto": "KTO"}


def _trl_usage(tables: Tables) -> str:
    blocks = []
    for config in dict.fromkeys(table.config for table in tables.tables):
        splits = {table.split for table in tables.tables if table.config == config}
        given = [
            f'{kind}_dataset=data["{split}"]'
            for kind, split in (("train", "train"), ("eval", "test"))
            if split in splits
        ]
        trainer = f"{_TRAINERS[config]}Trainer"
        lines = [
            "from datasets import load_dataset",
            f"from trl import {trainer}",
            "",
            f"data = load_dataset({tables.folder.as_posix()!r}, {config!r})",
            f'trainer = {trainer}("a/model", {", ".join(given)})',
        ]
        blocks.append(code("python", "\n".join(lines)))
    return "\n\n".join(blocks)


def _unpaired(row: Data) -> list[Data]:
    return [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": True},
        {"prompt": row["prompt"], "completion": row["rejected"], "label": False},
    ]


def _dialogues(row: Data) -> list[Data]:
    return [{name: [*row["prompt"], *row[name]] for name in ("chosen", "rejected")}]


def _handbook_usage(tables: Tables) -> str:
    scripts = {"sft": "scripts/sft.py", "preferences": "scripts/dpo.py or scripts/orpo.py"}
    parts = []
    for dataset, script in scripts.items():
        names = {t.split: t.name for t in tables.tables if t.dataset == dataset}
        if names:
            config = {"dataset_name": tables.folder.as_posix(), "dataset_config": dataset}
            config |= {f"dataset_{split}_split": name for split, name in names.items()}
            parts.append(f"In the recipe for `{script}`:\n\n{yaml_block(config)}")
    parts.append(
        "A `dataset_mixture` takes the same names as `id`, `config` and `split`; it cuts its own "
        "test rows off the mixture, so prompts of the test split are then trained on if both are "
        "named."
    )
    return "\n\n".join(parts)


TRL = Format(
    name="trl",
    words="conversational prompt-completion and preference rows of TRL",
    source=_DATASET_FORMATS,
    shapes=MESSAGE_SHAPES,
    usage=_trl_usage,
)
KTO = Format(
    name="kto",
    words="unpaired rows: each answer of a pair with whether it is the better one",
    source=_DATASET_FORMATS,
    shapes={
        "preferences": Shape(
            "kto/{split}.parquet",
            _unpaired,
            ("prompt", "chosen", "rejected"),
            _LABELLED,
            (SYSTEM_TURNS, SOFT_LABELS),
        )
    },
    usage=_trl_usage,
)
HANDBOOK = Format(
    name="alignment-handbook",
    words="the splits train_sft, test_sft, train_prefs and test_prefs",
    source=_HANDBOOK,
    shapes={
        "sft": Shape(
            "sft/{split}_sft.parquet",
            conversation,
            ("prompt", "completion"),
            pa.schema([("messages", MESSAGES)]),
            (SYSTEM_TURNS, EARLIER_ANSWERS),
        ),
        "preferences": Shape(
            "preferences/{split}_prefs.parquet",
            _dialogues,
            ("prompt", "chosen", "rejected"),
            _DIALOGUES,
            (SYSTEM_TURNS, SOFT_LABELS),
        ),
    },
    usage=_handbook_usage,
)
