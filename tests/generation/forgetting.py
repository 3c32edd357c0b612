"""A run with a secret in one prompt, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cai.dataset.traces import rows_of
from tests.report.helpers import inflated

SECRET = 'Ännchen Überall <lives> at Sesame Lane 7 & "sings"'
RULES: dict[str, Any] = {
    "name": "rules",
    "version": 1,
    "principles": [
        {
            "id": f"p{n}",
            "critique": f"Criticise by {n}.",
            "revise": f"Revise by {n}.",
            "compare": f"Which is better by {n}?",
        }
        for n in range(4)
    ],
}
FILES = [
    f"{dataset}/{split}.parquet"
    for dataset in ("sft", "preferences", "traces")
    for split in ("train", "test")
]


def write_prompts(path: Path, n: int = 40) -> None:
    rows = [
        {"id": f"q{i}", "prompt": f"Question {i}, what to do?", "kind": "borderline", "source": "a"}
        for i in range(n)
    ]
    rows[7] |= {"prompt": f"Tell me of {SECRET}, please.", "source": "b"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def calls_made(tmp_path: Path) -> int:
    log = tmp_path / "calls.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: list(rows_of(folder / name)) for name in FILES}


def without(data: dict[str, list[dict[str, Any]]], name: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of all prompts but one."""
    return {
        file: [row for row in some if row["id"].partition("#")[0] != name]
        for file, some in data.items()
    }


def texts(folder: Path) -> Iterator[tuple[Path, str]]:
    """All that stands in the files of a folder: bytes as text, Parquet and pages decoded."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes().decode("utf-8", "replace")
            if path.suffix == ".parquet":
                yield path, json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False)
            if path.suffix == ".html":
                yield from ((path, part) for part in inflated(path.read_text()).values())


def holding(folder: Path, words: str = SECRET) -> set[str]:
    """The files in which a text, or a part of it, stands: as it is or as JSON and HTML write it."""
    parts = [words, json.dumps(words)[1:-1], "Sesame Lane 7", "Ännchen", "\\u00c4nnchen"]
    return {
        str(path.relative_to(folder))
        for path, text in texts(folder)
        if any(part in text for part in parts)
    }
