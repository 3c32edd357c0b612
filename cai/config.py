"""Every knob of `cai generate`, flat, with its default and where the default comes from.

Long, as every setting of a run stands here once, with its help, its default and its source.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from cai.presets import FIRST_METHOD, PRESETS, Preset
from cai.records import Kind, PairSource, Sampling
from cai.settings import (
    MODEL_NAMES,
    GateAction,
    Layer,
    merged,
    parse_pair,
    read_config,
    refused,
    setting,
)
from cai.sources.bad_rows import MAX_BAD_ROWS

Role = Literal["policy", "critic", "reviser", "judge", "sampler"]
ROLES: tuple[Role, ...] = ("policy", "critic", "reviser", "judge", "sampler")
StageName = Literal["sft", "preferences"]


def _model_of(what: str) -> Any:
    words = f"model of {what}: {MODEL_NAMES}"
    return setting(None, words, "Models", metavar="MODEL", shown="`--model`")


class Settings(BaseModel):
    """What a run is made from; with the journal it decides every byte of the datasets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    constitution: str = setting(
        "default.yaml",
        "constitution: a YAML file, or the name of a shipped one; the working folder is searched "
        "first",
        "Input",
        metavar="FILE",
    )
    prompts: str = setting(
        "seeds",
        "prompts: a `.jsonl`, `.csv`, `.tsv`, `.parquet` or `.txt` file (a prompt a line; text "
        "also gzipped), a folder of them, `hf:owner/name[@revision]` with "
        "`[:config][:split][:column]` after it, or `seeds[:kind]` (shipped)",
        "Input",
        metavar="SOURCE",
    )
    prompt_column: str | None = setting(
        None,
        "column that holds the prompt",
        "Input",
        metavar="NAME",
        shown="`prompt` or `messages`, else the one known column there is",
    )
    ignore_columns: tuple[str, ...] = setting(
        (), "columns that mean something else than their names say here: `id,kind,tags`", "Input"
    )
    max_bad_rows: float = setting(
        MAX_BAD_ROWS,
        "share of rows that cannot be used and that stops the run",
        "Input",
        ge=0,
        le=1,
    )
    kind: Kind | None = setting(
        None,
        "kind of the prompts that name none; `unknown` ones are revised like red-team prompts",
        "Input",
        shown="unknown",
    )
    limit: int | None = setting(None, "use the first N prompts only", "Input", shown="all", ge=1)
    shard: str | None = setting(
        None,
        "make one part only, the i-th of n, as `i/n`; `cai merge` puts the parts together",
        "Input",
        metavar="I/N",
        shown="all",
        pattern=r"^[1-9]\d{0,5}/[1-9]\d{0,5}$",
    )
    system: str | None = setting(
        None, "system prompt for prompts that have none; it is part of the data", "Input"
    )
    date: datetime.date | None = setting(
        None,
        "date for chat templates that write one (Llama 3.2, gpt-oss, Mistral), YYYY-MM-DD",
        "This run",
        shown="the day of the run's first start",
    )
    model: str = setting(
        "default",
        "model of every role that names none: a Hub name (`owner/name[@revision]`), a folder, "
        "`http://host:8000/v1#name` (a server; replicas by comma), `vllm:NAME` (a server started "
        "for the run), or `scripted:option=value,…` (answers from hashes, for tests)",
        "Models",
        metavar="MODEL",
        shown="SmolLM2-135M-Instruct",
    )
    base_url: str | None = setting(
        None,
        "server of all models that are given by a name alone, or by none: `http://host:8000/v1`",
        "Servers",
        metavar="URL",
    )
    critic: str | None = _model_of("critiques and verdicts")
    reviser: str | None = _model_of("revisions")
    judge: str | None = _model_of("the labels of pairs")
    sampler: str | None = _model_of("the sampled pairs")
    dtype: Literal["auto", "bfloat16", "float32"] = setting(
        "auto",
        "number format of a local model; a T4 or V100 only emulates bfloat16, so choose float32 "
        "there",
        "Models",
        shown="auto: bfloat16, on Apple GPUs float32",
    )
    device: str = setting(
        "auto",
        "device of a local model: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`",
        "Models",
        metavar="DEVICE",
    )
    batch_size: int | None = setting(
        None,
        "rows a local model decodes at once; does not change the data but for floating point",
        "Models",
        shown="by memory, at most 256",
        ge=1,
    )
    request_timeout: float = setting(
        600.0, "seconds until a call to a server is given up and sent again", "Servers", gt=0
    )
    tensor_parallel: int = setting(1, "`vllm:NAME`: GPUs per server", "Servers", ge=1)
    replicas: int = setting(
        1,
        "`vllm:NAME`: servers to start; with `--distributed`: workers, each with its models",
        "Servers",
        ge=1,
    )
    vllm_args: str = setting("", "`vllm:NAME`: more flags of its servers, as one text", "Servers")
    distributed: Literal["ray"] | None = setting(
        None,
        "`ray`: rows are made by `--replicas` workers on a Ray cluster (docs/servers.md)",
        "Servers",
    )
    address: str | None = setting(
        None,
        "Ray cluster: `HOST:PORT` or `auto`",
        "Servers",
        metavar="ADDRESS",
        shown="RAY_ADDRESS, else this machine",
    )
    concurrency: int | None = setting(
        None, "calls in flight per server", "Servers", shown="as many as keep it busy", ge=1
    )
    preset: Preset = setting(
        "default",
        "settings by one name: `bai2022` (4 revisions, temperature 1, few-shot, always revise, "
        "all steps, one principle per comparison), `direct` (revise without critique) or `distil` "
        "(answer with the constitution in view, learn without it); docs/method.md",
        "Method",
    )
    stages: tuple[StageName, ...] = setting(
        ("sft", "preferences"),
        "what to make: `sft`, `preferences`, or both with a comma",
        "Method",
        min_length=1,
    )
    revisions: int = setting(
        2, "critique-revision rounds per prompt, 0 to 16", "Method", ge=0, le=16
    )
    # Of one principle out of twenty 38 to 50 % looked for harm at all.
    rising_order: bool = setting(
        True,
        "draw each round's principle from the constitution's next `order`; off: always from the "
        "lowest",
        "Method",
    )
    topics: bool = setting(
        True, "draw principles whose tags name the prompt's topic before others", "Method"
    )
    critique: bool = setting(True, "ask for a critique before a revision", "Method")
    verdict: bool = setting(
        True, "ask the critic if a change is needed; revise only where it may be", "Method"
    )
    # Verdicts of a small critic disagree between the orders: a coin must not decide what is learnt.
    max_p_change: float = setting(
        0.35,
        "greatest probability of a needed change, or of a broken principle, at which nothing is "
        "changed; both orders must agree",
        "Method",
        ge=0,
        le=0.5,
    )
    assess: bool = setting(
        True, "ask of the final text whether it breaks a principle of the lowest order", "Method"
    )
    guided: bool = setting(
        False,
        "answer with the constitution in view; rows are written without it (context distillation)",
        "Method",
    )
    few_shot: bool = setting(False, "show the constitution's few-shot cases first", "Method")
    helpful: Literal["plain", "revise"] = setting(
        "plain", "helpful prompts: answer plainly, or revise like the others", "Method"
    )
    sft_steps: Literal["final", "all"] = setting(
        "final", "revisions that become SFT rows: the final one or all", "Method"
    )
    pairs: tuple[PairSource, ...] = setting(
        ("revision", "sampled"),
        "what is compared: `revision` (final revision, first answer), `sampled` (two answers of "
        "the sampler), `guided` (with and without the constitution in view), or several with "
        "commas; docs/judging.md",
        "Pairs and labels",
        min_length=1,
    )
    # Drawing among many principles makes labels more robust (Bai et al. 2022, section 4.1).
    judge_principles: int = setting(4, "principles per comparison (K)", "Pairs and labels", ge=1)
    cot: bool = setting(False, "let the judge reason before it picks", "Pairs and labels")
    min_margin: float = setting(
        0.0, "least abs(2p - 1) of a label that becomes a row", "Pairs and labels", ge=0, lt=1
    )
    judge_calibration: str | None = setting(
        None,
        "`result.json` of `cai check judge`: its temperature is applied to labels",
        "Pairs and labels",
        metavar="FILE",
    )
    drop: str | None = setting(
        None,
        "rows that were flagged in the page of `cai report` (its file of notes): their prompts are "
        "left out of the data, and stay in the traces",
        "Output",
        metavar="FILE",
    )
    templates: str | None = setting(
        None, "folder of `.jinja` files that replace ours by name", "Method", metavar="FOLDER"
    )
    seed: int = setting(0, "seed of every draw", "Sampling", ge=0)
    policy_temperature: float = setting(0.7, "temperature of first answers", "Sampling", ge=0)
    critic_temperature: float = setting(0.7, "temperature of critiques", "Sampling", ge=0)
    reviser_temperature: float = setting(0.7, "temperature of revisions", "Sampling", ge=0)
    pair_temperature: float = setting(1.0, "temperature of sampled pairs", "Sampling", ge=0)
    judge_temperature: float = setting(
        0.7, "temperature of the judge's reasoning (`--cot`)", "Sampling", ge=0
    )
    top_p: float = setting(1.0, "nucleus of all sampling; 1 is off", "Sampling", gt=0, le=1)
    policy_max_tokens: int = setting(512, "longest first answer, in tokens", "Sampling", ge=1)
    critic_max_tokens: int = setting(512, "longest critique, in tokens", "Sampling", ge=1)
    reviser_max_tokens: int = setting(768, "longest revision, in tokens", "Sampling", ge=1)
    judge_max_tokens: int = setting(
        512, "longest reasoning of the judge (`--cot`), in tokens", "Sampling", ge=1
    )
    # On llama.cpp a question that the model did not understand left 0.0075 on the labels, one that
    # it did left 0.72 to 0.88. Below a quarter most of the model's answer is not one of the labels.
    min_label_mass: float = setting(
        0.25,
        "least probability on the labels of a verdict or a judgement; less is a failure",
        "Pairs and labels",
        ge=0,
        le=1,
    )
    gate: GateAction = setting(
        "warn", "what a failed gate of the data's quality does; `fail` ends with code 3", "Gates"
    )
    gates: str | None = setting(
        None, "YAML file of thresholds, named as by `cai quality`", "Gates", metavar="FILE"
    )
    test_share: float = setting(0.05, "share of prompts in the test split", "Output", ge=0, lt=1)
    max_open_rows: int = setting(
        1024, "rows worked on at once; does not change the data", "This run", ge=1
    )
    method_version: Literal[1, 2] = setting(
        2,
        "rules by which rows are made: 1 are those of version 0.1.0, by which a folder that it "
        "made goes on",
        "This run",
        metavar="N",
        shown="2, or that of the folder",
    )

    @field_validator("stages", "pairs", "ignore_columns")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names one twice")
        return value

    @field_validator("method_version", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @model_validator(mode="before")
    @classmethod
    def _of_the_first(cls, values: Any) -> Any:
        """Method version 1 has its own defaults."""
        first = isinstance(values, Mapping) and str(values.get("method_version")) == "1"
        return {**FIRST_METHOD, **values} if first else values

    @field_validator("shard")
    @classmethod
    def _one_of_them(cls, value: str | None) -> str | None:
        if value is not None and int(value.split("/")[0]) > int(value.split("/")[1]):
            raise ValueError("there is no such part")
        return value

    @property
    def unnamed_kind(self) -> Kind | None:
        """The kind of prompts that name none; None leaves it to the reader."""
        return self.kind or ("unknown" if self.method_version >= 2 else None)

    def model_of(self, role: Role) -> str:
        """The name of a role's model: its own, or that of all."""
        if role == "policy":
            return self.model
        return getattr(self, role) or self.model

    def sampling(self, role: Role) -> Sampling:
        """Temperature, nucleus and length of a role; the seed is set call by call."""
        sampler = role == "sampler"
        return Sampling(
            temperature=self.pair_temperature if sampler else getattr(self, f"{role}_temperature"),
            max_tokens=getattr(self, f"{'policy' if sampler else role}_max_tokens"),
            top_p=self.top_p,
        )


def stored_settings(data: Mapping[str, Any]) -> Settings:
    """The settings that a folder holds; version 0.1.0 wrote no method version."""
    return Settings.model_validate({"method_version": 1, **data})


def of_version(settings: Settings, stored: Settings) -> Settings:
    """The settings of a run into a folder that another method version made.

    They are the stored ones but for what is given anew, and the given ones alone where a method
    version is among them: one dataset never mixes two methods.
    """
    given = settings.model_fields_set
    if "method_version" in given or settings.method_version == stored.method_version:
        return settings
    return stored.model_copy(update={key: getattr(settings, key) for key in given})


def resolve(
    given: Mapping[str, Any], config: Path | None = None, pairs: tuple[str, ...] = ()
) -> Settings:
    """The settings of a run: defaults < preset < `config` file < `key=value` pairs < `given`.

    Raises:
        CaiError: An unknown key, or a value of the wrong kind; says where it stands.
    """
    layers: list[Layer] = [(read_config(config), str(config))] if config else []
    options = [*(parse_pair(Settings, pair) for pair in pairs), (given, "")]
    chosen = [layer["preset"] for layer, _ in options if "preset" in layer]
    preset = next((name for name in PRESETS if chosen and name == chosen[-1]), None)
    if config is not None and preset is not None:  # it wins over the file's keys
        layers.append((_in_full(preset), f"preset {preset}"))
    values, places = merged(Settings, [*layers, *options])
    base = next((v for name, v in PRESETS.items() if name == values.get("preset")), {})
    try:
        return Settings.model_validate({**base, **values})
    except ValidationError as error:
        raise refused(Settings, error.errors()[0], places) from None


def settings_of(
    settings: Settings | Mapping[str, Any] | None, given: Mapping[str, Any]
) -> Settings:
    """`Settings` or their values as settings; single ones that are given win.

    Raises:
        CaiError: As `resolve`.
    """
    if not isinstance(settings, Settings):
        return resolve({**(settings or {}), **given})
    return resolve({**settings.model_dump(exclude_unset=True), **given}) if given else settings


def _in_full(preset: Preset) -> dict[str, Any]:
    """A preset with the defaults of what other presets set."""
    named = {key for values in PRESETS.values() for key in values}
    return {key: Settings.model_fields[key].default for key in sorted(named)} | PRESETS[preset]
