"""The model card of a training run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cai.constitution.yaml_file import dumped
from cai.dataset.schema import Manifest, named
from cai.engines.local import smollm
from cai.engines.naming import display_name
from cai.files import without_folders
from cai.markdown import plain
from cai.train.config import TrainSettings
from cai.train.data.report import Counts
from cai.train.models import Outline

_PANELS = ("Learning", "Rows", "Preferences")  # of settings that decide what is learnt
_TRAININGS = 10  # models on models that are followed back to the first


def model_card(record: Mapping[str, Any]) -> str:
    """README.md of a trained model: a YAML header for the Hub, what it was trained on and how."""
    settings, data = record["settings"], record["data"]
    name = without_folders(str(settings["data"]))
    facts = {
        "Trained from": named(display_name(settings["model"]), record["base"]["identity"]),
        "Data": f"{name}, sha256 {data['rows_digest'][:16]}",
        **_constitution(Path(str(settings["data"]))),
        "Method": _method(settings),
        "Updates": f"{record.get('steps', '?')}, of up to {settings['batch_size']} rows each, "
        f"learning rate {settings['learning_rate']}",
        "Trained": _trained(record),
        "Seed": str(settings["seed"]),
        **_changed(settings),
        "Versions": ", ".join(f"{name} {number}" for name, number in record["packages"].items()),
    }
    lines = "\n".join(f"- {title}: {plain(str(value), 500)}" for title, value in facts.items())
    sources = "\n".join(f"- Rows: {plain(_rows(source))}" for source in data["sources"])
    return f"""---
{dumped(_header(record))}---

# {plain(name, 200)}: {record["method"].upper()}

{lines}
{sources}

`train.yaml` repeats the training, `training.json` has all digests and counts, `metrics.jsonl` each
step.

![Curves of the training](training.png)

## How to use it

```python
from transformers import pipeline

ask = pipeline("text-generation", model="MODEL")  # this folder, or the name of the repository
print(ask([{{"role": "user", "content": "How are you?"}}])[0]["generated_text"][-1]["content"])
```

## Limits

The data were made by a language model and judged by one. Nobody has checked this model's answers:
measure it before it is used. The licence of the model it was trained from may bind it.
"""


def _rows(source: Mapping[str, Any]) -> str:
    return Counts(**{**source, "origin": without_folders(str(source["origin"]))}).line()


def _header(record: Mapping[str, Any]) -> dict[str, Any]:
    settings = record["settings"]
    base = _base_model(str(settings["model"]))
    adapter = bool(settings["lora"]) and not settings.get("merge", True)
    return {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["constitutional-ai", record["method"]],
        **({"base_model": base} if base else {}),
    }


def _base_model(name: str) -> str | None:
    """The model of the Hub that a training began with, through trainings before it; None: none."""
    for _ in range(_TRAININGS):
        if name == "default":
            return smollm.REPOSITORY if "packaged" in display_name(name) else None
        folder = Path(name).expanduser()
        if not folder.exists():
            return None if name.startswith((".", "/", "~")) else name.partition("@")[0]
        try:
            before = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            name = str(before["settings"]["model"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return None


def _constitution(data: Path) -> dict[str, str]:
    """The constitution of a run that is trained on, as its manifest has it."""
    try:
        manifest = Manifest.model_validate_json((data / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return {}
    about = manifest.constitution
    return {"Constitution": f"{about.get('name')}, sha256 {str(about.get('digest'))[:16]}"}


def _changed(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings of learning that differ from their defaults."""
    parts = []
    for name, field in TrainSettings.model_fields.items():
        extra = field.json_schema_extra
        about = extra["panel"] if isinstance(extra, dict) else None
        if about in _PANELS and not field.is_required() and name in settings:
            value = settings[name]
            default = field.get_default(call_default_factory=False)
            if value != (list(default) if isinstance(default, tuple) else default):
                parts.append(f"{name} {value}")
    return {"Settings that differ from the defaults": ", ".join(parts)} if parts else {}


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
