"""Shares a model out over the processes of a launcher, as FSDP2 does, and saves it from there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch


def moved(model: Any) -> Any:
    """The model with all that can be learnt a bit elsewhere, the same in every process."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def with_adapter(base: Path) -> Any:
    from peft import LoraConfig, get_peft_model

    from cai.engines.local.architecture import load_whole

    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    return get_peft_model(load_whole(base, dtype="float32"), config)


def share_out(model: Any, layers: Any) -> Any:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    for layer in layers:
        fully_shard(layer)
    fully_shard(model)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    return model


def save(base: Path, out: Path) -> None:
    from transformers import AutoTokenizer

    from cai.engines.local.architecture import load_whole
    from cai.train.merge import merge_adapter
    from cai.train.ranks import is_main
    from cai.train.saving import save_adapter, whole_state, write

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = moved(load_whole(base, dtype="float32"))
    share_out(model, model.get_decoder().layers)
    state = whole_state(model)
    adapted = moved(with_adapter(base))
    share_out(adapted, adapted.get_base_model().get_decoder().layers)
    learnt = whole_state(adapted, trained=True)
    if not is_main():
        assert not state
        assert not learnt
        return
    write(state, base, out / "full", tokenizer, torch.float32)
    save_adapter(adapted, learnt, tokenizer, out / "adapter")
    merge_adapter(out / "adapter", base, out / "merged", tokenizer)


if __name__ == "__main__":
    from cai.train.ranks import leave

    torch.distributed.init_process_group("gloo")
    save(Path(sys.argv[1]), Path(sys.argv[2]))
    leave(0)
