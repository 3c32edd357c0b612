"""A setting is described once, in its field; and how settings are read, merged and refused."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, JsonValue
from pydantic_core import ErrorDetails

from cai.constitution.yaml_file import compose
from cai.errors import CaiError, InputError
from cai.records import encodable

# What a setting is about; help and docs show the panels in this order.
Panel = Literal[
    "Input",
    "Models",
    "Servers",
    "Method",
    "Learning",
    "Rows",
    "Preferences",
    "Pairs and labels",
    "Sampling",
    "Output",
    "Gates",
    "This run",
]
GateAction = Literal["none", "warn", "fail"]
MODEL_NAMES = (
    "a Hub name (`owner/name[@revision]`), a folder, `http://host:8000/v1#name`, `vllm:NAME` or "
    "`scripted:…`"
)
Layer = tuple[Mapping[str, Any], str]  # settings, and where they were given; "" for options


def setting(
    default: Any,
    help: str,
    panel: Panel,
    *,
    metavar: str | None = None,
    shown: str | None = None,
    repeatable: bool = False,
    **more: Any,
) -> Any:
    """A field with all that `--help` and the docs say of it.

    Args:
        default: The value; `...` where one must be given.
        help: What it does; code in backticks, no capital and no full stop.
        panel: What it is about.
        metavar: What stands for the value, where its type does not say it.
        shown: The default in words, where it is null or depends on other settings.
        repeatable: Whether the option of a list is given once a part, and not with commas.
        more: Limits, and other arguments of pydantic's `Field`.
    """
    words: dict[str, JsonValue] = {
        "panel": panel,
        "metavar": metavar,
        "shown": shown,
        "repeatable": repeatable,
    }
    if "default_factory" not in more:
        more["default"] = default
    return Field(description=help, json_schema_extra=words, **more)


def value_type(annotation: Any) -> Any:
    """The type of a setting's value when it is not null."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    [kind] = (part for part in get_args(annotation) if part is not types.NoneType)
    return kind


def comma_list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def parse_value(settings: type[BaseModel], key: str, text: str) -> Any:
    """A value as `--set` writes it: a comma list, a text, or YAML."""
    field = settings.model_fields.get(key)
    kind = value_type(field.annotation) if field is not None else None
    if get_origin(kind) is tuple:
        return comma_list(text)
    if kind is str:
        return None if text == "null" else text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def parse_pair(settings: type[BaseModel], pair: str) -> Layer:
    key, equals, text = pair.partition("=")
    if not equals:
        raise InputError(f"--set {pair}", "no equals sign", "Write --set key=value.")
    key = key.strip()
    return {key: parse_value(settings, key, text)}, f"--set {pair}"


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


def merged(
    settings: type[BaseModel], layers: Sequence[Layer], other_names: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of all layers, later ones winning, and where each was given.

    Args:
        settings: Whose settings they are.
        layers: From the weakest to the strongest.
        other_names: Settings as other tools call them, with our names.

    Raises:
        InputError: There is no such setting, or a text is not valid Unicode.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for layer, place in layers:
        for key, value in layer.items():
            where = place or option_name(str(key))
            if key not in settings.model_fields:
                other = (other_names or {}).get(str(key))
                hint = f"Did you mean {other}?" if other else near_names(key, settings.model_fields)
                raise InputError(where, f"unknown setting {key!r}", hint)
            texts = value if isinstance(value, list | tuple) else [value]
            if not all(encodable(text) for text in texts if isinstance(text, str)):
                raise InputError(place_of(key, where), "not valid Unicode", "Write it in UTF-8.")
            values[key], places[key] = value, where
    return values, places


def refused(settings: type[BaseModel], error: ErrorDetails, places: Mapping[str, str]) -> CaiError:
    """What is wrong with a value, where it was given, and what the setting is."""
    key = str(error["loc"][0])
    described = f"{key}: {(settings.model_fields[key].description or '').replace('`', '')}."
    if error["type"] == "missing":
        return CaiError(f"no {key} is given", described)
    message = error["msg"].removeprefix("Value error, ")
    where = place_of(key, places.get(key, "settings"))
    return InputError(where, f"{message} (got {error['input']!r})", described)


def option_name(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def place_of(key: str, place: str) -> str:
    """Where a setting was given; an option names its setting by itself."""
    return place if place == option_name(key) else f"{place}: {key}"


def near_names(key: object, names: Collection[str]) -> str:
    """A hint with all names that are like a misspelt one or hold it, else with all there are."""
    name = str(key).replace("-", "_")
    near = difflib.get_close_matches(name, names, n=5)
    near += [n for n in names if n not in near and (f"_{name}" in n or f"{name}_" in n)]
    if not near:
        return f"Known: {', '.join(names)}."
    return f"Did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}?"
