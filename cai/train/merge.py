"""An adapter into its base: the two must fit, and something must change."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cai.engines.local.architecture import explained, load_whole, stored_tensors
from cai.engines.local.quiet import quiet_libraries
from cai.engines.local.weights import resolve, weights_identity
from cai.errors import CaiError
from cai.train.build import ADAPTER
from cai.train.models import read_as
from cai.train.record import RECORD, locked, read_record
from cai.train.saving import stored_as, write


class Merged(NamedTuple):
    """How many layers have an adapter, and in how many a weight changed: as computed, as saved."""

    layers: int
    changed: int
    saved: int


def merge_run(folder: Path, out: Path | None = None) -> Path:
    """Merge the adapter of a training run, or of any folder, into its base.

    Raises:
        CaiError: There is no adapter, its base is gone or another one now, or `out` holds
            something else.
    """
    from transformers import AutoTokenizer

    from cai.engines.local.quiet import quiet_libraries

    adapter = folder / ADAPTER if (folder / ADAPTER).is_dir() else folder
    try:
        named = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CaiError(f"{folder}: no adapter here", "Give the folder of a training run.") from None
    target = out or (folder if adapter != folder else None)
    if target is None:
        raise CaiError(f"{folder}: where should the whole model go?", "Say --out FOLDER.")
    base = resolve(named["base_model_name_or_path"])
    if base is None or not (base / "config.json").is_file():
        raise CaiError(
            f"{named['base_model_name_or_path']}: the adapter's base is not there",
            "Bring it back to where it was when the adapter was trained.",
        )
    record = read_record(folder) if (folder / RECORD).is_file() else None
    if record is not None and record["base"]["identity"] != weights_identity(base, "as saved"):
        raise CaiError(f"{base}: the base has changed since the adapter was trained on it")
    with locked(target):
        if target != folder and (foreign := [p for p in target.iterdir() if p.name != ".lock"]):
            raise CaiError(f"{target}: not empty ({foreign[0].name})", "Choose another --out.")
        with quiet_libraries():
            tokenizer = AutoTokenizer.from_pretrained(adapter)
        merge_adapter(adapter, base, target, tokenizer)
    return target


def merge_adapter(adapter: Path, base: Path, out: Path, tokenizer: Any) -> Merged:
    """Merge an adapter into its base, computed in float32 and saved in the base's number formats.

    Raises:
        CaiError: The adapter is not this model's, or changes nothing; a tensor would be lost.
    """
    with quiet_libraries():
        model = load_whole(base, dtype=torch.float32)
        stored = stored_tensors(base)
        dtypes = stored_as(read_as(model, stored), stored)
        wrapped = _with_adapter(model, adapter)
        counts = _merge_layers(wrapped, dtypes, str(adapter))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="All adapters are already merged")
            whole = wrapped.merge_and_unload()
        for name, parameter in whole.named_parameters():  # one by one: two copies are too much
            parameter.data = parameter.data.to(dtypes[name])
        write(dict(whole.state_dict()), base, out, tokenizer)
    return counts


def _with_adapter(model: Any, adapter: Path) -> Any:
    """The model with the adapter on it, every weight of which has found its place."""
    from peft import PeftConfig, get_peft_model

    with warnings.catch_warnings(), explained(str(adapter)):
        warnings.filterwarnings("ignore", module="peft")
        wrapped = get_peft_model(model, PeftConfig.from_pretrained(str(adapter)))
        report = wrapped.load_adapter(str(adapter), "default", is_trainable=False)
    faults = [f"lacks {key}" for key in report.missing_keys]
    faults += [f"has {key}, which has no place there" for key in report.unexpected_keys]
    if faults:
        raise CaiError(
            f"{adapter}: no adapter of a {type(model).__name__}: it {faults[0]} "
            f"(and {len(faults) - 1} more)",
            "It was trained on another class of model than its base is: train it again.",
        )
    return wrapped


def _merge_layers(wrapped: Any, dtypes: Mapping[str, torch.dtype], name: str) -> Merged:
    """Merge each layer in place and count those that change.

    Raises:
        CaiError: The adapter has learnt something, and no weight changes by it.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    learnt = any(bool(p.any()) for n, p in wrapped.named_parameters() if "lora_B" in n)
    names = {id(p): n.replace(".base_layer", "") for n, p in wrapped.model.named_parameters()}
    layers = [module for module in wrapped.modules() if isinstance(module, BaseTunerLayer)]
    changed = saved = 0
    for layer in layers:
        weights = {names[id(p)]: p for p in layer.get_base_layer().parameters()}
        before = {n: p.detach().clone() for n, p in weights.items()}
        layer.merge(safe_merge=True)
        moved = [n for n, p in weights.items() if not torch.equal(before[n], p)]
        changed += bool(moved)
        saved += any(
            not torch.equal(before[n].to(dtypes[n]), weights[n].to(dtypes[n])) for n in moved
        )
    if learnt and not changed:
        raise CaiError(
            f"{name}: the adapter changes no weight of its base", "Raise learning_rate or epochs."
        )
    return Merged(len(layers), changed, saved)
