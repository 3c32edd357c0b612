"""Which settings of a training hang together, and defaults that other settings decide."""

from __future__ import annotations

import math
from typing import Any, Literal

TrainMethod = Literal["sft", "dpo"]

# By method, with an adapter and without. All weights: the recipe of Hugging Face's alignment
# handbook for Constitutional AI (Mistral-7B). An adapter wants 5 to 10 times as much (Schulman et
# al. 2025, "LoRA Without Regret").
LEARNING_RATES: dict[TrainMethod, tuple[float, float]] = {
    "sft": (1e-4, 2e-5),
    "dpo": (5e-6, 5e-7),
}
MICRO_BATCH = 4
# At p = 0.6 the first gradient of soft is a fifth of that of hard: where nobody calibrated the
# labels it teaches next to nothing, and hard ones nearer to 0.5 are mostly noise.
UNCALIBRATED_MARGIN = 0.2
MARGIN = f"0; with `auto` {UNCALIBRATED_MARGIN} for labels that nobody calibrated"

PAIR_KEYS = (
    "loss",
    "beta",
    "nll_weight",
    "length_normalised",
    "min_margin",
    "pair_source",
    "precompute_reference",
)
ADAPTER_KEYS = ("lora_alpha", "lora_dropout", "merge")
# Null in these stands for the default, which other settings decide.
DERIVED = ("learning_rate", "lora_alpha", "micro_batch_size")
# What TRL and peft call them, where no likeness leads there.
OTHER_NAMES = {
    "bf16": "dtype",
    "lora_r": "lora",
    "lr": "learning_rate",
    "lr_scheduler_type": "schedule",
    "num_train_epochs": "epochs",
    "output_dir": "out",
    "per_device_train_batch_size": "micro_batch_size",
    "r": "lora",
    "rank": "lora",
    "rpo_alpha": "nll_weight",
}


def alpha(data: dict[str, Any]) -> int | None:
    return None if data.get("lora") is None else 2 * int(data["lora"])


def rate(data: dict[str, Any]) -> float:
    return LEARNING_RATES[data.get("method", "sft")][data.get("lora") is None]


def micro_batch(data: dict[str, Any]) -> int:
    return math.gcd(MICRO_BATCH, data.get("batch_size", MICRO_BATCH))
