"""Principles of other tools, and plain lists of rules, as a constitution in our format."""

from __future__ import annotations

import json
import re
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cai.constitution.load import load
from cai.constitution.load_ties import slug
from cai.constitution.yaml_file import BAD_CHARACTERS, compose, dumped, read_text, short
from cai.errors import CaiError, InputError

FORMATS = (
    "Forms that can be read: principles of LangChain (`critique_request`, `revision_request`) as "
    "YAML or JSON; those of llm-swarm (`critic`, `revision`) as JSON; a list of sentences as YAML "
    "or JSON, or in a .txt file, one a line."
)
# The keys of a critique request and of a revision request, by tool.
_REQUESTS = (("critique_request", "revision_request"), ("critic", "revision"))
_MARK = re.compile(r"(?:[-*•]|\d{1,3}[.)])\s+")


class Imported(NamedTuple):
    """The text of a constitution, how many principles it has, and what its author should know."""

    text: str
    principles: int
    notes: list[str]


def import_constitution(path: Path) -> Imported:
    """Principles of another tool, or a list of rules, as the text of a constitution.

    A critique request and a revision request are taken as they are. A plain sentence becomes a
    rule that all three stages are asked about. What is there twice is taken once.

    Raises:
        InputError: The file is in no form that is known, or an entry of it is not.
    """
    entries, notes = _entries(path)
    principles: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], str] = {}
    ids: set[str] = set()
    twice = 0
    for number, entry in enumerate(entries, 1):
        name, fields = _principle(entry, f"{path}: entry {number}")
        key = tuple(" ".join(re.findall(r"\w+", text.casefold())) for text in fields.values())
        if key in seen:
            twice += 1
            continue
        unique = _unique(slug(name, f"principle-{number}"), ids)
        ids.add(unique)
        seen[key] = unique
        principles.append({"id": unique, "name": name, **fields})
    if not principles:
        raise InputError(str(path), "there is no principle in it", FORMATS)
    if twice:
        notes.append(f"{twice} entries say the same as an earlier one and were left out.")
    if not any("compare" in principle for principle in principles):
        notes.append(
            "No principle has `compare`, so no pair of answers is judged by it: add some, or run "
            "cai generate --stages sft."
        )
    text = _text(path, principles)
    _check(text, path)
    return Imported(text, len(principles), notes)


def _entries(path: Path) -> tuple[list[Any], list[str]]:
    """The principles of a file as they stand there, and notes on what is left."""
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _sentences(path), []
    if suffix == ".json":
        data = _json(path)
    elif suffix in (".yaml", ".yml"):
        data = _yaml(path)
    else:
        raise InputError(str(path), "the name does not end in .yaml, .json or .txt", FORMATS)
    if isinstance(data, dict) and {"principles", "version"} <= data.keys():
        hint = f"Use it as it is: cai constitution lint {path}"
        raise InputError(str(path), "a constitution already", hint)
    notes: list[str] = []
    if isinstance(data, dict) and "constitutions" in data:  # llm-swarm
        others = [key for key in data if key != "constitutions"]
        if others:
            names = ", ".join(short(str(key)) for key in others)
            notes.append(f"Not taken over: {names}. Worked cases are `few_shot` in a constitution.")
        data = data["constitutions"]
    if isinstance(data, dict) and any(_requests(data)):
        data = [data]
    elif isinstance(data, dict) and all(isinstance(value, dict) for value in data.values()):
        data = [{"name": key, **value} for key, value in data.items()]
    if not isinstance(data, list):
        raise InputError(str(path), "not a list of principles", FORMATS)
    return data, notes


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        hint = f"Mend the file at this line. {FORMATS}"
        raise InputError(f"{path}:{error.lineno}", f"not JSON: {error.msg}", hint) from None
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), f"not JSON that can be read: {error}", FORMATS) from None


def _yaml(path: Path) -> Any:
    node = compose(path)
    try:
        return yaml.SafeLoader("").construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        message = f"not YAML that can be read: {str(error).splitlines()[0]}"
        raise InputError(str(path), message, FORMATS) from None


