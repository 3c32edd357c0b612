"""Trains the tiny model in as many processes as a launcher starts; the test runs it in one too."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

GLOBAL_BATCH = 8


def train(model: str, data: str, out: str) -> None:
    """Train in two ways on the pairs of a file and save the learnt weights in `out`."""
    import torch
    from peft import LoraConfig
    from transformers import AutoTokenizer

    adapter = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    ways: dict[str, dict[str, Any]] = {
        "adapter": {"peft_config": adapter, "loss": "soft"},
        "precomputed": {"loss": "geometric", "nll_weight": 0.5, "precompute": True},
    }
    tokenizer = AutoTokenizer.from_pretrained(model)
    for name, options in ways.items():
        trainer = _trainer(model, data, f"{out}/{name}", tokenizer, **options)
        trainer.train()
        if trainer.is_world_process_zero():
            learnt = {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}
            for logged in ("loss", "preference_loss"):
                values = [line[logged] for line in trainer.state.log_history[:-1]]
                learnt[logged] = torch.tensor(values)
            learnt["first"] = torch.tensor([trainer.first_preference_loss])
            torch.save(learnt, f"{out}/{name}.pt")


def _trainer(
    model: str, data: str, out: str, tokenizer: Any, *, precompute: bool = False, **options: Any
) -> Any:
    from datasets import load_dataset
    from trl import DPOConfig

    from cai.train.trainers import dpo_trainer

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    args = DPOConfig(
        output_dir=out,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=1,
        max_steps=3,
        learning_rate=0.02,
        optim="sgd",
        beta=0.5,
        per_device_train_batch_size=GLOBAL_BATCH // 2 // processes,
        gradient_accumulation_steps=2,
        precompute_ref_log_probs=precompute,
    )
    rows = load_dataset("json", data_files=data, split="train")
    return dpo_trainer(model, None, args, rows, None, tokenizer, **options)


if __name__ == "__main__":
    train(*(str(Path(argument).resolve()) for argument in sys.argv[1:]))
    # All is saved. In about one of a hundred launches, torch 2.13 aborts or hangs when Python tears
    # its gloo group down, whose thread still runs.
    os._exit(0)
