"""The columns of the datasets and their splits: where generation and training meet."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from cai.records import Prompt, Record

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
SPLIT_SALT = "cai split 1"
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SFT = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("completion", _MESSAGES),
        ("target", pa.string()),
        ("step", pa.int32()),
        ("principle_ids", pa.list_(pa.string())),
        ("verified", pa.bool_()),
        ("violations", pa.list_(pa.string())),
        ("prompt_kind", pa.string()),
    ]
)

PREFERENCES = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("chosen_probability", pa.float64()),
        ("pair_source", pa.string()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("calibrated", pa.bool_()),
        ("cot", pa.bool_()),
        ("principle_ids", pa.list_(pa.string())),
        ("judge", pa.string()),
        ("prompt_kind", pa.string()),
    ]
)

_FINDING = pa.struct([("principle_id", pa.string()), ("text", pa.string())])

_ASSESSMENT = pa.struct(
    [
        ("principle_id", pa.string()),
        ("p_violates", pa.float64()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("method", pa.string()),
        ("finding", pa.string()),
    ]
)

_STEP = pa.struct(
    [
        ("step", pa.int32()),
        ("principle_id", pa.string()),
        ("critique", pa.string()),
        ("p_change", pa.float64()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("revision", pa.string()),
        ("removed", pa.list_(pa.string())),
        ("edit_distance", pa.float64()),
        ("findings", pa.list_(_FINDING)),
    ]
)

_JUDGEMENT = pa.struct(
    [
        ("principle_id", pa.string()),
        ("q_ab", pa.float64()),
        ("q_ba", pa.float64()),
        ("label_mass", pa.float64()),
        ("method", pa.string()),
        ("reasoning", pa.list_(pa.string())),
    ]
)

_PAIR = pa.struct(
    [
        ("source", pa.string()),
        ("response_a", pa.string()),
        ("response_b", pa.string()),
        ("p_a", pa.float64()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("judgements", pa.list_(_JUDGEMENT)),
        ("dropped", pa.string()),
    ]
)

TRACES = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("prompt_kind", pa.string()),
        ("group", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("response", pa.string()),
        ("steps", pa.list_(_STEP)),
        ("final", pa.string()),
        ("target", pa.string()),
        ("edit_distance", pa.float64()),
        ("verified", pa.bool_()),
        ("assessments", pa.list_(_ASSESSMENT)),
        ("violations", pa.list_(pa.string())),
        ("not_in_sft", pa.string()),
        ("pairs", pa.list_(_PAIR)),
    ]
)


DATASETS = {"sft": SFT, "preferences": PREFERENCES, "traces": TRACES}  # by folder
# Columns that data of method version 1 has not got.
SINCE_2 = {
    "sft": ("violations",),
    "preferences": ("calibrated", "cot"),
    "traces": ("assessments", "violations", "not_in_sft"),
}
# The columns that are learnt from, each an answer to `prompt`.
ANSWERS = {"sft": ("completion",), "preferences": ("chosen", "rejected")}


def schema_of(name: str, method_version: int) -> pa.Schema:
    """The columns of a dataset as a method version writes it."""
    if method_version >= 2:
        return DATASETS[name]
    fields = [field for field in DATASETS[name] if field.name not in SINCE_2[name]]
    return pa.schema([_steps_of_1() if field.name == "steps" else field for field in fields])


def _steps_of_1() -> pa.Field:
    return pa.field("steps", pa.list_(pa.struct([f for f in _STEP if f.name != "findings"])))


def text_key(text: str) -> str:
    """A text as prompts are compared: NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_of(prompt: Prompt, test_share: float) -> Split:
    """The split of a prompt: a hash of its group, else of its first human turn, normalised.

    Ids play no part, and a larger share only moves prompts from train to test.
    """
    if prompt.group is not None:
        key = f"group {prompt.group}"
    else:
        key = f"text {text_key(prompt.first_human_turn)}"
    drawn = hashlib.sha256(f"{SPLIT_SALT} {key}".encode()).digest()
    return "test" if int.from_bytes(drawn[:7], "big") / 2**56 < test_share else "train"


def named(name: str | None, identity: str) -> str:
    """A model's name with the beginning of its identity, which tells it from its namesakes."""
    return f"{name} ({identity[:16]})" if name else identity


class Manifest(Record):
    """What a run was made of; it holds timings, so its bytes are not promised.

    `models` are identities by role, `names` what a person calls them; `fed` is by role what a
    model's template adds to the texts: the date, a system text.
    """

    version: Literal[1] = 1
    constitution: dict[str, str]
    templates: dict[str, str]
    models: dict[str, str]
    names: dict[str, str] = Field(default_factory=dict)
    fed: dict[str, dict[str, str]] = Field(default_factory=dict)
    labels: dict[str, list[str]] = Field(default_factory=dict)
    judge: dict[str, Any] = Field(default_factory=dict)
    seed: int
    packages: dict[str, str]
    prompts: dict[str, Any]
    counts: dict[str, int]
    calls: dict[str, int]
    tokens: dict[str, dict[str, int]]
    cost: dict[str, Any] = Field(default_factory=dict)
    timings: dict[str, Any]

    @model_validator(mode="after")
    def _roles_have_models(self) -> Manifest:
        if not self.models:
            raise ValueError("a run has at least one model")
        return self
