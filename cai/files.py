"""The files that ship with the package, and how any file is digested, written and locked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cai.errors import CaiError

_PACKAGE = Path(__file__).parent
JOURNAL = "calls.sqlite"  # in the folder of a run, and of a check


def _shipped(in_wheel: str, in_checkout: str) -> Path:
    folder = _PACKAGE / "shipped" / in_wheel
    return folder if folder.is_dir() else _PACKAGE.parent / in_checkout


def constitutions_dir() -> Path:
    return _shipped("constitutions", "constitutions")


def seeds_dir() -> Path:
    return _shipped("seeds", "prompts/seeds")


def suites_dir() -> Path:
    """Prompts to evaluate a model by."""
    return _shipped("suites", "prompts/suites")


def pairs_file() -> Path:
    """Labelled pairs, to check a judge by."""
    return _shipped("pairs", "prompts/pairs") / "judge-check.jsonl"


def cases_file() -> Path:
    """Labelled answers, to check a critic by."""
    return _shipped("pairs", "prompts/pairs") / "critic-check.jsonl"


def templates_dir() -> Path:
    return _shipped("templates", "prompts/templates")


def cache_dir() -> Path:
    """The user's cache: `CAI_CACHE`, else `cai` under `XDG_CACHE_HOME` or `~/.cache`."""
    if "CAI_CACHE" in os.environ:
        return Path(os.environ["CAI_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cai"


def find_constitution(name: str) -> Path:
    """The file of that name: as a path from the working folder first, then among the shipped ones.

    Raises:
        CaiError: There is no such file; the hint lists the shipped ones.
    """
    shipped_as = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    for path in (Path(name), constitutions_dir() / shipped_as):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(p.name for p in constitutions_dir().glob("*.yaml")))
    raise CaiError(
        f"{name}: no such constitution", f"Give the path of a YAML file, or one of: {shipped}."
    )


def without_folders(name: str) -> str:
    """A path without the folders of somebody's machine; relative ones and other names as they are.

    What is about to leave the machine names no home and no mount.
    """
    return Path(name).name if re.match(r"/[^/]|~[\w]*/|\.\./", name) else name


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, would outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, final: Path) -> None:
    """Rename a synced file into place and sync its folder."""
    temporary.replace(final)
    sync(final.parent)


@contextmanager
def replacing(final: Path, *, shared: bool = False) -> Iterator[Any]:
    """A text file that takes the place of `final` when the block ends without an error.

    Of a `shared` file, as in the cache, several processes may write the same.
    """
    who = f".{os.getpid()}" if shared else ""
    temporary = final.with_name(f".{final.name}{who}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    publish(temporary, final)


class Lock:
    """One process per run folder; the system releases it when the process dies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / ".lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise CaiError(
                f"{folder}: another process (pid {owner}) is working in this folder",
                "Wait for it or stop it, or choose another --out.",
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines up to one that was half written when a process died."""
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
