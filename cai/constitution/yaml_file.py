"""A YAML file as nodes that know their lines; nothing in it is ever constructed into an object."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cai.errors import InputError

# The shipped constitutions have 15 to 34 kB; PyYAML needs two to three seconds for 4 MB.
MAX_BYTES = 4_000_000
# PyYAML composes by recursion, so depth has to end before Python's stack does.
MAX_DEPTH = 50
MAX_ERRORS = 10

YAML_TAG = "tag:yaml.org,2002:"
_KINDS = {
    **dict.fromkeys(("str", "value", "merge"), "text"),  # `=` and `<<` are text as values
    **dict.fromkeys(("int", "float"), "a number"),
    "bool": "a boolean",
    "timestamp": "a date",
    "null": "empty",
}
BAD_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
BAD: Any = object()  # present but wrong: reported once, and no reason for further errors

_HINTS = {
    r"'\t'": "Indent with spaces; YAML takes no tabs there.",
    "mapping values are not allowed": "Text that holds `: ` needs quotes, or `>-` and a new line.",
    "another document": "One file holds one document: remove the `---` that begins the second.",
    "alias": "Write the text out where the `*name` stands.",
    "anchor": "Write the text out and remove the `&name`.",
    "escape": "In double quotes a backslash begins an escape; use single quotes or `>-`.",
    "nested": "No field of this file is nested that deep; look for a stray [ or {.",
}
_HINT = "Check the indentation, quotes and colons of this line and of the one before."


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with a limit on nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth >= MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} levels deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, also for texts with other line breaks than a newline."""


