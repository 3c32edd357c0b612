"""Pages and what they hold, for the tests of the report."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.schema import TRACES

ELEMENT = re.compile(r'<script type="application/octet-stream" id="([a-z0-9]+)">([^<]*)</script>')
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<!-- <script> --> <img src=x onerror=alert(3)>",
    "[click](javascript:alert(4)) <a href='javascript:alert(5)'>x</a>",
    "\u202eright to left\u202c zero\u200bwidth \u2066isolate\u2069",
    "NUL \x00 and escape \x1b[31m",
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "long " * 40_000,
    "天気がいいから散歩しましょう",
]


def inflated(page: str) -> dict[str, str]:
    """The elements of a page, by name, as text."""
    return {
        name: zlib.decompress(base64.b64decode(text), -15).decode()
        for name, text in ELEMENT.findall(page)
    }


def index_of(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(inflated(path.read_text())["index"])
    return data


def rows_of(path: Path) -> list[dict[str, Any]]:
    parts = inflated(path.read_text())
    blocks = sorted((n for n in parts if n[0] == "b"), key=lambda name: int(name[1:]))
    return [json.loads(line) for name in blocks for line in parts[name].split("\n")]


def trace(number: int, text: str = "", **fields: Any) -> dict[str, Any]:
    """A whole trace with one revision and one labelled pair."""
    words = text or f"Answer number {number} with some words"
    row = {
        "id": f"row-{number}",
        "prompt": [{"role": "user", "content": text or f"Question number {number}?"}],
        "prompt_kind": ("red-team", "helpful", "borderline")[number % 3],
        "tags": [],
        "response": f"FIRST {words}",
        "steps": [
            {
                "step": 1,
                "principle_id": f"p{number % 4}",
                "critique": f"CRITIQUE {words}",
                "p_change": 0.8,
                "order_gap": (number % 10) / 20,
                "label_mass": 1.0,
                "revision": f"FINAL {words} and more",
                "removed": [],
                "edit_distance": 0.4,
                "findings": [],
            }
        ],
        "final": f"FINAL {words} and more",
        "target": "revision",
        "edit_distance": 0.4,
        "assessments": [],
        "violations": ["p1"] if number % 5 == 0 else [],
        "not_in_sft": "violates" if number % 5 == 0 else None,
        "pairs": [
            {
                "source": "revision",
                "response_a": f"FIRST {words}",
                "response_b": f"FINAL {words} and more",
                "p_a": 0.2,
                "order_gap": 0.1,
                "label_mass": 1.0,
                "judgements": [
                    {"principle_id": f"p{n}", "q_ab": 0.2, "q_ba": 0.8, "label_mass": 1.0}
                    for n in (number % 4, (number + 1) % 4)
                ],
                "dropped": None,
            }
        ],
    }
    return {**row, **fields}


MANIFEST = {
    "constitution": {"name": "<b>name</b>", "digest": "0" * 64},
    "templates": {},
    "models": {"policy": "m"},
    "seed": 0,
    "packages": {},
    "prompts": {"kinds": {"helpful": 1}},
    "counts": {},
    "calls": {},
    "tokens": {},
    "timings": {},
}


def write_run(folder: Path, rows: list[dict[str, Any]], failures: int = 0) -> Path:
    """A finished run folder of these traces, and prompts that failed."""
    (folder / "traces").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=TRACES)
    pq.write_table(table, folder / "traces" / "train.parquet", row_group_size=1000)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    lines = [
        {"stage": "revise", "prompt_id": f"lost-{n}", "error": "truncated", "message": "too long"}
        for n in range(failures)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "failures.jsonl").write_text(text)
    return folder
