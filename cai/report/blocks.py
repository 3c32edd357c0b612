"""The rows of a page as compressed blocks, and which of them a page has room for.

A block is up to 200 rows, a JSON object a line, compressed by deflate and written in base64 into
an element that a browser does not run. A browser inflates a block when one of its rows is shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

ROWS, BYTES = 200, 2_000_000  # of a block, before compression
LIMIT = 80_000_000  # bytes of a page's blocks
CLASSES = ("failed", "gate", "rest")  # whose rows go first where there is no room for all
_SAFETY = 0.97  # the size of a row is known by the mean of all


def encoded(value: Any) -> bytes:
    """JSON in UTF-8; half of a surrogate pair stays an escape, as UTF-8 cannot hold it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "backslashreplace")


def packed(data: bytes) -> str:
    """Bytes as they stand in a page: raw deflate, then base64."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(data) + deflate.flush()).decode()


def unpacked(text: str) -> bytes:
    """The bytes that `packed` took.

    Raises:
        ValueError: It is no such text.
    """
    try:
        return zlib.decompress(base64.b64decode(text), -15)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def element(name: str, content: str) -> str:
    return f'<script type="application/octet-stream" id="{name}">{content}</script>\n'


@dataclass
class Blocks:
    """Blocks on their way into a file, which has room for `limit` bytes of them."""

    file: IO[str]
    limit: int = LIMIT
    starts: list[int] = field(default_factory=list)  # the first row of each block
    rows: int = 0
    raw: int = 0
    written: int = 0
    full: bool = False
    _lines: list[bytes] = field(default_factory=list)
    _bytes: int = 0

    def add(self, line: bytes) -> bool:
        """Take a row; False where there is no room for it."""
        if self.full:
            return False
        self._lines.append(line)
        self._bytes += len(line)
        self.rows += 1
        if len(self._lines) >= ROWS or self._bytes >= BYTES:
            self.flush()
        return True

    def flush(self) -> None:
        if not self._lines:
            return
        text = element(f"b{len(self.starts)}", packed(b"\n".join(self._lines)))
        self.starts.append(self.rows - len(self._lines))
        self.file.write(text)
        self.raw += self._bytes
        self.written += len(text)
        self.full = self.written >= self.limit
        self._lines, self._bytes = [], 0


@dataclass
class Sizes:
    """How many rows of each class there are, and their bytes before compression."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    raw: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))

    def add(self, name: str, size: int) -> None:
        self.rows[name] += 1
        self.raw[name] += size

    def shares(self, limit: int, ratio: float) -> dict[str, float]:
        """Which share of each class has room: all that failed first, then gates, then the rest.

        Args:
            limit: Bytes of blocks.
            ratio: Bytes of a block for a byte of its rows.
        """
        left, shares = limit * _SAFETY, {}
        for name in CLASSES:
            size = self.raw[name] * ratio
            shares[name] = 1.0 if size <= left else max(left, 0.0) / size
            left -= size * shares[name]
        return shares


def drawn(row_id: str, share: float) -> bool:
    """Whether a row is in a sample of this share: a hash of its id, so the same every time."""
    if share >= 1:
        return True
    number = int.from_bytes(
        hashlib.sha256(f"page {row_id}".encode("utf-8", "replace")).digest()[:7], "big"
    )
    return number / 2**56 < share


class Columns:
    """Columns of names, each name once: a row holds its number, or a list of numbers."""

    def __init__(self, names: Iterable[str], lists: Iterable[str]) -> None:
        self._numbers: dict[str, dict[str, int]] = {name: {} for name in (*names, *lists)}
        self._cells: dict[str, list[Any]] = {name: [] for name in self._numbers}
        self._lists = frozenset(lists)

    def add(self, values: Mapping[str, Any]) -> None:
        for name, cells in self._cells.items():
            value = values[name]
            if name in self._lists:
                cells.append([self._number(name, one) for one in value])
            else:
                cells.append(self._number(name, value))

    def _number(self, name: str, value: str) -> int:
        numbers = self._numbers[name]
        return numbers.setdefault(value, len(numbers))

    def as_data(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"names": list(self._numbers[name]), "rows": cells}
            for name, cells in self._cells.items()
        }
