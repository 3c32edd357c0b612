"""Which parts of a base model are trained, which stand still, and which its class does not read."""

from __future__ import annotations

import inspect
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cai.engines.local.architecture import Stored, empty_model
from cai.errors import CaiError
from cai.records import Record
from cai.train.config import TrainSettings


class Outline(Record):
    """What a training does to a model, known before any weight is loaded.

    `decoder` names the part that reads and writes text; `beside` are the parts next to it that
    text does not reach, such as a vision tower, which are never trained. `layers` counts the layers
    that get an adapter by their last name, None where all weights are trained. `carried` are
    tensors of the files that the class does not read: they go into the result unchanged.
    """

    class_name: str
    decoder: str
    beside: tuple[str, ...]
    layers: dict[str, int] | None
    trained: int
    parameters: int
    carried: tuple[str, ...]

    @property
    def what(self) -> str:
        """What is trained, in words."""
        if self.layers is None:
            return "all weights that text reaches" if self.beside else "all weights"
        names = ", ".join(f"{name} × {n}" for name, n in self.layers.items())
        where = self.decoder or "the model"
        return f"adapters on {sum(self.layers.values())} layers of {where} ({names})"

    def lines(self) -> list[str]:
        """The outline for people."""
        lines = [
            f"class {self.class_name}: {self.parameters:,} parameters",
            f"trained: {self.what}, {self.trained:,} parameters",
        ]
        if self.beside:
            lines.append(f"not trained, as text does not reach it: {', '.join(self.beside)}")
        if self.carried:
            more = ", …" if len(self.carried) > 1 else ""
            lines.append(
                f"not read by the class, carried over unchanged: {len(self.carried)} tensors "
                f"({self.carried[0]}{more})"
            )
        return lines


def outline(base: Path, name: str, settings: TrainSettings) -> Outline:
    """What training does to the model in a folder; its weights are not loaded.

    Raises:
        CaiError: The model cannot be trained on text, or takes no adapter.
    """
    model, stored = empty_model(base, name)
    _require_text(model, name)
    parameters, beside = _size(model), beside_text(model)
    layers = None
    trained = parameters - sum(_size(model.get_submodule(part)) for part in beside)
    facts = {
        "class_name": type(model).__name__,
        "decoder": decoder_of(model),
        "beside": beside,
        "carried": tuple(n for n, target in read_as(model, stored).items() if target is None),
        "parameters": parameters,
    }
    if settings.lora is not None:
        layers, trained = _adapted(model, name, settings)
    return Outline(**facts, layers=layers, trained=trained)


def _require_text(model: Any, name: str) -> None:
    """Refuse a class that takes no text alone, or whose layers TRL cannot run without its head.

    TRL computes log-probabilities itself, from `base_model`'s last layer and the output weights.
    """
    arguments = inspect.signature(type(model).forward).parameters.values()
    required = [
        a.name for a in arguments if a.default is a.empty and a.kind == a.POSITIONAL_OR_KEYWORD
    ]
    below, head = model.base_model, model.get_output_embeddings()
    if required[1:] or head is None or below is model or below.get_output_embeddings() is not None:
        raise CaiError(
            f"{name}: {type(model).__name__} cannot be trained on text alone",
            "Give a language model, or one for images and text such as Qwen-VL or Gemma 3.",
        )


def decoder_of(model: Any) -> str:
    """The name of the part that reads and writes text; empty for the whole model."""
    decoder, words = model.get_decoder(), model.get_input_embeddings()
    if not any(module is words for module in decoder.modules()):
        return ""
    return next((name for name, module in model.named_modules() if module is decoder), "")


def beside_text(model: Any) -> tuple[str, ...]:
    """The topmost parts with weights that are neither in the decoder nor with the output layer."""
    decoder, head = decoder_of(model), model.get_output_embeddings()
    names = {name: module for name, module in model.named_modules() if name}
    of_text = [decoder, *(name for name, module in names.items() if module is head)]
    topmost: list[str] = []
    if not decoder:
        return ()
    for name, module in names.items():
        around = any(f"{part}.".startswith(f"{name}.") for part in of_text)
        if around and not decoder.startswith(f"{name}."):
            of_text.append(name)
        inside = any(name.startswith(f"{part}.") for part in (*of_text, *topmost))
        if not around and not inside and _size(module):
            topmost.append(name)
    return tuple(topmost)


def adapter_config(settings: TrainSettings, model: Any) -> Any:
    """LoRA on every linear layer of the text part, as peft writes it; None without an adapter.

    In a mixture of experts, `all-linear` is the experts and the router too.
    """
    if settings.lora is None:
        return None
    from peft import LoraConfig

    others = [
        part
        for part in beside_text(model)
        if any(isinstance(module, nn.Linear) for module in model.get_submodule(part).modules())
    ]
    return LoraConfig(
        r=settings.lora,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        # A vision tower gets no gradient from text: an adapter there would only decay.
        exclude_modules=rf"({'|'.join(map(re.escape, others))})(\..*)?" if others else None,
        task_type="CAUSAL_LM",
    )


def _adapted(model: Any, name: str, settings: TrainSettings) -> tuple[dict[str, int], int]:
    """Put an adapter on an empty model: the layers by last name, and its parameters."""
    from peft import get_peft_model

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = get_peft_model(model, adapter_config(settings, model), low_cpu_mem_usage=True)
    except (AttributeError, ValueError) as error:
        raise CaiError(
            f"{name}: takes no adapter: {error}", "Train all weights: --set lora=null"
        ) from error
    tuner = wrapped.base_model
    names = [*tuner.targeted_module_names, *tuner.targeted_parameter_names]
    layers = Counter(part.removesuffix(".weight").rpartition(".")[2] for part in names)
    trained = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    return dict(layers), trained


def _size(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def read_as(model: Any, stored: Mapping[str, Stored]) -> dict[str, str | None]:
    """For each tensor of a model's files, the tensor of its class that it becomes (a part of).

    None: the class reads it nowhere, as transformers' loader decides it: heads that predict
    further tokens, buffers that old versions saved.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    steps = get_model_conversion_mapping(model)
    renamings = [step for step in steps if isinstance(step, WeightRenaming)]
    converters = [step for step in steps if isinstance(step, WeightConverter)]
    held, prefix = model.state_dict(), model.base_model_prefix
    targets: dict[str, str | None] = {}
    for name in sorted(stored, key=dot_natural_key):  # some renamings depend on the order
        target, _ = rename_source_key(name, renamings, converters, prefix, held)
        if target not in held and name in held:
            target, _ = rename_source_key(name, [], [], prefix, held)
        targets[name] = target if target in held else None
    return targets
