"""Which class a model's folder is loaded with, and what its weight files hold.

One rule for training, its reference and the merge: the class that the folder was saved with. The
class that transformers' `AutoModelForCausalLM` takes may be another, without a vision tower and
with other names of tensors; an adapter that was trained on the one means nothing to the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cai.engines.local.quiet import quiet_libraries
from cai.errors import CaiError

_CAUSAL = "It must be a causal language model that the installed transformers knows."


class Stored(NamedTuple):
    """A tensor in a safetensors file."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


def model_class(config: Any, name: str) -> Any:
    """The class of transformers that a model was saved with, or else the causal one of its type.

    Args:
        config: The model's configuration.
        name: The model's name, for errors.

    Raises:
        CaiError: The class writes no text, has an encoder, or there is none.
    """
    import transformers
    from transformers.models.auto import modeling_auto as auto

    named = next(iter(config.architectures or ()), "")
    by_type = [
        mapping.get(type(config), None)
        for mapping in (auto.MODEL_FOR_CAUSAL_LM_MAPPING, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING)
    ]
    architecture = getattr(transformers, named, None) if named in _writers() else None
    if not named or not hasattr(transformers, named):
        architecture = by_type[0]
    if architecture is None:
        kind = named or config.model_type
        raise CaiError(f"{name}: cannot be loaded: {kind} writes no text", _CAUSAL)
    whole = config.get_text_config() is config  # no text part of a model that reads images too
    if not isinstance(config, architecture.config_class) and not (
        whole and architecture in by_type
    ):
        raise CaiError(
            f"{name}: cannot be loaded: config.json says {config.model_type} and {named}, "
            "which do not go together",
            _CAUSAL,
        )
    if config.is_encoder_decoder or config.get_text_config().is_encoder_decoder:
        raise CaiError(f"{name}: {architecture.__name__} has an encoder and a decoder", _CAUSAL)
    return architecture


def _writers() -> set[str]:
    """The names of the classes of transformers that go on from a text."""
    from transformers.models.auto import modeling_auto as auto

    mappings = (
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )
    return {name for mapping in mappings for name in mapping.values()}


def _class_to_train(folder: Path | str, name: str) -> tuple[Any, Any]:
    """The configuration and the class of a model whose weights can be changed."""
    config = read_config(folder, name)
    if getattr(config, "quantization_config", None) is not None:
        raise CaiError(
            f"{name}: its weights are quantised",
            "Give the folder of the same model in bfloat16 or float32.",
        )
    with explained(name):
        return config, model_class(config, name)


def read_config(folder: Path | str, name: str) -> Any:
    """A model's configuration. Raises `CaiError` if transformers does not know its type."""
    from transformers import AutoConfig

    with quiet_libraries(), explained(name):
        return AutoConfig.from_pretrained(folder)


def load_whole(folder: Path | str, *, dtype: str | torch.dtype, **options: Any) -> Any:
    """A model with the class that it was saved with, in evaluation mode.

    Args:
        folder: Its folder, or its name on the Hub.
        dtype: Of its weights in memory.
        options: As `from_pretrained` takes them: `device_map`, `attn_implementation`, ….

    Raises:
        CaiError: The class cannot be loaded, the files lack a tensor of it, or hold quantised ones.
    """
    name = str(folder)
    _, architecture = _class_to_train(folder, name)
    with quiet_libraries(), explained(name):
        model, report = architecture.from_pretrained(
            name,
            dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    require_all(report, name)
    return model


def empty_model(folder: Path, name: str) -> tuple[Any, dict[str, Stored]]:
    """The model without its weights, and what its files hold: only their headers are read.

    Raises:
        CaiError: As `load_whole` raises it.
    """
    config, architecture = _class_to_train(folder, name)
    tensors = stored_tensors(folder)
    shapes = {n: torch.empty(t.shape, dtype=t.dtype, device="meta") for n, t in tensors.items()}
    with quiet_libraries(), explained(name):
        model, report = architecture.from_pretrained(
            None, config=config, state_dict=shapes, device_map="meta", output_loading_info=True
        )
    require_all(report, name)
    return model, tensors


def require_all(report: dict[str, Any], name: str) -> None:
    """Refuse a model of which tensors are missing: transformers would draw them at random."""
    if missing := sorted(report["missing_keys"]):
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CaiError(
            f"{name}: the weights lack {missing[0]}{more}",
            "It is probably not a text-generating model; an adapter must be merged first.",
        )


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """The tensors of the files that transformers reads a model's weights from, by name."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if index.is_file() and not single.is_file():
        parts = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        files = [folder / part for part in sorted(parts)]
    else:
        files = [single]
    headers: dict[str, Stored] = {}
    with explained(str(folder)):
        for file in files:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                    part = tensors.get_slice(name)
                    dtype = _DTYPES.get(part.get_dtype(), torch.float32)
                    headers[name] = Stored(file, tuple(part.get_shape()), dtype)
    return headers


# What safetensors calls them, of those that a language model's weights have.
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}


@contextmanager
def explained(name: str) -> Iterator[None]:
    """What transformers raises for a model that it cannot load, as one sentence for the user."""
    from safetensors import SafetensorError

    errors = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)
    try:
        yield
    except errors as error:
        reason = str(error).strip().splitlines()
        if "trust_remote_code" in str(error):
            raise CaiError(
                f"{name}: the model brings its own code",
                "Read that code, then allow it with trust_remote_code.",
            ) from error
        raise CaiError(
            f"{name}: cannot be loaded: {reason[0] if reason else type(error).__name__}", _CAUSAL
        ) from error
