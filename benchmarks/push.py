"""A large scripted run to a stand-in of the Hub on this machine, and read back.

    python benchmarks/push.py [--rows 20000] [--json FILE]

The run is made, pushed with its traces, pushed again, written as a dry run, and each config and
split of that is loaded with `datasets`. Commits, bytes and seconds are told. The stand-in is that
of the tests: LFS, large files in parts of 5 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cai
from tests.publish.stand_in_hub import TOKEN, running

REPO = "me/data"
KINDS = ("red-team", "helpful", "borderline")
T = TypeVar("T")


def prompts(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            text = f"Question {number}: what to do about topic {number * 7919 % 1009}, and why?"
            file.write(json.dumps({"prompt": text, "kind": KINDS[number % 3]}) + "\n")
    return path


def timed(seconds: dict[str, float], name: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    seconds[name] = round(time.perf_counter() - began, 1)
    print(f"{name}: {seconds[name]} s", flush=True)
    return result


def measured(rows: int, folder: Path) -> dict[str, Any]:
    from datasets import load_dataset
    from huggingface_hub import constants

    from cai.publish.content import Choice
    from cai.publish.push import dry_run, push
    from cai.report.page import write_report

    def page(run: Path, out: Path) -> Path:
        return write_report(run, out=out, chains=False)

    seconds: dict[str, float] = {}
    source = prompts(folder / "prompts.jsonl", rows)
    run = timed(
        seconds,
        "generate",
        lambda: cai.generate(prompts=str(source), model="scripted:", out=folder / "run").folder,
    )
    choice = Choice(REPO, include=("traces",))
    with running() as hub:
        constants.ENDPOINT, constants.HF_HUB_DISABLE_XET = hub.url, True
        os.environ["HF_TOKEN"] = TOKEN
        constants.HF_HUB_OFFLINE = False
        first = timed(seconds, "push", lambda: push(run, choice, report=page))
        again = timed(seconds, "push again", lambda: push(run, choice, report=page))
        commits = len(hub.repo(REPO).commits) - 1  # the first is the repository's own
        parts = hub.calls["part"]
    dry = timed(seconds, "dry run", lambda: dry_run(run, choice, folder / "dry", report=page))
    counts = json.loads((dry.folder / "manifest.json").read_text())["counts"]
    loaded = {
        f"{config}.{split}": data.num_rows
        for config in ("sft", "preferences", "traces")
        for split, data in load_dataset(str(dry.folder), config).items()
    }
    return {
        "rows": rows,
        "commits": commits,
        "sent": len(first.sent),
        "sent again": len(again.sent),
        "parts": parts,
        "bytes": sum(path.stat().st_size for path in dry.files.values()),
        "loaded": loaded,
        "as the manifest says": all(counts[name] == n for name, n in loaded.items()),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measured(options.rows, Path(folder))
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
