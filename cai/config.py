"""Every knob of `cai generate`, flat, with its default and where the default comes from."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cai.constitution.yaml_file import compose
from cai.errors import CaiError, InputError
from cai.records import Kind, PairSource, Sampling, encodable
from cai.sources.bad_rows import MAX_BAD_ROWS

Role = Literal["policy", "critic", "reviser", "judge", "sampler"]
ROLES: tuple[Role, ...] = ("policy", "critic", "reviser", "judge", "sampler")
StageName = Literal["sft", "preferences"]
Preset = Literal["default", "bai2022", "direct"]

PRESETS: dict[Preset, dict[str, Any]] = {
    # One revision removes most harm, later ones cost helpfulness (Bai et al. 2022, figure 5).
    "default": {},
    # The paper's protocol (section 3.1): four revisions, each made whatever the critique says.
    "bai2022": {
        "revisions": 4,
        "verdict": False,
        "few_shot": True,
        "sft_steps": "all",
        "policy_temperature": 1.0,
        "critic_temperature": 1.0,
        "reviser_temperature": 1.0,
        # Section 4.1: pairs of one policy, one principle drawn per comparison.
        "pairs": ("sampled",),
        "judge_principles": 1,
    },
    # Revision without critique, to compare with (Bai et al. 2022, figure 7).
    "direct": {"critique": False, "verdict": False},
}


class Settings(BaseModel):
    """What a run is made from; with the journal it decides every byte of the datasets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    constitution: str = Field("default.yaml", description="constitution: a path or a shipped name")
    prompts: str = Field(
        "seeds",
        description="prompts: a .jsonl, .csv, .parquet or .txt file, a folder of them, "
        "hf:owner/name[@revision][:config][:split][:column], or seeds[:kind]",
    )
    prompt_column: str | None = Field(None, description="the column that holds the prompt")
    ignore_columns: tuple[str, ...] = Field(
        (), description="columns of the prompts that mean something else: id,kind,tags"
    )
    max_bad_rows: float = Field(
        MAX_BAD_ROWS, ge=0, le=1, description="share of unusable prompts that stops the reading"
    )
    kind: Kind | None = Field(None, description="kind of the prompts that name none")
    limit: int | None = Field(None, ge=1, description="use the first N prompts only")
    shard: str | None = Field(
        None, pattern=r"^[1-9]\d{0,5}/[1-9]\d{0,5}$", description="i/n: the i-th of n parts"
    )
    system: str | None = Field(None, description="system prompt for prompts that have none")
    date: datetime.date | None = Field(
        None,
        description="date for chat templates that write one, YYYY-MM-DD; null: the day of the "
        "run's first start",
    )
    model: str = Field(
        "default",
        description="model of every role: a Hub name, a folder, http://host:8000/v1#name "
        "(a server; replicas by comma), vllm:NAME (a server of our own), or scripted:…",
    )
    base_url: str | None = Field(
        None, description="server of all models that are given by a name alone"
    )
    critic: str | None = Field(None, description="model of critiques and verdicts")
    reviser: str | None = Field(None, description="model of revisions")
    judge: str | None = Field(None, description="model that labels pairs")
    sampler: str | None = Field(None, description="model of the sampled pairs")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="number format of a local model"
    )
    device: str = Field("auto", description="device of a local model: auto, cpu, cuda, cuda:1, mps")
    batch_size: int | None = Field(None, ge=1, description="rows a local model decodes at once")
    request_timeout: float = Field(
        600.0, gt=0, description="seconds until a call to a server is given up and sent again"
    )
    tensor_parallel: int = Field(1, ge=1, description="vllm:… GPUs per server")
    replicas: int = Field(
        1, ge=1, description="vllm:… servers; with distributed: workers, each with its models"
    )
    vllm_args: str = Field("", description="vllm:… more flags of the server, as one text")
    distributed: Literal["ray"] | None = Field(
        None, description="ray: rows are made by workers on a Ray cluster"
    )
    address: str | None = Field(
        None, description="the Ray cluster; null: that of RAY_ADDRESS, or this machine"
    )
    concurrency: int | None = Field(
        None, ge=1, description="calls in flight per server; null: as many as keep it busy"
    )
    preset: Preset = Field("default", description="preset: default, bai2022 or direct")
    stages: tuple[StageName, ...] = Field(
        ("sft", "preferences"), min_length=1, description="what to make: sft, preferences or both"
    )
    revisions: int = Field(1, ge=0, le=16, description="critique-revision rounds per prompt")
    critique: bool = Field(True, description="ask for a critique before a revision")
    verdict: bool = Field(
        True, description="ask the critic if a change is needed; stop where it is not"
    )
    few_shot: bool = Field(False, description="show the constitution's few-shot cases first")
    helpful: Literal["plain", "revise"] = Field(
        "plain", description="helpful prompts: answer plainly, or revise like the others"
    )
    sft_steps: Literal["final", "all"] = Field(
        "final", description="revisions that become SFT rows: the final one or all"
    )
    pairs: tuple[PairSource, ...] = Field(
        ("revision", "sampled"),
        min_length=1,
        description="pairs: revision (final revision, first answer), sampled (two answers) or both",
    )
    # Drawing among many principles makes labels more robust (Bai et al. 2022, section 4.1).
    judge_principles: int = Field(4, ge=1, description="principles per comparison (K)")
    cot: bool = Field(False, description="let the judge reason before it picks")
    min_margin: float = Field(
        0.0, ge=0, lt=1, description="least |2p - 1| of a label that becomes a row"
    )
    judge_calibration: str | None = Field(
        None, description="result.json of a judge check whose temperature is applied to labels"
    )
    templates: str | None = Field(None, description="folder of templates that replace ours by name")
    seed: int = Field(0, ge=0, description="seed of every draw")
    policy_temperature: float = Field(0.7, ge=0, description="temperature of first answers")
    critic_temperature: float = Field(0.7, ge=0, description="temperature of critiques")
    reviser_temperature: float = Field(0.7, ge=0, description="temperature of revisions")
    pair_temperature: float = Field(1.0, ge=0, description="temperature of sampled pairs")
    judge_temperature: float = Field(0.7, ge=0, description="temperature of reasoning (cot)")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus of all sampling; 1 is off")
    policy_max_tokens: int = Field(512, ge=1, description="longest first answer, in tokens")
    critic_max_tokens: int = Field(512, ge=1, description="longest critique, in tokens")
    reviser_max_tokens: int = Field(768, ge=1, description="longest revision, in tokens")
    judge_max_tokens: int = Field(512, ge=1, description="longest reasoning (cot), in tokens")
    min_label_mass: float = Field(
        0.01, ge=0, le=1, description="least probability on the labels; less is a failure"
    )
    test_share: float = Field(0.05, ge=0, lt=1, description="share of prompts in the test split")
    max_open_rows: int = Field(1024, ge=1, description="rows worked on at once")

    @field_validator("stages", "pairs", "ignore_columns")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names one twice")
        return value

    @field_validator("shard")
    @classmethod
    def _one_of_them(cls, value: str | None) -> str | None:
        if value is not None and int(value.split("/")[0]) > int(value.split("/")[1]):
            raise ValueError("there is no such part")
        return value

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


