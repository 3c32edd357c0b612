"""How long `cai quality` takes, and how much memory, by the number of rows.

    python benchmarks/quality.py --rows 10000,100000,1000000

Each file of made-up answers is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [("id", pa.string()), ("prompt", _MESSAGES), ("completion", _MESSAGES), ("kind", pa.string())]
)
PART = 10_000


def write_rows(path: Path, count: int) -> None:
    """Answers of about 140 words of a vocabulary of 20,000, the frequent ones more often."""
    rng = random.Random(1)
    vocabulary = [
        "".join(rng.choices("bdfglmnprstv", k=3)) + rng.choice("aeiou") + str_of(n)
        for n in range(20_000)
    ]
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, count, PART):
            rows = [row(rng, vocabulary, n) for n in range(start, min(count, start + PART))]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))


def str_of(number: int) -> str:
    """A number as letters."""
    letters = ""
    while number:
        number, rest = divmod(number, 21)
        letters += "bcdfghjklmnpqrstvwxyz"[rest] + "aeiou"[rest % 5]
    return letters


def row(rng: random.Random, vocabulary: list[str], number: int) -> dict[str, Any]:
    def text(words: int) -> str:
        picks = [
            vocabulary[min(int(rng.paretovariate(0.5)), len(vocabulary)) - 1] for _ in range(words)
        ]
        return ". ".join(" ".join(picks[i : i + 12]) for i in range(0, words, 12))

    kinds = ("helpful", "red-team", "borderline")
    return {
        "id": f"r{number}",
        "prompt": [{"role": "user", "content": f"{text(12)} {number}"}],
        "completion": [{"role": "assistant", "content": text(140)}],
        "kind": kinds[number % 3],
    }


def measure_one(path: str) -> None:
    """Measure a file; print seconds and the peak of memory as JSON."""
    from cai.quality.measure import measure

    began = time.monotonic()
    quality = measure(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.monotonic() - began, "peak": peak, "rows": quality.rows}))


def by_rows(sizes: list[int]) -> None:
    print(f"{'rows':>10} {'seconds':>9} {'rows/s':>9} {'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.parquet"
            write_rows(path, size)
            command = [sys.executable, __file__, "--one", str(path)]
            made = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(made.stdout)
            rate = size / found["seconds"]
            print(f"{size:>10,} {found['seconds']:>9.1f} {rate:>9,.0f} {found['peak']:>9,.0f}")
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="")
    parser.add_argument("--one", default="")
    given = parser.parse_args()
    if given.one:
        measure_one(given.one)
    else:
        by_rows([int(size) for size in (given.rows or "10000,100000").split(",")])


if __name__ == "__main__":
    main()
