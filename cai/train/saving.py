"""From what was trained to a model's folder: gathered, merged, written, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cai.engines.local.architecture import Stored, empty_model, stored_tensors
from cai.engines.local.quiet import quiet_libraries
from cai.errors import CaiError
from cai.files import publish, sync
from cai.train.chat import end_tokens
from cai.train.models import read_as

INDEX = "model.safetensors.index.json"
# What else a model needs beside weights, configuration and tokenizer. Chat templates are not among
# them: the tokenizer writes the one that the model was trained with.
_PROCESSOR_FILES = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
    "feature_extractor_config.json",
)
_INCOMPLETE = "Do not use the result; please report the class of the model."


def whole_state(model: Any, *, trained: bool = False) -> dict[str, Tensor]:
    """The weights of a model by name, or only those that are trained.

    Where processes share a model out (FSDP2), all of them must call this; the first gets the whole
    weights on the CPU, the others nothing.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.tensor import DTensor

    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        options = StateDictOptions(
            full_state_dict=True, cpu_offload=True, ignore_frozen_params=trained
        )
        whole: dict[str, Any] = get_model_state_dict(model, options=options)
        return whole
    if trained:
        return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return dict(model.state_dict())


def gathered(trainer: Any, *, adapter: bool) -> dict[str, Tensor]:
    """What a trainer has trained, in the first process; all processes must call this.

    Args:
        trainer: Whose training is over.
        adapter: Only the adapter's weights.
    """
    accelerator = trainer.accelerator
    if trainer.is_deepspeed_enabled or (trainer.is_fsdp_enabled and not accelerator.is_fsdp2):
        return dict(accelerator.get_state_dict(trainer.model_wrapped))
    return whole_state(accelerator.unwrap_model(trainer.model), trained=adapter)


def save_adapter(model: Any, state: dict[str, Tensor], tokenizer: Any, folder: Path) -> None:
    """Write the weights of a model's adapter and its configuration, with the tokenizer."""
    with quiet_libraries():
        model.save_pretrained(folder, state_dict=state, safe_serialization=True)
        tokenizer.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod((folder / "adapter_config.json").stat().st_mode)


def release(trainer: Any) -> None:
    """Let go of a trainer's model, reference and optimizer: a merge loads the base once more."""
    trainer.accelerator.free_memory()
    for name in ("model", "model_wrapped", "ref_model", "optimizer", "lr_scheduler"):
        setattr(trainer, name, None)
    trainer.callback_handler.model = trainer.callback_handler.optimizer = None


def write(
    state: dict[str, Tensor],
    base: Path,
    out: Path,
    tokenizer: Any,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model's files beside the others, each whole or not there; the configuration last.

    Args:
        state: All weights, named as the class of the base names them.
        base: The model that was trained: its configuration, and all that the class does not read.
        out: The folder.
        tokenizer: With the chat template that the model was trained with.
        dtype: Number format of the weights; by default each is stored as the base has it.

    Raises:
        CaiError: A tensor of the base would be lost.
    """
    writer, stored = empty_model(base, str(base))
    names = read_as(writer, stored)
    own = {} if dtype else stored_as(names, stored)
    main = dtype or _main(stored)
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor.detach().to("cpu", own.get(name, main))
    for alias, source in writer.all_tied_weights_keys.items():
        if {alias, source} <= state.keys() and torch.equal(state[alias], state[source]):
            del state[alias]  # one storage no more, where processes gathered it
    temporary = out / ".model"
    shutil.rmtree(temporary, ignore_errors=True)
    with quiet_libraries():
        writer.to(main).save_pretrained(temporary, state_dict=state)
        tokenizer.save_pretrained(temporary)
    for file in _PROCESSOR_FILES:
        if (base / file).is_file():
            shutil.copyfile(base / file, temporary / file)
    _stop_at(tokenizer, temporary)
    carried = [name for name, target in names.items() if target is None]
    _carry(carried, stored, temporary)
    _require_whole(writer, carried, stored, temporary)
    _move(temporary, out)


def _stop_at(tokenizer: Any, folder: Path) -> None:
    """Let generation end at the tokenizer's end token, which may be new to the model."""
    ends, end = end_tokens(folder), tokenizer.eos_token_id
    if end is None or end in ends:
        return
    path = folder / "generation_config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    config["eos_token_id"] = [end, *sorted(ends)]
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def stored_as(
    names: Mapping[str, str | None], stored: Mapping[str, Stored]
) -> dict[str, torch.dtype]:
    """The number format of each tensor of the class, as its files have it."""
    return {target: stored[name].dtype for name, target in names.items() if target is not None}


def _main(stored: Mapping[str, Stored]) -> torch.dtype:
    """The number format that most of the weights are stored in."""
    sizes: Counter[torch.dtype] = Counter()
    for tensor in stored.values():
        sizes[tensor.dtype] += torch.Size(tensor.shape).numel()
    return sizes.most_common(1)[0][0]


def _carry(names: Sequence[str], stored: Mapping[str, Stored], folder: Path) -> None:
    """Add tensors of the base as they are, in a file of their own, and index all files."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    if not names:
        return
    shards = sorted({tensor.file for tensor in stored_tensors(folder).values()})
    total, files = len(shards) + 1, []
    for number, shard in enumerate(shards, 1):
        files.append(shard.replace(folder / f"model-{number:05}-of-{total:05}.safetensors"))
    files.append(folder / f"model-{total:05}-of-{total:05}.safetensors")
    tensors: dict[str, Tensor] = {}
    for file in {stored[name].file for name in names}:
        with safe_open(file, framework="pt") as source:
            tensors |= {n: source.get_tensor(n) for n in names if stored[n].file == file}
    save_file(tensors, files[-1], metadata={"format": "pt"})
    places: dict[str, str] = {}
    for file in files:
        with safe_open(file, framework="pt") as written:
            places |= dict.fromkeys(written.keys(), file.name)
    size = sum(file.stat().st_size for file in files)
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _require_whole(
    writer: Any, carried: Sequence[str], base: Mapping[str, Stored], folder: Path
) -> None:
    """Refuse a folder that lacks a tensor of its class or of the base, or has another shape."""
    again, written = empty_model(folder, str(folder))
    if type(again) is not type(writer):
        raise CaiError(f"{folder}: loads as {type(again).__name__}, not as its base", _INCOMPLETE)
    for name in carried:
        if name not in written or written[name].shape != base[name].shape:
            raise CaiError(f"{folder}: {name} of the base is lost", _INCOMPLETE)
    for name in written.keys() & base.keys():
        if written[name].shape != base[name].shape:
            raise CaiError(f"{folder}: {name} has another shape than in the base", _INCOMPLETE)


def _move(temporary: Path, out: Path) -> None:
    (out / "config.json").unlink(missing_ok=True)
    mode = (temporary / "config.json").stat().st_mode
    new = {path.name for path in temporary.iterdir()}
    for old in (*out.glob("model*.safetensors"), out / INDEX):
        if old.name not in new:
            old.unlink(missing_ok=True)  # of an earlier merge; transformers might read it instead
    for path in sorted(temporary.iterdir(), key=lambda path: path.name == "config.json"):
        path.chmod(mode)  # safetensors writes for the owner alone
        sync(path)
        publish(path, out / path.name)
    temporary.rmdir()
