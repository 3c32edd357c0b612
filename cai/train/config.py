"""Every knob of `cai train`, flat, with its default and where the default comes from.

Long, as every setting of a training stands here once, with its help, its default and its source.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core.core_schema import ValidationInfo

from cai.errors import InputError
from cai.settings import (
    GateAction,
    Layer,
    comma_list,
    merged,
    parse_pair,
    place_of,
    read_config,
    refused,
    setting,
)
from cai.train import defaults
from cai.train.defaults import TrainMethod
from cai.train.mix import Mix, parse_mix

DatasetName = Literal["sft", "preferences"]


class TrainSettings(BaseModel):
    """What a training run is made from; with the data and the model it decides the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: TrainMethod = setting(
        ..., "`sft` (imitate completions) or `dpo` (prefer chosen)", "Learning"
    )
    data: str = setting(
        ...,
        "what to train on: a run folder, a file (`.parquet`, `.jsonl`, `.csv`, `.tsv`; text also "
        "gzipped), or `hf:owner/name[@revision][:config][:split]`",
        "Input",
        metavar="DATA",
        min_length=1,
    )
    model: str = setting(
        "default",
        "model to train: a Hub name (`owner/name[@revision]`) or a folder",
        "Models",
        metavar="MODEL",
        shown="SmolLM2-135M-Instruct",
        min_length=1,
    )
    out: str | None = setting(
        None,
        "folder for the trained model",
        "Output",
        metavar="FOLDER",
        shown="`outputs/<data>-sft` or `-dpo`",
        min_length=1,
    )
    seed: int = setting(0, "seed of the order of rows, of adapters and of mixes", "Rows", ge=0)

    # On data of this size an adapter learns as much as all weights (Schulman et al. 2025).
    lora: int | None = setting(
        16, "rank of the adapter; `null` trains all weights", "Learning", ge=1
    )
    # 32 at rank 16, as in Schulman et al. 2025. Twice the rank, because peft scales the adapter by
    # alpha / rank: the scale stays 2 when the rank changes, and a change of the scale acts much
    # like one of the learning rate (Hu et al. 2021, section 4.1).
    lora_alpha: int | None = setting(
        None,
        "scale of the adapter, over its rank",
        "Learning",
        shown="twice the rank",
        default_factory=defaults.alpha,
        ge=1,
    )
    lora_dropout: float = setting(0.0, "dropout inside the adapter", "Learning", ge=0, lt=1)
    learning_rate: float = setting(
        None,
        "peak learning rate",
        "Learning",
        shown="1e-4 (sft), 5e-6 (dpo); without an adapter 2e-5 and 5e-7",
        default_factory=defaults.rate,
        gt=0,
    )
    # The handbook's for SFT; its DPO takes 3.
    epochs: float = setting(1.0, "times through the data", "Learning", gt=0)
    max_steps: int | None = setting(
        None, "updates, whatever epochs says", "Learning", shown="as epochs says", ge=1
    )
    # Between the handbook's 256 rows (SFT) and 16 (DPO): an adapter bears large batches less well
    # (Schulman et al. 2025), and 16 soft labels make a noisy gradient.
    batch_size: int = setting(64, "rows per update, over all devices", "Learning", ge=1)
    micro_batch_size: int = setting(
        None,
        "rows at once on a device; divides batch_size",
        "Learning",
        shown="4, where that divides it",
        default_factory=defaults.micro_batch,
        ge=1,
    )
    # The handbook's warm-up and schedule; decay and clipping as in transformers.
    warmup: float = setting(0.1, "share of updates until the peak rate", "Learning", ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = setting(
        "cosine", "learning rate after its peak", "Learning"
    )
    weight_decay: float = setting(0.0, "weight decay of AdamW", "Learning", ge=0)
    max_grad_norm: float = setting(1.0, "clip gradients to this norm; 0 is off", "Learning", ge=0)

    # TRL's own default; answers of `cai generate` end at 512 to 768 tokens.
    max_length: int = setting(1024, "most tokens of a prompt with its answer", "Rows", ge=2)
    too_long: Literal["drop", "cut"] = setting(
        "drop", "rows above max_length: drop them, or cut the end off their answers", "Rows"
    )
    max_too_long: float = setting(
        0.05, "share of rows above max_length that stops the run", "Rows", ge=0, le=1
    )
    mix: tuple[str, ...] = setting(
        (),
        "other data, as `SOURCE` or `SOURCE=WEIGHT`: WEIGHT times as many rows as the main data "
        "has, without a weight all of them; a SOURCE is what DATA is; may be repeated",
        "Rows",
        metavar="SOURCE=WEIGHT",
        repeatable=True,
    )

    loss: Literal["auto", "hard", "soft", "geometric"] = setting(
        "auto",
        "take chosen as better (`hard`), by its probability (`soft`), scale the margin by it "
        "(`geometric`), or (`auto`) `soft` in rows that are `calibrated` and else `hard`",
        "Preferences",
    )
    # Rafailov et al. 2023 and the handbook's recipe; Zephyr used 0.01.
    beta: float = setting(0.1, "how strongly to hold on to the start model", "Preferences", gt=0)
    nll_weight: float = setting(
        0.0, "weight of the loss of imitating chosen, added to the other", "Preferences", ge=0
    )
    length_normalised: bool = setting(False, "log-probabilities per token", "Preferences")
    min_margin: float | None = setting(
        None, "least 2p - 1 of a label", "Preferences", shown=defaults.MARGIN, ge=0, lt=1
    )
    pair_source: Literal["all", "revision", "sampled"] = setting(
        "all", "pairs of both sources, or of one", "Preferences"
    )
    # 25 to 30 % of a step on a CPU; it costs one pass over the data.
    precompute_reference: bool = setting(
        True, "compute the start model's log-probabilities once, beforehand", "Preferences"
    )

    dtype: Literal["auto", "bfloat16", "float32"] = setting(
        "auto", "number format of the model", "Models"
    )
    device: str = setting(
        "auto", "`auto`, `cpu`, `cuda` or `mps`", "Models", metavar="DEVICE", min_length=1
    )
    gradient_checkpointing: bool = setting(False, "less memory, more time", "Models")
    report_to: tuple[str, ...] = setting(
        (),
        "where else metrics go, as transformers names it: `tensorboard`, `wandb`, …; may be "
        "repeated",
        "Output",
        metavar="NAME",
        repeatable=True,
    )
    eval_every: int | None = setting(
        None, "updates between evaluations", "Output", shown="after each epoch", ge=1
    )
    save_every: int | None = setting(
        None, "updates between checkpoints", "Output", shown="after each epoch", ge=1
    )
    log_every: int | None = setting(
        None, "updates between lines of metrics", "Output", shown="every one", ge=1
    )
    keep_checkpoints: int = setting(2, "newest checkpoints that are kept", "Output", ge=1)
    chat_template: str | None = setting(
        None, "chat template that replaces the model's own", "Models", metavar="FILE", min_length=1
    )
    date: datetime.date | None = setting(
        None,
        "date for a chat template that writes one, YYYY-MM-DD",
        "Models",
        shown="that of the data's run, else today's",
    )
    gate: GateAction = setting(
        "warn",
        "what a gate that failed in the data's quality.json does: `none`, `warn`, or `fail` "
        "(nothing is trained, exit code 3)",
        "Rows",
    )
    merge: bool = setting(True, "merge the adapter into the weights at the end", "Output")

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_bool(cls, value: Any, info: ValidationInfo) -> Any:
        """`lora: true` is no rank of 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("true and false mean nothing here")
        return value

    @field_validator(*defaults.DERIVED, mode="before")
    @classmethod
    def _null_is_the_default(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            return value
        field = cls.model_fields[str(info.field_name)]
        return field.get_default(call_default_factory=True, validated_data=info.data)

    @field_validator("mix", "report_to", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return comma_list(value) if isinstance(value, str) else value

    @field_validator("mix")
    @classmethod
    def _mixes_that_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        sources = [parse_mix(text).source for text in value]
        if len(set(sources)) != len(sources):
            raise ValueError("names one twice")
        return value

    @field_validator("micro_batch_size")
    @classmethod
    def _divides(cls, value: int, info: ValidationInfo) -> int:
        batch = info.data.get("batch_size", value)
        if batch % value:
            raise ValueError(f"batch_size, {batch}, is no multiple of it")
        return value

    @field_validator("lora_alpha", "lora_dropout")
    @classmethod
    def _only_with_an_adapter(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value and info.data.get("lora", value) is None:
            raise ValueError("there is no adapter: lora is null")
        return value

    @field_validator(*defaults.PAIR_KEYS)
    @classmethod
    def _only_with_pairs(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[str(info.field_name)].default
        if info.data.get("method") == "sft" and value != default:
            raise ValueError("only dpo has pairs, and this is sft")
        return value

    def as_data(self) -> dict[str, Any]:
        """The settings as JSON data, without those that play no part in the method."""
        return self.model_dump(
            mode="json", exclude=set(defaults.PAIR_KEYS) if self.method == "sft" else None
        )

    @property
    def dataset(self) -> DatasetName:
        """The dataset of a run that this method learns from."""
        return "sft" if self.method == "sft" else "preferences"

    @property
    def mixes(self) -> tuple[Mix, ...]:
        return tuple(parse_mix(text) for text in self.mix)


def resolve_training(
    method: TrainMethod,
    given: Mapping[str, Any],
    config: Path | None = None,
    pairs: tuple[str, ...] = (),
) -> TrainSettings:
    """The settings of a training run: defaults < `config` file < `key=value` pairs < `given`.

    The file that a run saves gives the same settings again.

    Raises:
        CaiError: An unknown key, a value of the wrong kind, or options that make no sense
            together; says where it stands.
    """
    layers: list[Layer] = [(read_config(config), str(config))] if config else []
    options = [*(parse_pair(TrainSettings, pair) for pair in pairs), (given, "")]
    values, places = merged(TrainSettings, [*layers, *options], defaults.OTHER_NAMES)
    if values.get("method", method) != method:
        raise InputError(
            place_of("method", places["method"]),
            f"{values['method']!r}, but this is cai train {method}",
            "Use the command of that method, or a file of this one.",
        )
    try:
        settings = TrainSettings.model_validate({"method": method, **values})
    except ValidationError as error:
        raise refused(TrainSettings, error.errors()[0], places) from None
    explicit = {key for layer, _ in options for key in layer if values.get(key) is not None}
    for key in sorted(explicit):
        if why := _without_effect(key, settings, explicit):
            raise InputError(place_of(key, places[key]), why, "Leave it out.")
    return settings


def _without_effect(key: str, settings: TrainSettings, explicit: set[str]) -> str | None:
    """Why an option that was given on the command line would do nothing, even at its default."""
    if settings.method == "sft" and key in defaults.PAIR_KEYS:
        return "only dpo has pairs, and this is sft"
    if settings.lora is None and key in defaults.ADAPTER_KEYS:
        return "there is no adapter: lora is null"
    if key == "epochs" and "max_steps" in explicit:
        return "max_steps decides how long it trains"
    return None