# What the folder holds does not depend on these: they may change between two runs into it.
EXECUTION_KEYS = frozenset(
    # A date that is fed to a model is part of the model's identity.
    {"batch_size", "device", "max_open_rows", "preset", "request_timeout", "concurrency", "date"}
    | {"tensor_parallel", "replicas", "distributed", "address"}
)
# These only say where prompts come from; the prompts themselves are compared.
PROMPT_KEYS = frozenset(
    {"prompts", "prompt_column", "ignore_columns", "max_bad_rows", "kind", "limit", "shard"}
)
# These are compared by content, not by name.
FILE_KEYS = frozenset(
    {"constitution", "templates", "dtype", "model", "critic", "reviser", "judge", "sampler"}
    | {"judge_calibration", "base_url", "vllm_args"}
)
_LISTS = frozenset({"stages", "pairs", "ignore_columns"})


def resolve(
    given: Mapping[str, Any], config: Path | None = None, pairs: tuple[str, ...] = ()
) -> Settings:
    """The settings of a run: defaults < preset < `config` file < `key=value` pairs < `given`.

    Raises:
        CaiError: An unknown key, or a value of the wrong kind; says where it stands.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    layers = [(read_config(config), str(config)) if config else ({}, "")]
    layers += [(parse_pair(pair), f"--set {pair}") for pair in pairs]
    chosen = [layer["preset"] for layer, _ in layers[1:] if "preset" in layer]
    chosen += [given["preset"]] if "preset" in given else []
    if config is not None and chosen and chosen[-1] in PRESETS:  # it wins over the file's keys
        layers.insert(1, (preset_values(chosen[-1]), f"preset {chosen[-1]}"))
    layers.append((dict(given), ""))
    for layer, place in layers:
        for key, value in layer.items():
            known_key(key, place)
            values[key], places[key] = value, place or f"--{key.replace('_', '-')}"
    base = next((v for name, v in PRESETS.items() if name == values.get("preset")), {})
    for key, value in values.items():
        if isinstance(value, str) and not encodable(value):
            where = place_of(key, places[key])
            raise InputError(where, "not valid Unicode", "Write it in UTF-8.")
    try:
        return Settings.model_validate({**base, **values})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise InputError(
            place_of(key, places.get(key, "settings")),
            f"{first['msg']} (got {first['input']!r})",
            f"{key}: {Settings.model_fields[key].description}.",
        ) from None


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


def preset_values(preset: Preset) -> dict[str, Any]:
    """A preset in full: also the defaults of what other presets set."""
    named = {key for values in PRESETS.values() for key in values}
    return {key: Settings.model_fields[key].default for key in sorted(named)} | PRESETS[preset]


def known_key(key: object, place: str) -> None:
    if key in Settings.model_fields:
        return
    raise InputError(
        place or "settings", f"unknown setting {key!r}", near_names(key, Settings.model_fields)
    )


def near_names(key: object, known: Collection[str]) -> str:
    """A hint with all names that are like a misspelt one or hold it, else with all there are."""
    name = str(key).replace("-", "_")
    near = difflib.get_close_matches(name, known, n=5)
    near += [n for n in known if n not in near and (f"_{name}" in n or f"{name}_" in n)]
    if not near:
        return f"Known: {', '.join(known)}."
    return f"Did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}?"


def place_of(key: str, place: str) -> str:
    """Where a setting was given; an option names its setting by itself."""
    return place if place == f"--{key.replace('_', '-')}" else f"{place}: {key}"


def comma_list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def parse_pair(pair: str) -> dict[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise InputError(f"--set {pair}", "no equals sign", "Write --set key=value.")
    key = key.strip()
    if key in _LISTS:
        return {key: comma_list(value)}
    field = Settings.model_fields.get(key)
    if field is not None and field.annotation in (str, str | None):
        return {key: None if value == "null" else value}
    try:
        return {key: yaml.safe_load(value)}
    except (yaml.YAMLError, ValueError):
        return {key: value}


def read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            return {}
        compose(path)  # its errors say what is wrong with the YAML, and where
        loaded = yaml.safe_load(text)
    except OSError as error:
        raise InputError(str(path), error.strerror or str(error), "Check --config.") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "not UTF-8 text", "Save the file as UTF-8.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(
            str(path), f"not YAML: {error}", "Write one `key: value` a line."
        ) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise CaiError(f"{path}: a list or text, not settings", "Write one `key: value` a line.")
    return loaded
