"""The constitution file: YAML in, a `Constitution` out, or errors with the line and a remedy.

`_Reader` turns nodes into plain data, field by field; `check_ties` (load_ties.py) holds what ties
fields to each other, and `read_rule` (load_check.py) reads the rules of a `check`. The records are
made only when nothing is wrong.
"""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cai.constitution.load_check import read_rule
from cai.constitution.load_ties import check_ties
from cai.constitution.records import Case, Check, Conflict, Constitution, FewShot, Principle
from cai.constitution.yaml_file import (
    BAD,
    YAML_TAG,
    YamlReader,
    compose,
    join,
    nearest,
    short,
    shown,
)
from cai.errors import InputError
from cai.files import constitutions_dir

TOP, PRINCIPLE, EXAMPLE, FEW_SHOT = "the top level", "a principle", "an example", "a few_shot case"
CHECK, CONFLICT = "a check", "a conflict"
FIELDS = {
    TOP: tuple(Constitution.model_fields),
    PRINCIPLE: tuple(Principle.model_fields),
    EXAMPLE: tuple(Case.model_fields),
    FEW_SHOT: tuple(FewShot.model_fields),
    CHECK: tuple(Check.model_fields),
    CONFLICT: tuple(Conflict.model_fields),
}
REQUIRED = {
    TOP: ("name", "version", "principles"),
    PRINCIPLE: ("id",),
    EXAMPLE: ("prompt", "response", "verdict"),
    FEW_SHOT: ("principle", "prompt", "response", "critique", "verdict"),
    CHECK: (),
    CONFLICT: ("between", "prompt"),
}
LISTS = {
    "principles": PRINCIPLE,
    "examples": EXAMPLE,
    "few_shot": FEW_SHOT,
    "conflicts": CONFLICT,
}
VERDICTS = ("violates", "fine")


def load(path: Path) -> Constitution:
    """The constitution in a YAML file; every value is kept exactly as written.

    Raises:
        InputError: The file cannot be read or something in it is wrong. Up to ten errors are
            reported at once, one a line, each with file, line and field.
    """
    if not path.exists() and path.name == str(path):
        shipped = ", ".join(sorted(p.name for p in constitutions_dir().glob("*.yaml")))
        hint = f"Give the path of a YAML file; the shipped ones are {shipped}."
        raise InputError(str(path), "there is no such file", hint)
    reader = _Reader(path)
    data = reader.record(compose(path), "", TOP)
    if data is not BAD:
        check_ties(reader, data)
    if reader.errors:
        raise reader.error()
    return Constitution.model_validate(data)


