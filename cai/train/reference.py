"""The model to train, as it is saved: which is its own reference, and what it is merged into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from transformers import GenerationConfig, PreTrainedModel
from trl import DPOConfig, SFTConfig

from cai.engines.local.architecture import load_whole
from cai.errors import CaiError
from cai.train.models import beside_text

SAVE_FIRST = "Merge the adapter, save the model, and train from the path of its folder."


def with_reference(
    model: str | Path | PreTrainedModel,
    reference: str | Path | None,
    args: DPOConfig,
    peft_config: PeftConfig | None,
) -> tuple[Any, Any]:
    """The model to train by preferences, and a frozen copy of it where one is to be kept.

    Raises:
        CaiError: As `saved_at`; or a model given loaded is not what its folder holds.
    """
    saved = saved_at(model, reference)
    frozen = None
    if peft_config is None and not args.precompute_ref_log_probs:
        frozen = as_saved(saved, model, args).eval().requires_grad_(False)
    policy = to_train(model, saved, args, peft_config, frozen)
    if args.disable_dropout:
        without_dropout(policy)
    return policy, frozen


def saved_at(model: str | Path | PreTrainedModel, reference: str | Path | None) -> str:
    """Where the whole model lies that is trained and that is the reference."""
    if isinstance(model, str | Path):
        saved = str(model)
        if reference is not None and Path(reference).resolve() != Path(model).resolve():
            raise CaiError(
                f"{reference}: another reference than the model that is trained, {model}",
                "Leave the reference out: DPO starts from its reference.",
            )
    elif not isinstance(model, PreTrainedModel) or _has_adapter(model):
        raise CaiError("the model has an adapter, and a whole one is needed", SAVE_FIRST)
    else:
        saved = str(reference or model.name_or_path)
        if not saved:
            raise CaiError("the model lies in no folder", SAVE_FIRST)
    if (Path(saved) / "adapter_config.json").is_file():
        raise CaiError(f"{saved}: an adapter, and a whole model is needed", SAVE_FIRST)
    return saved


def _has_adapter(model: PreTrainedModel) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def to_train(
    model: str | Path | PreTrainedModel,
    saved: str,
    args: DPOConfig | SFTConfig,
    peft_config: PeftConfig | None,
    copy: Any = None,
) -> Any:
    """The model to hand to TRL: loaded here, so that it is of the class that is merged and saved.

    Args:
        model: As the caller gave it.
        saved: Where it lies.
        args: TRL's settings.
        peft_config: The adapter; without one, the parts that text does not reach are frozen.
        copy: Another model as it lies there, if one is at hand.
    """
    if isinstance(model, PreTrainedModel):
        _require_same(model, saved, as_saved(saved, model, args) if copy is None else copy)
        model.name_or_path = saved  # an adapter that is saved names its base by this
    else:
        model = as_saved(saved, model, args)
        # The base's may hold what transformers reads but does not write; the result gets its file.
        model.generation_config = GenerationConfig.from_model_config(model.config)
    if peft_config is None:
        for part in beside_text(model):
            model.get_submodule(part).requires_grad_(False)
    return model


def without_dropout(model: Any) -> None:
    """Switch off dropout that is no layer of its own: TRL's switch reaches layers alone.

    Seed-OSS drops a tenth of its activations by default: its first preference loss was 0.61 in the
    place of ln 2.
    """
    for module in model.modules():
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def as_saved(saved: str, model: Any, args: DPOConfig | SFTConfig) -> Any:
    """A copy from the folder, in the number format and on the devices that TRL would choose."""
    options = {"dtype": "float32", "trust_remote_code": args.trust_remote_code}
    options |= dict(args.model_init_kwargs or {})
    options.pop("use_safetensors", None)
    state = args.distributed_state
    # "auto" in many processes would spread each one's copy over all GPUs.
    alone = state.distributed_type not in ("MULTI_GPU", "DEEPSPEED")
    options.setdefault(
        "device_map", "auto" if alone and state.device.type not in ("cpu", "mps") else None
    )
    if isinstance(model, PreTrainedModel):
        options |= {"dtype": model.dtype, "attn_implementation": model.config._attn_implementation}
    return load_whole(saved, **options)


def _require_same(model: PreTrainedModel, saved: str, copy: Any) -> None:
    """Refuse a model merged or trained in memory: another one is where the adapter will point."""
    in_memory, on_disk = model.state_dict(), copy.state_dict()
    if in_memory.keys() != on_disk.keys() or not all(
        torch.equal(tensor.cpu(), on_disk[name].cpu()) for name, tensor in in_memory.items()
    ):
        raise CaiError(f"the model in memory is not the one in {saved}", SAVE_FIRST)
