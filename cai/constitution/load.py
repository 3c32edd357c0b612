"""The constitution file: YAML in, a `Constitution` out, or errors with the line and a remedy.

`_Reader` turns nodes into plain data, field by field; `_check` holds what ties fields to each
other. The records are made only when nothing is wrong.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from cai.constitution.records import Case, Constitution, FewShot, Principle
from cai.constitution.yaml_file import BAD, YAML_TAG, YamlReader, compose, short
from cai.errors import InputError
from cai.files import constitutions_dir

TOP, PRINCIPLE, EXAMPLE, FEW_SHOT = "the top level", "a principle", "an example", "a few_shot case"
FIELDS = {
    TOP: tuple(Constitution.model_fields),
    PRINCIPLE: tuple(Principle.model_fields),
    EXAMPLE: tuple(Case.model_fields),
    FEW_SHOT: tuple(FewShot.model_fields),
}
REQUIRED = {
    TOP: ("name", "version", "principles"),
    PRINCIPLE: ("id",),
    EXAMPLE: ("prompt", "response", "verdict"),
    FEW_SHOT: ("principle", "prompt", "response", "critique", "verdict"),
}
LISTS = {"principles": PRINCIPLE, "examples": EXAMPLE, "few_shot": FEW_SHOT}
VERDICTS = ("violates", "fine")

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
# A run is written to outputs/<name>: no path, and at most 240 bytes of UTF-8.
_NAME = re.compile(r"\w[\w .+-]{0,59}")


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
        _check(reader, data)
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
                data[key] = self.value(key, value, _join(field, key))
        for key in REQUIRED[place]:
            if key not in data:
                hint = f"Add `{key}: …`; {place} needs {', '.join(REQUIRED[place])}."
                data[key] = self.fail(line, f"{_join(field, key)}: is missing", hint)
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
                    f"{_join(field, key)}: is given twice, on lines {entries[key][0]} and {line}"
                )
                self.fail(line, message, "Keep one of them.")
            elif key in FIELDS[place]:
                entries[key] = (line, value)
            elif near := self.unknown(key, line, field, place):
                guesses[near] = (line, value)
        fields = guesses | entries
        self.lines.update({_join(field, key): line for key, (line, _) in fields.items()})
        return {key: value for key, (_, value) in fields.items()}

    def unknown(self, key: str, line: int, field: str, place: str) -> str | None:
        """Reports a key that does not belong here; returns the one that was probably meant."""
        near = _nearest(re.sub(r"[- ]", "_", key.lower()), FIELDS[place])
        homes = [p for p in FIELDS if key in FIELDS[p]]
        message = f"is a key of {' or '.join(homes)}, not of {place}" if homes else "is unknown"
        hint = f"Did you mean `{near}`? " if near else ""
        hint += f"The keys of {place} are {', '.join(FIELDS[place])}."
        self.fail(line, f"{_join(field, short(key))}: {message}", hint)
        return None if homes else near

    def value(self, key: str, node: yaml.Node, field: str) -> Any:
        if key in LISTS:
            place = LISTS[key]
            items = self.items(node, field, place)
            return [self.record(item, f"{field}[{i}]", place) for i, item in enumerate(items)]
        if key in ("tags", "applies_to"):
            items = self.items(node, field, "a word")
            return [self.text(item, f"{field}[{i}]") for i, item in enumerate(items)]
        readers = {"weight": self.weight, "version": self.version, "verdict": self.verdict}
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
        message = f"{field}: {_shown(node, kind)}, and should be a number greater than 0"
        hint = "Write `weight: 2` to draw a principle twice as often; remove it to never draw it."
        return self.fail(self.lines[field], message, hint) if kind else BAD

    def version(self, node: yaml.Node, field: str) -> Any:
        kind = self.visit(node, field)
        if kind == "a number" and node.value == "1":
            return 1
        line = self.lines[field]
        if kind == "a number" and re.fullmatch("[1-9][0-9]*", node.value):
            self.errors.clear()  # what else looks wrong may be right in that version
            message = f"{field}: {_shown(node, kind)}, made for a newer cai; this one reads 1"
            self.fail(line, message, "Upgrade: pip install --upgrade constitutional-ai")
            raise self.error()
        message = f"{field}: {_shown(node, kind)}, and should be the number 1"
        return self.fail(line, message, "Write `version: 1`, without quotes.") if kind else BAD

    def verdict(self, node: yaml.Node, field: str) -> Any:
        kind = self.visit(node, field)
        if kind == "text" and node.value in VERDICTS:
            return node.value
        near = _nearest(node.value.lower(), VERDICTS) if kind == "text" else None
        hint = (f"Did you mean `{near}`? " if near else "") + "Write `violates` or `fine`."
        message = f"{field}: {_shown(node, kind)}, and should be `violates` or `fine`"
        return self.fail(self.lines[field], message, hint) if kind else BAD


def _check(reader: _Reader, data: dict[str, Any]) -> None:
    """What ties the fields of a constitution to each other."""
    name = data["name"]
    if name is not BAD and not _NAME.fullmatch(name):
        message = (
            f"name: {short(name)} may only hold letters, digits, spaces and _ . + - (60 at most)"
        )
        other = re.sub(r"[^\w .+-]+", "-", name).strip(" .+-")[:60] or "my-constitution"
        hint = f"It names the run folder; write `name: {other}`."
        reader.fail(reader.lines["name"], message, hint)
    raw = data["principles"]
    if raw == [] and not any(e.message.startswith("principles:") for e in reader.errors):
        reader.fail(reader.lines["principles"], "principles: is empty", "Write at least one.")
    principles = {
        f"principles[{i}]": p for i, p in enumerate(raw if raw is not BAD else []) if p is not BAD
    }
    _check_ids(reader, principles)
    for field, principle in principles.items():
        _check_stages(reader, principle, field)
        for i, case in enumerate(principle.get("examples", ())):
            _check_case(reader, case, f"{field}.examples[{i}]")
    cases = data.get("few_shot", [])
    for i, case in enumerate(cases):
        _check_case(reader, case, f"few_shot[{i}]")
        _check_few_shot(reader, case, f"few_shot[{i}]", principles.values())
    if cases and all(c is not BAD and c["verdict"] == "violates" for c in cases):
        hint = "Add a case with `verdict: fine`, or a model learns to find fault in everything."
        reader.fail(reader.lines["few_shot"], "few_shot: no case is fine", hint)


def _check_ids(reader: _Reader, principles: dict[str, dict[str, Any]]) -> None:
    seen: dict[str, int] = {}
    for field, principle in principles.items():
        name, line = principle["id"], reader.lines.get(f"{field}.id", 0)
        if name is BAD:
            continue
        if not _ID.fullmatch(name):
            message = f"{field}.id: {short(name)} may only hold a-z, 0-9 and - (not first)"
            number = int(field.removeprefix("principles[").removesuffix("]")) + 1
            reader.fail(line, message, f"Write `id: {slug(name, f'principle-{number}')}`.")
        elif name in seen:
            message = f"{field}.id: {short(name)} is taken; it is on lines {seen[name]} and {line}"
            reader.fail(line, message, "Give one of the two principles another id.")
        seen.setdefault(name, line)


def _check_stages(reader: _Reader, principle: dict[str, Any], field: str) -> None:
    """A principle revises (`critique` with `revise`), compares, or does both."""
    line = reader.lines[field]
    for has, lacks in (("critique", "revise"), ("revise", "critique")):
        if has in principle and lacks not in principle:
            message = f"{field}.{lacks}: is missing; {has} is of no use without it"
            hint = f"Add `{lacks}: …`, or remove `{has}` and leave `compare`."
            reader.fail(reader.lines[f"{field}.{has}"], message, hint)
    if not {"critique", "revise", "compare"} & set(principle):
        message = f"{field}: has neither critique and revise nor compare"
        reader.fail(line, message, "Add `critique` and `revise`, or `compare`, or all three.")


def _check_case(reader: _Reader, case: Any, field: str) -> None:
    if case is not BAD and case["verdict"] == "fine" and "revision" in case:
        hint = "Remove the revision, or write `verdict: violates` if something was wrong."
        message = f"{field}.revision: a case that is fine has no revision"
        reader.fail(reader.lines[f"{field}.revision"], message, hint)


def _check_few_shot(reader: _Reader, case: Any, field: str, principles: Iterable[Any]) -> None:
    if case is BAD:
        return
    if case["verdict"] == "violates" and "revision" not in case:
        message = f"{field}.revision: is missing; a case that violates shows the repaired answer"
        hint = "Add `revision: …`, or write `verdict: fine` if nothing was wrong."
        reader.fail(reader.lines[field], message, hint)
    ids = {p["id"]: {"critique", "revise"} <= set(p) for p in principles}
    name = case["principle"]
    if name is BAD or BAD in ids or ids.get(name):
        return
    usable = [i for i, revises in ids.items() if revises]
    near = _nearest(name, usable)
    hint = f"Did you mean `{near}`? " if near else ""
    hint += f"Name one of: {', '.join(usable[:20]) or 'none has both yet'}."
    reason = "has no critique and revise" if name in ids else "is not the id of a principle"
    message = f"{field}.principle: {short(name)} {reason}"
    reader.fail(reader.lines[f"{field}.principle"], message, hint)


def slug(name: str, default: str) -> str:
    """An id that is made of a name; the default where a letter of it could not be kept."""
    folded = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    if any(c.isalnum() and not c.isascii() for c in plain):
        return default
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or default


def _join(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


def _nearest(word: str, names: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word[:80], list(names), 1, 0.6)), None)


def _shown(node: yaml.Node, kind: str) -> str:
    """What a value is, for a message: `is 'abc'`, `is a list`."""
    return f"is {kind}" if kind in ("a list", "a mapping") else f"is {short(node.value)} ({kind})"
