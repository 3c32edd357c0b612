"""NeMo-RL: ranked completions of `PreferenceDataset`, conversations of `openai_format`."""

from __future__ import annotations

import json
import re
import shlex

from cai.publish.formats.records import Data, Format, Shape, Tables
from cai.publish.formats.rows import (
    EARLIER_ANSWERS,
    SOFT_LABELS,
    SYSTEM_TURNS,
    command,
    conversation,
)

_SOURCE = (
    "https://docs.nvidia.com/nemo/rl/latest/guides/dpo.html and "
    "https://docs.nvidia.com/nemo/rl/latest/guides/sft.html (NeMo-RL 0.6.0)"
)
_SCRIPTS = {
    "sft": ("examples/run_sft.py", "openai_format", ["sft.only_unmask_final=true"]),
    "preferences": ("examples/run_dpo.py", "PreferenceDataset", []),
}


def _ranked(row: Data) -> list[Data]:
    """The turns before, and the two answers: the lower rank is the better one."""
    answers = (row["chosen"], row["rejected"])
    completions = [{"rank": rank, "completion": answer} for rank, answer in enumerate(answers)]
    return [{"context": row["prompt"], "completions": completions}]


def _usage(tables: Tables) -> str:
    parts = []
    for dataset, (script, name, more) in _SCRIPTS.items():
        paths = tables.paths(dataset)
        if not paths:
            continue
        overrides = [
            override
            for split, path in paths.items()
            for override in _overrides("train" if split == "train" else "validation", name, path)
        ]
        if "test" not in paths:  # the example's configuration names test rows of another dataset
            overrides.append("data.validation=null")
        flags = [f"++{override}" for override in (*overrides, *more)]
        parts.append(command(f"uv run {script}", *map(shlex.quote, flags)))
    if "sft" in tables:
        parts.append("`only_unmask_final` has the answer alone learnt, not the turns before it.")
    return "\n\n".join(parts)


def _overrides(part: str, name: str, path: str) -> list[str]:
    return [
        f"data.{part}.dataset_name={name}",
        f"data.{part}.data_path={_value(path)}",
        f"data.{part}.split=train",
    ]


def _value(path: str) -> str:
    """A path as Hydra reads it: in quotes where it has more than plain characters."""
    return (
        path if re.fullmatch(r"[\w./-]+", path, re.ASCII) else json.dumps(path, ensure_ascii=False)
    )


NEMO_RL = Format(
    name="nemo-rl",
    words="ranked completions after their context, and conversations",
    source=_SOURCE,
    shapes={
        "sft": Shape(
            "sft/{split}.jsonl",
            conversation,
            ("prompt", "completion"),
            losses=(SYSTEM_TURNS, EARLIER_ANSWERS),
        ),
        "preferences": Shape(
            "preferences/{split}.jsonl",
            _ranked,
            ("prompt", "chosen", "rejected"),
            losses=(SYSTEM_TURNS, SOFT_LABELS),
        ),
    },
    usage=_usage,
)