def _written(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Outside of double quotes these read as spaces, or as more of them than there were.
    style = '"' if _OTHER_BREAKS.search(text) else None
    return dumper.represent_scalar(f"{YAML_TAG}str", text, style=style)


_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")
_Dumper.add_representer(str, _written)


def dumped(value: Any, width: int = 80) -> str:
    """Plain data as YAML whose texts read as they were; keys stay in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
    return text


def compose(path: Path) -> yaml.Node:
    """The root node of a YAML file of one document, in UTF-8 with or without a BOM.

    Aliases are not expanded: an aliased node is one object in many places, perhaps inside itself.

    Raises:
        InputError: The file cannot be read, is empty or is not YAML.
    """
    text = read_text(path)
    line = 1
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            line = loader.line + 1
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"holds the character U+{error.character:04X}, which YAML does not allow"
        raise InputError(f"{path}:{line}", message, "Remove it; text is UTF-8 here.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "cannot be parsed"
        hint = next(
            (h for sign, h in _HINTS.items() if sign in f"{error.context} {problem}"), _HINT
        )
        where = f"{path}:{mark.line + 1 if mark else line}"
        raise InputError(where, f"not valid YAML: {problem}", hint) from None
    except (ValueError, OverflowError):  # PyYAML's chr() of "\UFFFFFFFF", its int() of a version
        hint = "An escape such as \\U0001F600 ends at 10FFFF; write the character itself."
        raise InputError(f"{path}:{line}", "not valid YAML: a number out of range", hint) from None
    if node is None:
        raise InputError(
            f"{path}:1", "the file is empty", "See docs/constitution.md for an example."
        )
    return node


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a BOM.

    Raises:
        InputError: It cannot be read, is too large or is not UTF-8.
    """
    return _decode(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise InputError(str(path), "is a folder", "Name the YAML file in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), f"cannot be read: {reason}", "Check the path.") from None
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1_000_000} MB"
        raise InputError(f"{path}:1", message, "Is it the right file? Split it if so.")
    return data


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte 0x{data[error.start]:02x})"
        hint = "Save the file as UTF-8; most editors offer that under `Save with encoding`."
        raise InputError(f"{path}:{line}", message, hint) from None


class _Error(NamedTuple):
    line: int
    message: str
    hint: str


class YamlReader:
    """A file while it is read: the line of each field and what is wrong so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[_Error] = []
        self.lines: dict[str, int] = {}
        self.size = 0

    def fail(self, line: int, message: str, hint: str) -> Any:
        self.errors.append(_Error(line, message, hint))
        if len(self.errors) == MAX_ERRORS:
            raise self.error()
        return BAD

    def error(self) -> InputError:
        """All errors so far as one; where there are several, each hint names its line."""
        first, *rest = errors = sorted(self.errors, key=lambda e: e.line)
        message = "\n".join([first.message, *(f"{self.path}:{e.line}: {e.message}" for e in rest)])
        hint = "\n".join(f"Line {e.line}: {e.hint}" for e in errors) if rest else first.hint
        if len(errors) == MAX_ERRORS:
            hint += f"\nReading stopped at {MAX_ERRORS} errors."
        return InputError(f"{self.path}:{first.line}", message, hint)

    def visit(self, node: yaml.Node, field: str) -> str:
        """Notes the line of a field and says what its value is; '' if its tag is foreign.

        The line of a key that was noted before stays: a list below a key begins a line later.
        """
        line = self.lines.setdefault(field, node.start_mark.line + 1)
        self.size += len(node.value) + 1 if isinstance(node, yaml.ScalarNode) else 1
        if self.size > MAX_BYTES:
            message = f"{field}: aliases (`*name`) make the file larger than {MAX_BYTES:,} bytes"
            self.fail(line, message, "Write the text out instead of repeating it by alias.")
            raise self.error()
        tag = node.tag.removeprefix(YAML_TAG)
        if isinstance(node, yaml.ScalarNode) and tag in _KINDS:
            return _KINDS[tag]
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return "a list"
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return "a mapping"
        message = f"{field or 'the file'}: the tag {short(node.tag)} is not allowed"
        self.fail(line, message, "Remove the tag; a constitution holds text, numbers and lists.")
        return ""

    def items(self, node: yaml.Node, field: str, item: str) -> list[yaml.Node]:
        kind = self.visit(node, field)
        if kind == "a list":
            items: list[yaml.Node] = node.value
            return items
        if kind:
            shown = short(node.value) if kind == "text" else "…"
            hint = f"Write a list with {item} after each dash" if item != "a word" else ""
            message = f"{field}: is {kind}, and should be a list"
            self.fail(self.lines[field], message, f"{hint or f'Write `[{shown}]`'}.")
        return []

    def text(self, node: yaml.Node, field: str) -> Any:
        kind = self.visit(node, field)
        line = self.lines[field]
        if kind in ("a list", "a mapping"):
            hint = "Put it in quotes, or on indented lines below `>-`."
            return self.fail(line, f"{field}: is {kind}, and should be text", hint)
        if not kind:
            return BAD
        # JSON escapes a character such as an emoji as two halves, which PyYAML does not join.
        text: str = _SURROGATE_PAIR.sub(_joined, node.value)
        if not text.strip():
            return self.fail(line, f"{field}: is empty", "Write the text, or remove the key.")
        if kind != "text":
            name = "null" if kind == "empty" else kind
            message = f"{field}: {short(text)} is {name} in YAML: put quotes around it"
            return self.fail(line, message, f'Write "{short(text)}" in quotes if it is the text.')
        if bad := BAD_CHARACTERS.search(text):
            message = f"{field}: holds U+{ord(bad[0]):04X}, which is no character of a text"
            return self.fail(line, message, "Remove the escape, or write the character itself.")
        return text


def short(text: str) -> str:
    return text if len(text) <= 40 and text.isprintable() and text else repr(text[:40])


def join(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


def shown(node: yaml.Node, kind: str) -> str:
    """What a value is, for a message: `is 'abc'`, `is a list`."""
    return f"is {kind}" if kind in ("a list", "a mapping") else f"is {short(node.value)} ({kind})"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, if any comes near."""
    return next(iter(difflib.get_close_matches(word[:80], list(names), 1, 0.6)), None)


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")
