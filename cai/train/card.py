"""The model card of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cai.dataset.schema import named
from cai.engines.naming import display_name
from cai.markdown import plain
from cai.train.data.report import Counts
from cai.train.models import Outline


def model_card(record: Mapping[str, Any]) -> str:
    """README.md of a trained model: a YAML header for the Hub, what it was trained on and how."""
    settings, data = record["settings"], record["data"]
    header: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["constitutional-ai", record["method"]],
    }
    if not settings["model"].startswith((".", "/")) and settings["model"] != "default":
        header["base_model"] = settings["model"]
    facts = {
        "Trained from": named(display_name(settings["model"]), record["base"]["identity"]),
        "Data": f"{settings['data']}, sha256 {data['rows_digest'][:16]}",
        "Method": _method(settings),
        "Updates": f"{record.get('steps', '?')}, of up to {settings['batch_size']} rows each, "
        f"learning rate {settings['learning_rate']}",
        "Trained": _trained(record),
        "Seed": str(settings["seed"]),
        "Versions": ", ".join(f"{name} {number}" for name, number in record["packages"].items()),
    }
    lines = "\n".join(f"- {name}: {plain(str(value))}" for name, value in facts.items())
    sources = "\n".join(f"- Rows: {plain(Counts(**source).line())}" for source in data["sources"])
    return f"""---
{yaml.safe_dump(header, sort_keys=False)}---

# {plain(str(settings["data"]))}: {record["method"].upper()}

{lines}
{sources}

`train.yaml` repeats the training, `training.json` has all digests and counts, `metrics.jsonl` each
step, `training.png` the curves.

## Limits

The data were made by a language model and judged by one. Nobody has checked this model's answers:
measure it before it is used.
"""


def _trained(record: Mapping[str, Any]) -> str:
    model, rank = Outline.model_validate(record["model"]), record["settings"]["lora"]
    what = f"LoRA of rank {rank}: {model.what}" if rank else model.what
    rest = f"; as in the base: {', '.join(model.beside)}" if model.beside else ""
    return f"{model.class_name}, {what}{rest}"


def _method(settings: Mapping[str, Any]) -> str:
    if settings["method"] == "sft":
        return "supervised, on completions only"
    parts = [f"DPO, loss {settings['loss']}, beta {settings['beta']}"]
    if settings["nll_weight"]:
        parts.append(f"chosen NLL × {settings['nll_weight']}")
    if settings["length_normalised"]:
        parts.append("length-normalised")
    return ", ".join(parts)
