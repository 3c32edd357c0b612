"""The digests of an audit, and whether the files still have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cai.errors import CaiError
from cai.files import JOURNAL, file_digest
from cai.publish.audit.canonical import SAFE, canonical

AUDIT, ROWS, MARKDOWN, BOM = "audit.json", "rows.jsonl", "audit.md", "bom.json"
# They change while the data stays: the journal when it is read, the others by what comes after.
_LATER = {"pushes.jsonl", "exports.jsonl"}
_PASSING = {"checkpoints", "__pycache__"}


def files_of(folder: Path, without: Path | None = None) -> dict[str, str]:
    """SHA-256 of each file of a run or a model by its path inside, in order.

    Args:
        folder: The folder, or a file alone.
        without: A folder inside that does not count: the audit's own.
    """
    if folder.is_file():
        return {folder.name: file_digest(folder)}
    paths = sorted(_inside(folder, without), key=lambda path: path.relative_to(folder).as_posix())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def _inside(folder: Path, without: Path | None) -> Iterator[Path]:
    own = without.resolve() if without is not None else None
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        passing = any(part.startswith(".") or part in _PASSING for part in parts)
        later = path.name.startswith(JOURNAL) or path.name in _LATER
        inside = own is not None and own != folder.resolve() and path.resolve().is_relative_to(own)
        if path.is_file() and not passing and not later and not inside:
            yield path


class Changes(NamedTuple):
    """What is not as an audit says, by name.

    Attributes:
        changed: Files with another digest.
        missing: Files that are gone.
        new: Files that the audit does not name.
        files: How many files are as it says.
    """

    changed: list[str]
    missing: list[str]
    new: list[str]
    files: int

    @property
    def any(self) -> bool:
        return bool(self.changed or self.missing or self.new)


def read_audit(out: Path) -> dict[str, Any]:
    """The document of an audit.

    Raises:
        CaiError: It is not there, damaged, or not as canonical JSON writes it.
    """
    path = out / AUDIT
    try:
        text = path.read_bytes()
        document: dict[str, Any] = json.loads(text, parse_int=_number)
        whole = canonical(document) == text and document["version"] == 1
    except OSError as error:
        hint = "Write it first: cai audit SOURCE --out DIR"
        raise CaiError(f"{path}: {error.strerror or error}", hint) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise CaiError(f"{path}: damaged, or edited by hand", "Write the audit again.")
    return document


def _number(digits: str) -> int | float:
    """A number without a point, which is a float where an integer would not be exact."""
    return int(digits) if abs(int(digits)) <= SAFE else float(digits)


def changes_since(sources: Mapping[str, Path], out: Path) -> Changes:
    """What is not as an audit says: its own documents, and the files of what it is of.

    Args:
        sources: The folders by the name that the audit has for them.
        out: The folder of the audit.

    Raises:
        CaiError: The audit is damaged, or of something else.
    """
    document = read_audit(out)
    names = {part["name"] for part in document["parts"]}
    if names != set(sources):
        words = f"is of {', '.join(sorted(names))}, and here is {', '.join(sorted(sources))}"
        raise CaiError(f"{out / AUDIT}: {words}", "Give what the audit was written of.")
    expected = {f"{out.name}/{name}": sha for name, sha in document["documents"].items()}
    there = {
        f"{out.name}/{name}": file_digest(out / name)
        for name in document["documents"]
        if (out / name).is_file()
    }
    for part in document["parts"]:
        name = part["name"]
        expected |= {f"{name}/{path}": sha for path, sha in part["files"].items()}
        own = files_of(sources[name], out)
        there |= {f"{name}/{path}": sha for path, sha in own.items()}
    both = expected.keys() & there.keys()
    changed = sorted(name for name in both if expected[name] != there[name])
    return Changes(
        changed=changed,
        missing=sorted(expected.keys() - there.keys()),
        new=sorted(there.keys() - expected.keys()),
        files=len(both) - len(changed),
    )
