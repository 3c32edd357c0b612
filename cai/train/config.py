"""Every knob of `cai train`, flat, with its default and where the default comes from."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ValidationInfo

from cai.config import comma_list, near_names, place_of, read_config
from cai.errors import CaiError, InputError
from cai.records import encodable

TrainMethod = Literal["sft", "dpo"]
DatasetName = Literal["sft", "preferences"]

# By method, with an adapter and without. All weights: the recipe of Hugging Face's alignment
# handbook for Constitutional AI (Mistral-7B). An adapter wants 5 to 10 times as much (Schulman et
# al. 2025, "LoRA Without Regret").
LEARNING_RATES: dict[TrainMethod, tuple[float, float]] = {
    "sft": (1e-4, 2e-5),
    "dpo": (5e-6, 5e-7),
}
MICRO_BATCH = 4

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
_DERIVED = ("learning_rate", "lora_alpha", "micro_batch_size")
_LISTS = ("mix", "report_to")
# What TRL and peft call them, where no likeness leads there.
_OTHER_NAMES = {
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


class Mix(NamedTuple):
    """Other data for the train split; `weight` rows per row of the main data, None for all."""

    source: str
    weight: float | None


def parse_mix(text: str) -> Mix:
    """`SOURCE` or `SOURCE=WEIGHT` in two; a file whose name has an `=` stays whole.

    Raises:
        ValueError: There is no source, or the weight is no number above 0.
    """
    source, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        source, weight = text, ""
    if not source.strip():
        raise ValueError(f"{text!r} names no data")
    if source == text:
        return Mix(source, None)
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{weight!r} is no weight: write a number above 0, as in {source}=0.3")
    return Mix(source, number)


def _alpha(data: dict[str, Any]) -> int | None:
    return None if data.get("lora") is None else 2 * int(data["lora"])


def _rate(data: dict[str, Any]) -> float:
    return LEARNING_RATES[data.get("method", "sft")][data.get("lora") is None]


def _micro_batch(data: dict[str, Any]) -> int:
    return math.gcd(MICRO_BATCH, data.get("batch_size", MICRO_BATCH))


class TrainSettings(BaseModel):
    """What a training run is made from; with the data and the model it decides the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: TrainMethod = Field(description="sft (imitate completions) or dpo (prefer chosen)")
    data: str = Field(
        min_length=1,
        description="what to train on: a run folder, a .parquet or .jsonl file, or "
        "hf:owner/name[@revision][:config][:split]",
    )
    model: str = Field(
        "default", min_length=1, description="model to train: a Hub name or a folder"
    )
    out: str | None = Field(None, min_length=1, description="folder for the trained model")
    seed: int = Field(0, ge=0, description="seed of the order of rows, of adapters and of mixes")

    # On data of this size an adapter learns as much as all weights (Schulman et al. 2025).
    lora: int | None = Field(16, ge=1, description="rank of the adapter; null trains all weights")
    # 32 at rank 16, as in Schulman et al. 2025. Twice the rank, because peft scales the adapter by
    # alpha / rank: the scale stays 2 when the rank changes, and a change of the scale acts much
    # like one of the learning rate (Hu et al. 2021, section 4.1).
    lora_alpha: int | None = Field(
        default_factory=_alpha,
        ge=1,
        description="scale of the adapter, over its rank; null is twice the rank",
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside the adapter")
    learning_rate: float = Field(
        default_factory=_rate,
        gt=0,
        description="peak learning rate; null is 1e-4 (sft), 5e-6 (dpo), or 2e-5 and 5e-7 without "
        "an adapter",
    )
    # The handbook's for SFT; its DPO takes 3.
    epochs: float = Field(1.0, gt=0, description="times through the data")
    max_steps: int | None = Field(None, ge=1, description="updates, whatever epochs says")
    # Between the handbook's 256 rows (SFT) and 16 (DPO): an adapter bears large batches less well
    # (Schulman et al. 2025), and 16 soft labels make a noisy gradient.
    batch_size: int = Field(64, ge=1, description="rows per update, over all devices")
    micro_batch_size: int = Field(
        default_factory=_micro_batch,
        ge=1,
        description="rows at once on a device; divides batch_size; null is 4 where that divides it",
    )
    # The handbook's warm-up and schedule; decay and clipping as in transformers.
    warmup: float = Field(0.1, ge=0, lt=1, description="share of updates until the peak rate")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="the learning rate after its peak"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(1.0, ge=0, description="clip gradients to this norm; 0 is off")

    # TRL's own default; answers of `cai generate` end at 512 to 768 tokens.
    max_length: int = Field(1024, ge=2, description="most tokens of a prompt with its answer")
    too_long: Literal["drop", "cut"] = Field(
        "drop", description="rows above max_length: drop them, or cut the end off their answers"
    )
    max_too_long: float = Field(
        0.05, ge=0, le=1, description="share of rows above max_length that stops the run"
    )
    mix: tuple[str, ...] = Field(
        (),
        description="other data, SOURCE or SOURCE=WEIGHT: WEIGHT times as many rows as the main "
        "data has, without a weight all of them",
    )

    # Of the three, the one that keeps what the judge knew: cross-entropy on its probability.
    loss: Literal["hard", "soft", "geometric"] = Field(
        "soft",
        description="dpo: take chosen as better (hard), by its probability (soft), or scale the "
        "margin by it (geometric)",
    )
    # Rafailov et al. 2023 and the handbook's recipe; Zephyr used 0.01.
    beta: float = Field(0.1, gt=0, description="dpo: how strongly to hold on to the start model")
    nll_weight: float = Field(
        0.0, ge=0, description="dpo: weight of the loss of imitating chosen, added to the other"
    )
    length_normalised: bool = Field(False, description="dpo: log-probabilities per token")
    min_margin: float = Field(0.0, ge=0, lt=1, description="dpo: least 2p - 1 of a label")
    pair_source: Literal["all", "revision", "sampled"] = Field(
        "all", description="dpo: pairs of both sources, or of one"
    )
    # 25 to 30 % of a step on a CPU; it costs one pass over the data.
    precompute_reference: bool = Field(
        True, description="dpo: compute the start model's log-probabilities once, beforehand"
    )

    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="number format of the model"
    )
    device: str = Field("auto", min_length=1, description="auto, cpu, cuda or mps")
    gradient_checkpointing: bool = Field(False, description="less memory, more time")
    report_to: tuple[str, ...] = Field(
        (), description="where else metrics go, as transformers names it: tensorboard, wandb, …"
    )
    eval_every: int | None = Field(
        None, ge=1, description="updates between evaluations; null: after each epoch"
    )
    save_every: int | None = Field(
        None, ge=1, description="updates between checkpoints; null: after each epoch"
    )
    log_every: int | None = Field(
        None, ge=1, description="updates between lines of metrics; null: every one"
    )
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints that are kept")
    chat_template: str | None = Field(
        None, min_length=1, description="file of a chat template that replaces the model's own"
    )
    date: datetime.date | None = Field(
        None,
        description="date for a chat template that writes one, YYYY-MM-DD; null: that of the "
        "data's run, else today's",
    )
    merge: bool = Field(True, description="merge the adapter into the weights at the end")

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_bool(cls, value: Any, info: ValidationInfo) -> Any:
        """`lora: true` is no rank of 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("true and false mean nothing here")
        return value

    @field_validator(*_DERIVED, mode="before")
    @classmethod
    def _null_is_the_default(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            return value
        field = cls.model_fields[str(info.field_name)]
        return field.get_default(call_default_factory=True, validated_data=info.data)

    @field_validator(*_LISTS, mode="before")
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

    @field_validator(*PAIR_KEYS)
    @classmethod
    def _only_with_pairs(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[str(info.field_name)].default
        if info.data.get("method") == "sft" and value != default:
            raise ValueError("only dpo has pairs, and this is sft")
        return value

    def as_data(self) -> dict[str, Any]:
        """The settings as JSON data, without those that play no part in the method."""
        return self.model_dump(
            mode="json", exclude=set(PAIR_KEYS) if self.method == "sft" else None
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
    layers = [(read_config(config), str(config))] if config else []
    said = [(_parse_pair(pair), f"--set {pair}") for pair in pairs]
    said.append((dict(given), ""))
    values: dict[str, Any] = {"method": method}
    places: dict[str, str] = {}
    for layer, place in [*layers, *said]:
        for key, value in layer.items():
            where = place or f"--{str(key).replace('_', '-')}"
            _known(key, where)
            if isinstance(value, str | list | tuple) and not encodable(value):
                at = place_of(key, where)
                raise InputError(at, "not valid Unicode", "Write it in UTF-8.")
            if key == "method" and value != method:
                raise InputError(
                    f"{where}: method",
                    f"{value!r}, but this is cai train {method}",
                    "Use the command of that method, or a file of this one.",
                )
            values[key], places[key] = value, where
    try:
        settings = TrainSettings.model_validate(values)
    except ValidationError as error:
        raise _explained(error.errors()[0], places) from None
    explicit = {key for layer, _ in said for key in layer if values.get(key) is not None}
    for key in sorted(explicit):
        if why := _without_effect(key, settings, explicit):
            raise InputError(place_of(key, places[key]), why, "Leave it out.")
    return settings


def _explained(error: ErrorDetails, places: Mapping[str, str]) -> CaiError:
    key = str(error["loc"][0])
    described = TrainSettings.model_fields[key].description
    if error["type"] == "missing":
        return CaiError(f"no {key} is given", f"{key}: {described}.")
    message = error["msg"].removeprefix("Value error, ")
    return InputError(
        place_of(key, places.get(key, "settings")),
        f"{message} (got {error['input']!r})",
        f"{key}: {described}.",
    )


def _without_effect(key: str, settings: TrainSettings, explicit: set[str]) -> str | None:
    """Why an option that was given on the command line would do nothing, even at its default."""
    if settings.method == "sft" and key in PAIR_KEYS:
        return "only dpo has pairs, and this is sft"
    if settings.lora is None and key in ADAPTER_KEYS:
        return "there is no adapter: lora is null"
    if key == "epochs" and "max_steps" in explicit:
        return "max_steps decides how long it trains"
    return None


def _known(key: object, where: str) -> None:
    known = TrainSettings.model_fields
    if key in known:
        return
    name = str(key)
    other = _OTHER_NAMES.get(name)
    hint = f"Did you mean {other}?" if other else near_names(name, known)
    raise InputError(where, f"unknown setting {key!r}", hint)


def _parse_pair(pair: str) -> dict[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise InputError(f"--set {pair}", "no equals sign", "Write --set key=value.")
    key = key.strip()
    field = TrainSettings.model_fields.get(key)
    if key in _LISTS:
        return {key: comma_list(value)}
    if field is not None and field.annotation in (str, str | None):
        return {key: None if value == "null" else value}
    try:
        return {key: yaml.safe_load(value)}
    except (yaml.YAMLError, ValueError):
        return {key: value}