def _sentences(path: Path) -> list[Any]:
    """The lines of a text file, without the marks of a list; `#` begins a remark."""
    sentences: list[Any] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = _MARK.sub("", line.strip(), count=1)
        if not text or line.lstrip().startswith("#"):
            continue
        if text[0] in "{[<" or not _is_sentence(text):
            message = f"{short(text)} is no sentence"
            raise InputError(f"{path}:{number}", message, f"Write a rule a line. {FORMATS}")
        sentences.append(text)
    return sentences


def _is_sentence(text: str) -> bool:
    """Whether a text may be a rule: three words, or a script that puts no space between them."""
    return len(text.split()) > 2 or (not text.isascii() and len(text) > 2)


def _requests(entry: Mapping[Any, Any]) -> tuple[str, ...]:
    return next((keys for keys in _REQUESTS if any(key in entry for key in keys)), ())


def _principle(entry: Any, where: str) -> tuple[str, dict[str, str]]:
    """A name, from which an id is made, and the fields of a principle."""
    if isinstance(entry, str):
        rule = _worded(entry, where)
        if not _is_sentence(rule):
            raise InputError(where, f"{short(rule)} is no sentence", FORMATS)
        return " ".join(rule.split()[:5]), {
            "critique": f"Where, if anywhere, does your last answer break this rule? {rule}",
            "revise": f"Write your last answer again so that it follows this rule: {rule}",
            "compare": f"Which answer keeps better to this rule: {rule}",
        }
    keys = _requests(entry) if isinstance(entry, dict) else ()
    if not keys:
        kind = "a list" if isinstance(entry, list) else "in another form"
        raise InputError(where, f"the entry is {kind}", FORMATS)
    missing = [key for key in keys if key not in entry]
    if missing:
        raise InputError(where, f"{missing[0]} is missing", f"Add it. {FORMATS}")
    others = [str(key) for key in entry if key not in (*keys, "name")]
    if others:
        message = f"{short(others[0])} would be lost"
        hint = "Take it out: a principle is a name and two requests. Cases are `few_shot`."
        raise InputError(where, message, f"{hint} {FORMATS}")
    critique, revise = (_worded(entry[key], f"{where}: {key}") for key in keys)
    name = entry.get("name") or " ".join(critique.split()[:5])
    return str(name), {"critique": critique, "revise": revise}


def _worded(value: Any, where: str) -> str:
    """A text as it stands; a list of texts is a few-shot form, which has no place here."""
    if isinstance(value, list | dict):
        message = "several texts or cases, and should be one request"
        hint = f"Give one text; worked cases are `few_shot` in a constitution. {FORMATS}"
        raise InputError(where, message, hint)
    if not isinstance(value, str) or not value.strip():
        raise InputError(where, f"must be a text, not {value!r:.40}", FORMATS)
    if bad := BAD_CHARACTERS.search(value):
        message = f"holds U+{ord(bad[0]):04X}, which is no character of a text"
        raise InputError(where, message, "Remove it.")
    return value.strip()


def _unique(name: str, names: set[str]) -> str:
    number, unique = 1, name
    while unique in names:
        number += 1
        unique = f"{name}-{number}"
    return unique


def _text(path: Path, principles: list[dict[str, str]]) -> str:
    name = re.sub(r"[^\w .+-]+", "-", path.stem).strip(" .+-")[:60] or "imported"
    head = {"name": name, "version": 1, "description": f"Imported from {path.name}."}
    if BAD_CHARACTERS.search(path.name):
        del head["description"]
    parts = [dumped(head, 92), "principles:\n"]
    for principle in principles:
        fields = {key: value for key, value in principle.items() if key != "name"}
        if slug(principle["name"], "") == "":  # the id does not tell it
            remark = " ".join(principle["name"].split())
            if not BAD_CHARACTERS.search(remark):
                parts.append(f"  # {remark}\n")
        parts.append(textwrap.indent(dumped([fields], 92), "  "))
    return "".join(parts)


def _check(text: str, path: Path) -> None:
    """Raise `CaiError` unless the text is a constitution that can be loaded."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constitution.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load(file)
        except InputError as error:
            message = error.message.replace(str(file), "the constitution")
            raise CaiError(f"{path}: {message}", error.hint) from None
