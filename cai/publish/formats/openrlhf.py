"""OpenRLHF: `prompt`, `chosen`, `rejected` as messages, joined by its `apply_chat_template`."""

from __future__ import annotations

import shlex

from cai.publish.formats.records import Format, Tables
from cai.publish.formats.rows import (
    MESSAGE_SHAPES,
    command,
)

_SOURCE = (
    "https://openrlhf.readthedocs.io, https://github.com/OpenRLHF/OpenRLHF/blob/main/README.md and "
    "openrlhf/datasets/{reward,sft}_dataset.py (OpenRLHF 0.11.0)"
)
_KEYS = {
    "sft": ("train_sft", "--data.input_key prompt --data.output_key completion"),
    "preferences": (
        "train_dpo",
        "--data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected",
    ),
}


def _usage(tables: Tables) -> str:
    parts = []
    for dataset, (script, keys) in _KEYS.items():
        paths = tables.paths(dataset)
        # A single file is the split `train` of `load_dataset`, also where it holds test rows.
        files = [
            f"--data.dataset {shlex.quote(path)}"
            if split == "train"
            else f"--eval.dataset {shlex.quote(path)} --eval.split train"
            for split, path in paths.items()
        ]
        if files:
            parts.append(
                command(
                    f"deepspeed --module openrlhf.cli.{script}",
                    *files,
                    keys,
                    "--data.apply_chat_template",
                    "--model.model_name_or_path a/model",
                )
            )
    if "preferences" in tables:
        parts.append("`openrlhf.cli.train_rm` takes the flags of `train_dpo`.")
    return "\n\n".join(parts)


OPENRLHF = Format(
    name="openrlhf",
    words="prompt, chosen and rejected, or prompt and completion, as messages",
    source=_SOURCE,
    shapes=MESSAGE_SHAPES,
    usage=_usage,
)
