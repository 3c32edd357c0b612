"""Digests of large files, remembered while the files stay as they are."""

from __future__ import annotations

from pathlib import Path

from cai import files
from cai.records import digest


def remembered_digest(path: Path) -> str:
    """SHA-256 of a file in hex, remembered under (real path, size, time of change)."""
    real = path.resolve()
    stat = real.stat()
    key = digest([str(real), stat.st_size, stat.st_mtime_ns])
    entry = files.cache_dir() / "digests" / key
    if entry.is_file() and len(text := entry.read_text("ascii")) == 64:
        return text
    value = files.file_digest(real)
    entry.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(entry, shared=True) as file:
        file.write(value)
    return value
