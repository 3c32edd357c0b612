"""LLaMA-Factory: its sharegpt format with OpenAI's names, and the entries of dataset_info.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cai.publish.formats.records import Data, Format, Loss, Shape, Tables
from cai.publish.formats.rows import (
    EARLIER_ANSWERS,
    MESSAGE,
    MESSAGES,
    SOFT_LABELS,
    SYSTEM_TURNS,
    conversation,
    prompt_and_messages,
    yaml_block,
)

_SOURCE = (
    "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md and "
    "src/llamafactory/data/converter.py (LLaMA-Factory 0.9.6.dev0)"
)
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "sft": {"stage": "sft", "mask_history": True},
    "preferences": {"stage": "dpo"},
}
_MEDIA = ("<image>", "<video>", "<audio>")  # extras/constants.py


def _skipped(row: Data) -> bool:
    """Whether LLaMA-Factory would skip it: after one system turn, user and assistant alternate."""
    turns = [turn["role"] for turn in row["prompt"]]
    turns = turns[1:] if turns[:1] == ["system"] else turns
    wanted = [("user", "assistant")[place % 2] for place in range(len(turns))]
    return turns != wanted or len(turns) % 2 == 0


_SKIPPED = Loss(
    "a system turn stands later than first, or an assistant turn stands first; LLaMA-Factory skips "
    "such rows",
    _skipped,
    left_out=True,
)
_PLACEHOLDERS = Loss(
    "`<image>`, `<video>` or `<audio>` stands in a text: for a multimodal model LLaMA-Factory "
    "takes it as the place of a file and ends with an error",
    lambda row: any(
        mark in turn["content"]
        for name in ("prompt", "completion", "chosen", "rejected")
        for turn in row.get(name, ())
        for mark in _MEDIA
    ),
)


def _entries(tables: Tables) -> dict[str, Any]:
    """The descriptions of the files, by the names that `dataset` and `eval_dataset` take."""
    entries: dict[str, Any] = {}
    for table in tables.tables:
        entry: dict[str, Any] = {"file_name": table.path, "formatting": "sharegpt"}
        columns = {"messages": "messages"}
        if table.dataset == "preferences":
            entry["ranking"] = True
            columns |= {"chosen": "chosen", "rejected": "rejected"}
        entries[_entry(table.dataset, table.split)] = entry | {"columns": columns, "tags": _TAGS}
    return entries


def _entry(dataset: str, split: str) -> str:
    return f"cai_{dataset}_{split}"


def _info(tables: Tables) -> Mapping[str, str]:
    return {"dataset_info.json": json.dumps(_entries(tables), indent=2) + "\n"}


def _usage(tables: Tables) -> str:
    parts = [
        "`dataset_info.json` describes the files; for a folder of your own, copy its entries into "
        "the file there and the data beside it."
    ]
    for dataset, options in _OPTIONS.items():
        paths = tables.paths(dataset)
        if paths:
            keys = {"train": "dataset", "test": "eval_dataset"}
            names = {keys[split]: _entry(dataset, split) for split in paths}
            config = {**options, "dataset_dir": tables.folder.as_posix(), **names}
            parts.append(yaml_block(config))
    if "sft" in tables:
        parts.append("`mask_history` has the answer alone learnt, not the turns before it.")
    return "\n\n".join(parts)


LLAMA_FACTORY = Format(
    name="llama-factory",
    words="conversations and pairs in its sharegpt format, with dataset_info.json",
    source=_SOURCE,
    shapes={
        "sft": Shape(
            "sft/{split}.parquet",
            conversation,
            ("prompt", "completion"),
            pa.schema([("messages", MESSAGES)]),
            (_SKIPPED, SYSTEM_TURNS, EARLIER_ANSWERS, _PLACEHOLDERS),
        ),
        "preferences": Shape(
            "preferences/{split}.parquet",
            prompt_and_messages,
            ("prompt", "chosen", "rejected"),
            pa.schema([("messages", MESSAGES), ("chosen", MESSAGE), ("rejected", MESSAGE)]),
            (_SKIPPED, SYSTEM_TURNS, SOFT_LABELS, _PLACEHOLDERS),
        ),
    },
    usage=_usage,
    more=_info,
)
