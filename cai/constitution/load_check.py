"""The rules of a `check` in the constitution file, read with line and field, and what is wrong."""

from __future__ import annotations

import re
from typing import Any

import yaml

from cai.constitution.records import Check
from cai.constitution.yaml_file import (
    BAD,
    BAD_CHARACTERS,
    YamlReader,
    join,
    nearest,
    short,
    shown,
)

_NUMBERS = tuple(name for name in Check.model_fields if name.startswith(("max_", "min_")))
_PATTERNS = ("forbid", "require")
_TEXTS = ("starts_with", "ends_with")
# The values that a switch may have, and what to do where another was wanted.
_SWITCHES: dict[str, tuple[tuple[bool, ...], str]] = {
    "ends_with_question": ((True, False), "Write `true` to ask for a question, `false` for none."),
    "valid_json": ((True,), "Write `valid_json: true`, or remove the key."),
    **{
        name: ((False,), f"Write `{name}: false` for none; remove the key to allow them.")
        for name in ("lists", "headings", "links", "emoji", "exclamation_marks", "personal_data")
    },
}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read_rule(reader: YamlReader, key: str, node: yaml.Node, field: str) -> Any:
    """The value of a key of a check as plain data, or BAD with the error noted."""
    if key in _NUMBERS:
        return _number(reader, node, field)
    if key in _PATTERNS:
        items = reader.items(node, field, "a regular expression")
        return [_pattern(reader, item, f"{field}[{i}]") for i, item in enumerate(items)]
    if key in _SWITCHES:
        return _switch(reader, key, node, field)
    return _language(reader, node, field) if key == "language" else reader.text(node, field)


def check_rules(reader: YamlReader, check: Any, field: str) -> None:
    """What ties the rules of a check to each other; `check` is None where there is none."""
    if check is None or check is BAD:
        return
    for key in _PATTERNS:
        if check.get(key) == [] and not _failed(reader, join(field, key)):
            message = f"{join(field, key)}: is empty"
            hint = "Write a regular expression in it, or remove the key."
            reader.fail(reader.lines[join(field, key)], message, hint)
    if not check and not _failed(reader, field):
        message = f"{field}: holds no rule"
        hint = f"Write one, such as `max_words: 60`; there are {', '.join(Check.model_fields)}."
        reader.fail(reader.lines[field], message, hint)
    for key in _NUMBERS:
        if key.startswith("min_"):
            _check_range(reader, check, field, key.removeprefix("min_"))


def _failed(reader: YamlReader, field: str) -> bool:
    return any(error.message.startswith((f"{field}:", f"{field}.")) for error in reader.errors)


def _check_range(reader: YamlReader, check: dict[str, Any], field: str, unit: str) -> None:
    least, most = check.get(f"min_{unit}"), check.get(f"max_{unit}")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        message = f"{field}: min_{unit} is {least}, above max_{unit}, which is {most}"
        hint = f"No text has both; write `min_{unit}: {most}` and `max_{unit}: {least}`, or one."
        reader.fail(reader.lines[f"{field}.min_{unit}"], message, hint)


def _number(reader: YamlReader, node: yaml.Node, field: str) -> Any:
    kind = reader.visit(node, field)
    if kind == "a number" and re.fullmatch("0|[1-9][0-9]{0,8}", node.value):
        return int(node.value)
    message = f"{field}: {shown(node, kind)}, and should be a whole number from 0"
    hint = f"Write `{field.rpartition('.')[2]}: 60`, without quotes and separators."
    return reader.fail(reader.lines[field], message, hint) if kind else BAD


def _switch(reader: YamlReader, key: str, node: yaml.Node, field: str) -> Any:
    kind = reader.visit(node, field)
    values, hint = _SWITCHES[key]
    value = _BOOLEANS.get(node.value.lower()) if kind == "a boolean" else None
    if value in values:
        return value
    named = " or ".join(f"`{str(v).lower()}`" for v in values)
    message = f"{field}: {shown(node, kind)}, and should be {named}"
    return reader.fail(reader.lines[field], message, hint) if kind else BAD


def _pattern(reader: YamlReader, node: yaml.Node, field: str) -> Any:
    if isinstance(node, yaml.ScalarNode) and "\b" in node.value:
        reader.visit(node, field)
        message = f"{field}: holds a backspace, which `\\b` is within double quotes"
        hint = "Put it in single quotes, or write `\\\\b`, for the edge of a word."
        return reader.fail(reader.lines[field], message, hint)
    text = reader.text(node, field)
    if text is BAD or BAD_CHARACTERS.search(text):
        return BAD
    from cai.constitution.rules import compiled

    try:
        compiled(text)
    except ValueError as error:
        message = f"{field}: is no regular expression of RE2: {error}"
        hint = (
            "RE2 has no look-around and no back-references; its syntax is at github.com/google/re2."
        )
        return reader.fail(reader.lines[field], message, hint)
    return text


def _language(reader: YamlReader, node: yaml.Node, field: str) -> Any:
    # `no`, the code of Norwegian, is a boolean in YAML and means what it says here.
    kind = reader.visit(node, field)
    text = node.value if kind == "a boolean" and node.value == "no" else reader.text(node, field)
    if text is BAD:
        return BAD
    from cai.constitution.language import NAMES, languages

    codes = languages()
    if text in codes:
        return text
    named = {name.lower(): code for code, name in NAMES.items()}
    near = named.get(nearest(text.lower(), named) or "") or nearest(text.lower()[:2], codes)
    hint = f"Did you mean `{near}`? " if near else ""
    hint += f"Write a code of ISO 639, such as en, de or zh; known are {', '.join(codes)}."
    message = f"{field}: {short(text)} is no language that can be told from others"
    return reader.fail(reader.lines[field], message, hint)