class _Reader(YamlReader):
    """Nodes to plain data, by the fields of the records; see `YamlReader` for its state."""

    def record(self, node: yaml.Node, field: str, place: str) -> Any:
        kind = self.visit(node, field)
        line = self.lines[field]
        if kind != "a mapping":
            message = f"{field or 'the file'}: is {kind}, and should be a mapping of keys to values"
            hint = "Write `key: value` lines below one dash."
            if place == TOP:
                hint = "Begin with `name: …`, `version: 1` and `principles:` at the left margin."
            return self.fail(line, message, hint) if kind else BAD
        data: dict[str, Any] = {}
        for key, value in self.keys(node, field, place).items():
            # `key: null` is a key left out; `key:` with nothing behind it is a text forgotten.
            if value.tag != f"{YAML_TAG}null" or not value.value:
                read = partial(read_rule, self) if place == CHECK else self.value
                data[key] = read(key, value, join(field, key))
        for key in REQUIRED[place]:
            if key not in data:
                hint = f"Add `{key}: …`; {place} needs {', '.join(REQUIRED[place])}."
                data[key] = self.fail(line, f"{join(field, key)}: is missing", hint)
        return data

    def keys(self, node: yaml.Node, field: str, place: str) -> dict[str, yaml.Node]:
        """Values by key. A misspelled key stands for the one meant, so it is reported once."""
        entries: dict[str, tuple[int, yaml.Node]] = {}
        guesses: dict[str, tuple[int, yaml.Node]] = {}
        for key_node, value in node.value:
            line, key = key_node.start_mark.line + 1, key_node.value
            if key_node.tag == f"{YAML_TAG}merge" or not isinstance(key, str):
                what = "a merge key (`<<`)" if isinstance(key, str) else "a key that is not a word"
                hint = "Write each key out; text that begins with {, [ or ? needs quotes."
                self.fail(line, f"{field or 'the file'}: {what} is not allowed", hint)
            elif key in entries:
                message = (
                    f"{join(field, key)}: is given twice, on lines {entries[key][0]} and {line}"
                )
                self.fail(line, message, "Keep one of them.")
            elif key in FIELDS[place]:
                entries[key] = (line, value)
            elif near := self.unknown(key, line, field, place):
                guesses[near] = (line, value)
        fields = guesses | entries
        self.lines.update({join(field, key): line for key, (line, _) in fields.items()})
        return {key: value for key, (_, value) in fields.items()}

    def unknown(self, key: str, line: int, field: str, place: str) -> str | None:
        """Reports a key that does not belong here; returns the one that was probably meant."""
        near = nearest(re.sub(r"[- ]", "_", key.lower()), FIELDS[place])
        homes = [p for p in FIELDS if key in FIELDS[p]]
        message = f"is a key of {' or '.join(homes)}, not of {place}" if homes else "is unknown"
        hint = f"Did you mean `{near}`? " if near else ""
        hint += f"The keys of {place} are {', '.join(FIELDS[place])}."
        self.fail(line, f"{join(field, short(key))}: {message}", hint)
        return None if homes else near

    def value(self, key: str, node: yaml.Node, field: str) -> Any:
        if key in LISTS:
            place = LISTS[key]
            items = self.items(node, field, place)
            return [self.record(item, f"{field}[{i}]", place) for i, item in enumerate(items)]
        if key == "check":
            return self.record(node, field, CHECK)
        if key in ("tags", "applies_to", "between"):
            items = self.items(node, field, "a word")
            return [self.text(item, f"{field}[{i}]") for i, item in enumerate(items)]
        readers = {
            "weight": self.weight,
            "order": self.order,
            "version": self.version,
            "verdict": self.verdict,
        }
        return readers.get(key, self.text)(node, field)

    def weight(self, node: yaml.Node, field: str) -> Any:
        """A finite number above 0; `5e-7` is one, though PyYAML takes it for text."""
        kind = self.visit(node, field)
        try:
            value = float(node.value) if kind in ("a number", "text") else math.nan
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value > 0:
            return value
        message = f"{field}: {shown(node, kind)}, and should be a number greater than 0"
        hint = "Write `weight: 2` to draw a principle twice as often; remove it to never draw it."
        return self.fail(self.lines[field], message, hint) if kind else BAD

    def order(self, node: yaml.Node, field: str) -> Any:
        kind = self.visit(node, field)
        if kind == "a number" and re.fullmatch("[1-9][0-9]{0,5}", node.value):
            return int(node.value)
        message = f"{field}: {shown(node, kind)}, and should be a whole number from 1"
        hint = "Write `order: 1` for what is looked for first, `order: 2` for the next round."
        return self.fail(self.lines[field], message, hint) if kind else BAD

    def version(self, node: yaml.Node, field: str) -> Any:
        kind = self.visit(node, field)
        if kind == "a number" and node.value == "1":
            return 1
        line = self.lines[field]
        if kind == "a number" and re.fullmatch("[1-9][0-9]*", node.value):
            self.errors.clear()  # what else looks wrong may be right in that version
            message = f"{field}: {shown(node, kind)}, made for a newer cai; this one reads 1"
            self.fail(line, message, "Upgrade: pip install --upgrade constitutional-ai")
            raise self.error()
        message = f"{field}: {shown(node, kind)}, and should be the number 1"
        return self.fail(line, message, "Write `version: 1`, without quotes.") if kind else BAD

    def verdict(self, node: yaml.Node, field: str) -> Any:
        kind = self.visit(node, field)
        if kind == "text" and node.value in VERDICTS:
            return node.value
        near = nearest(node.value.lower(), VERDICTS) if kind == "text" else None
        hint = (f"Did you mean `{near}`? " if near else "") + "Write `violates` or `fine`."
        message = f"{field}: {shown(node, kind)}, and should be `violates` or `fine`"
        return self.fail(self.lines[field], message, hint) if kind else BAD
