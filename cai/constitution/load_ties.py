"""What ties the fields of a constitution to each other, once they are read: `check_ties`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from cai.constitution.load_check import check_rules
from cai.constitution.yaml_file import BAD, YamlReader, nearest, short

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
# A run is written to outputs/<name>: no path, and at most 240 bytes of UTF-8.
_NAME = re.compile(r"\w[\w .+-]{0,59}")


def check_ties(reader: YamlReader, data: dict[str, Any]) -> None:
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
        check_rules(reader, principle.get("check"), f"{field}.check")
        for i, case in enumerate(principle.get("examples", ())):
            _check_case(reader, case, f"{field}.examples[{i}]")
    cases = data.get("few_shot", [])
    for i, case in enumerate(cases):
        _check_case(reader, case, f"few_shot[{i}]")
        _check_few_shot(reader, case, f"few_shot[{i}]", principles.values())
    if cases and all(c is not BAD and c["verdict"] == "violates" for c in cases):
        hint = "Add a case with `verdict: fine`, or a model learns to find fault in everything."
        reader.fail(reader.lines["few_shot"], "few_shot: no case is fine", hint)
    _check_conflicts(reader, data.get("conflicts", []), principles.values())


def _check_ids(reader: YamlReader, principles: dict[str, dict[str, Any]]) -> None:
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


def _check_stages(reader: YamlReader, principle: dict[str, Any], field: str) -> None:
    """A principle revises (`critique` with `revise`), compares, is a rule, or several of them."""
    line = reader.lines[field]
    if "check" in principle and "critique" not in principle:
        return  # of a rule the finding is the critique; `revise` may say how to mend it
    for has, lacks in (("critique", "revise"), ("revise", "critique")):
        if has in principle and lacks not in principle:
            message = f"{field}.{lacks}: is missing; {has} is of no use without it"
            hint = f"Add `{lacks}: …`, or remove `{has}` and leave `compare`."
            reader.fail(reader.lines[f"{field}.{has}"], message, hint)
    if not {"critique", "revise", "compare"} & set(principle):
        message = f"{field}: has neither critique and revise nor compare nor check"
        hint = "Add `critique` and `revise`, or `compare`, or all three; or a `check`."
        reader.fail(line, message, hint)


def _check_case(reader: YamlReader, case: Any, field: str) -> None:
    if case is not BAD and case["verdict"] == "fine" and "revision" in case:
        hint = "Remove the revision, or write `verdict: violates` if something was wrong."
        message = f"{field}.revision: a case that is fine has no revision"
        reader.fail(reader.lines[f"{field}.revision"], message, hint)


def _check_few_shot(reader: YamlReader, case: Any, field: str, principles: Iterable[Any]) -> None:
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
    near = nearest(name, usable)
    hint = f"Did you mean `{near}`? " if near else ""
    hint += f"Name one of: {', '.join(usable[:20]) or 'none has both yet'}."
    reason = "has no critique and revise" if name in ids else "is not the id of a principle"
    message = f"{field}.principle: {short(name)} {reason}"
    reader.fail(reader.lines[f"{field}.principle"], message, hint)


def _check_conflicts(
    reader: YamlReader, conflicts: Iterable[Any], principles: Iterable[Any]
) -> None:
    ids = [p["id"] for p in principles]
    for i, conflict in enumerate(conflicts):
        if conflict is BAD or conflict["between"] is BAD:
            continue
        field, names = f"conflicts[{i}].between", conflict["between"]
        line = reader.lines[field]
        if len(names) != 2:
            if not any(e.message.startswith(f"{field}:") for e in reader.errors):
                message = f"{field}: names {len(names)} principles, and should name two"
                reader.fail(line, message, "Write `between: [one-id, other-id]`.")
            continue
        if names[0] == names[1] and names[0] is not BAD:
            message = f"{field}: names {short(names[0])} twice"
            reader.fail(line, message, "Name two principles; none conflicts with itself.")
        for name in dict.fromkeys(names):
            if name is not BAD and BAD not in ids and name not in ids:
                near = nearest(name, ids)
                hint = f"Did you mean `{near}`? " if near else ""
                hint += f"Name two of: {', '.join(ids[:20])}."
                reader.fail(line, f"{field}: {short(name)} is not the id of a principle", hint)


def slug(name: str, default: str) -> str:
    """An id that is made of a name; the default where a letter of it could not be kept."""
    folded = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    if any(c.isalnum() and not c.isascii() for c in plain):
        return default
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or default
