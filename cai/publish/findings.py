"""Personal data, keys and harmful texts in what is about to be sent."""

from __future__ import annotations

import base64
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from cai.files import JOURNAL
from cai.personal import PersonalKind, personal_spans
from cai.publish.content import Content
from cai.publish.rows import prompt_of

KEY: PersonalKind = "API key"
_BATCH = 500
_BLOCK = re.compile(r'<script type="application/octet-stream"[^>]*>([^<]+)</script>')
# Files in which people's texts stand; in the others digits are digests and counts.
_TEXTS = ("constitution.yaml", "failures.jsonl")
_BINARY = (".parquet", ".safetensors", ".png", ".sqlite", ".model")


class Finding(NamedTuple):
    """What stands where.

    Attributes:
        file: Its name in the repository.
        place: The row's id with its column, or the line.
        kind: What it is; the text itself is not repeated.
        prompt: The prompt whose rows would have to be left out; None: no row.
    """

    file: str
    place: str
    kind: PersonalKind
    prompt: str | None = None

    @property
    def words(self) -> str:
        return f"{self.file}, {self.place}: {self.kind}"


def findings(content: Content, region: str | None = None) -> Iterator[Finding]:
    """All keys in all files, and personal data in rows, constitution and failures.

    Args:
        content: What is about to be sent.
        region: A country whose phone numbers are found in national form too.
    """
    for name, path in content.files.items():
        if path.suffix == ".parquet":
            yield from _in_rows(name, path, region)
        elif path.name == JOURNAL:
            yield from _in_journal(name, path)
        elif path.suffix == ".html":
            yield from _in_page(name, path, region)
        elif path.suffix not in _BINARY:
            yield from _in_lines(name, path)


def _in_rows(name: str, path: Path, region: str | None) -> Iterator[Finding]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            for row in batch.to_pylist():
                for column, value in row.items():
                    spans = (personal_spans(text, region) for text in _strings(value))
                    kinds = {span.kind for found in spans for span in found}
                    for kind in sorted(kinds):
                        place = f"row {row['id']}, {column}"
                        yield Finding(name, place, kind, prompt_of(row["id"]))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _in_lines(name: str, path: Path) -> Iterator[Finding]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            for kind in sorted({span.kind for span in personal_spans(line)}):
                if kind == KEY or path.name in _TEXTS:
                    yield Finding(name, f"line {number}", kind)


def _in_page(name: str, path: Path, region: str | None) -> Iterator[Finding]:
    """A page with its blocks of rows, which are deflated and in base64."""
    page = path.read_text(encoding="utf-8", errors="replace")
    found: Counter[PersonalKind] = Counter()
    for block in _BLOCK.findall(page):
        text = zlib.decompress(base64.b64decode(block), -15).decode("utf-8", "replace")
        found.update(span.kind for row in text.split("\n") for span in personal_spans(row, region))
    rest = {span.kind for line in page.split("\n") for span in personal_spans(line)}
    found[KEY] += KEY in rest
    for kind, n in sorted((+found).items()):
        yield Finding(name, f"{n:,} places", kind)


def _in_journal(name: str, path: Path) -> Iterator[Finding]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
        tables = journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            found: Counter[PersonalKind] = Counter()
            for row in journal.execute(f'SELECT * FROM "{table}"'):
                texts = (value for value in row if isinstance(value, str))
                found.update({span.kind for text in texts for span in personal_spans(text)})
            for kind, n in sorted(found.items()):
                yield Finding(name, f"{n:,} entries of the table {table}", kind)


def harmful_rejected(content: Content) -> tuple[int, int]:
    """How many preferences come from prompts that may ask for harm, and how many there are."""
    risky = total = 0
    for name, path in content.files.items():
        if name.startswith("preferences/"):
            kinds = pq.read_table(path, columns=["prompt_kind"]).column("prompt_kind").to_pylist()
            total += len(kinds)
            risky += sum(kind not in ("helpful", "borderline") for kind in kinds)
    return risky, total
