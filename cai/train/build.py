"""From settings to a trainer, with TRL's settings for ours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console

from cai.errors import CaiError
from cai.train.config import TrainSettings
from cai.train.ranks import is_sharded, processes

ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"


def dtype_of(settings: TrainSettings) -> str:
    """bfloat16 on a GPU that has it, else float32: on a CPU or an Apple GPU AdamW wants it.

    T4 and V100 only emulate it, which torch counts as support unless it is asked not to.
    """
    import torch

    if settings.dtype != "auto":
        return settings.dtype
    cuda = settings.device.startswith(("auto", "cuda")) and torch.cuda.is_available()
    if cuda and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    return "float32"


def on_cpu(settings: TrainSettings) -> bool:
    """Whether it is trained on the CPU. Raises `CaiError` if the device is not there."""
    import torch

    there = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(settings.device, False):
        fault = "torch does not see it" if settings.device in there else "no such device"
        raise CaiError(f"device {settings.device}: {fault}", "Give auto, cpu, cuda or mps.")
    return settings.device == "cpu" or not (there["cuda"] or there["mps"])


def make_trainer(
    settings: TrainSettings,
    base: Path,
    folder: Path,
    tokenizer: Any,
    rows: tuple[Any, ...],
    console: Console,
) -> Any:
    """The trainer of a method; its reference is the model in `base` as it is saved.

    `rows` begins with the datasets to train on and to evaluate on; the latter may be None.
    """
    from cai.engines.local.architecture import empty_model
    from cai.train.callbacks import tracked
    from cai.train.dpo import dpo_trainer
    from cai.train.models import adapter_config
    from cai.train.sft import sft_trainer

    train, test = rows[:2]
    arguments = training_arguments(settings, folder, len(train), test is not None)
    adapter = adapter_config(settings, empty_model(base, settings.model)[0])
    if settings.method == "sft":
        return sft_trainer(base, arguments, train, test, tokenizer, adapter)
    return dpo_trainer(
        base,
        None,
        arguments,
        train,
        test,
        tokenizer,
        adapter,
        # `auto` is `soft` on labels that the data step has set to 1 where they are to be hard.
        loss="soft" if settings.loss == "auto" else settings.loss,
        nll_weight=settings.nll_weight,
        length_normalised=settings.length_normalised,
        over_batches=tracked(console, "log-probabilities of the reference"),
    )


def training_arguments(settings: TrainSettings, folder: Path, rows: int, evaluates: bool) -> Any:
    """TRL's settings for ours.

    Raises:
        CaiError: The batch does not fit the processes, these do not make one group, or the device
            is not there.
    """
    from trl import DPOConfig, SFTConfig

    at_once = settings.micro_batch_size * processes()
    if settings.batch_size % at_once:
        raise CaiError(
            f"batch_size {settings.batch_size} is no multiple of micro_batch_size "
            f"{settings.micro_batch_size} × {processes()} processes",
            "Change one of them.",
        )
    cpu = on_cpu(settings)
    steps = updates(settings, rows)
    dtype = dtype_of(settings)
    # All weights are trained in float32 under autocast; below an adapter they only stand.
    stored = dtype if settings.lora is not None else "float32"
    common: dict[str, Any] = {
        "output_dir": str(folder / CHECKPOINTS),
        "seed": settings.seed,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": settings.micro_batch_size,
        "per_device_eval_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.batch_size // at_once,
        "warmup_steps": round(settings.warmup * steps),
        "lr_scheduler_type": _schedule(settings),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "max_length": settings.max_length,  # what is left above it, the data step wants cut
        "bf16": dtype == "bfloat16",
        "use_cpu": cpu,
        "activation_checkpointing": settings.gradient_checkpointing,
        "logging_steps": settings.log_every or 1,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if settings.save_every else "epoch",
        "save_steps": settings.save_every or 500,
        "save_total_limit": settings.keep_checkpoints,
        "eval_strategy": _evaluation(settings, evaluates),
        "eval_steps": settings.eval_every,
        "eval_on_start": evaluates,
        "report_to": list(settings.report_to) or "none",
        "disable_tqdm": True,
        "model_init_kwargs": {"dtype": stored},
        "dataloader_pin_memory": not cpu,
    }
    if settings.method == "sft":
        return as_one(SFTConfig(**common, completion_only_loss=True))
    # Under FSDP a model is not on its GPUs before the training: it cannot be asked beforehand.
    beforehand = settings.precompute_reference and not is_sharded()
    return as_one(DPOConfig(**common, beta=settings.beta, precompute_ref_log_probs=beforehand))


def as_one(arguments: Any) -> Any:
    """Refuse processes that would each train alone, with a part of the batch, into one folder."""
    if arguments.world_size != processes():
        raise CaiError(
            f"{processes()} processes, of which {arguments.world_size} would train together",
            "One process per GPU is needed; on a CPU, --set device=cpu.",
        )
    return arguments


def updates(settings: TrainSettings, rows: int) -> int:
    """How many updates a training takes; the last of an epoch may have fewer rows."""
    per_epoch = -(-rows // settings.batch_size)
    return settings.max_steps or max(1, math.ceil(per_epoch * settings.epochs))


def _schedule(settings: TrainSettings) -> str:
    """Transformers' name of the schedule; its `constant` would leave the warm-up out."""
    warm = settings.schedule == "constant" and settings.warmup > 0
    return "constant_with_warmup" if warm else settings.schedule


def _evaluation(settings: TrainSettings, evaluates: bool) -> str:
    if not evaluates:
        return "no"
    return "steps" if settings.eval_every else "epoch"
