"""Memory and rate as prompts grow, and what the journal costs; ratios from one run.

    python benchmarks/scale.py [--rows 200000] [--compare-rows 20000]

Each measurement is a process of its own, so that peaks do not mix. The scripted engine answers at
once: what is measured is this program. `dictionary` is the same chain with results in a dict.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()


def write_prompts(path: Path, rows: int) -> None:
    with path.open("w") as file:
        for n in range(rows):
            file.write(json.dumps({"prompt": f"Question {n}: what should someone do? " * 4}) + "\n")


class Dictionary:
    """The journal's interface over a dict."""

    def __init__(self) -> None:
        self.values: dict[bytes, str] = {}

    def get(self, key: bytes) -> str | None:
        return self.values.get(key)

    async def put(self, entries: dict[bytes, str]) -> None:
        self.values.update(entries)

    def first_attempt(self, address: str) -> int:
        return 0


def measure_run(rows: int, folder: Path, open_rows: int) -> dict[str, object]:
    """A whole run: prompts file in, datasets out."""
    import cai

    prompts = folder / "prompts.jsonl"
    write_prompts(prompts, rows)
    begun = time.monotonic()
    run = cai.generate(
        model="scripted",
        prompts=str(prompts),
        out=folder / "run",
        stages=["sft"],
        revisions=1,
        assess=False,
        max_open_rows=open_rows,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = time.monotonic() - begun
    timings = run.manifest.timings
    seconds = {**timings["seconds"], "generate": timings["last"]["seconds"]}
    names = ("sft/train.parquet", "traces/train.parquet", "sft/test.parquet", "failures.jsonl")
    data = hashlib.sha256(b"".join((run.folder / n).read_bytes() for n in names)).hexdigest()
    return {
        "rows": rows,
        "open rows": open_rows,
        "peak MB": peak,
        "calls": run.manifest.calls["made"],
        "generate s": seconds["generate"],
        "write s": seconds["write"],
        "total s": round(total, 1),
        "calls/s": run.manifest.calls["made"] / seconds["generate"],
        "journal MB": (run.folder / "calls.sqlite").stat().st_size / 2**20,
        "data": data[:12],
    }


def measure_chain(rows: int, folder: Path, kind: str) -> dict[str, object]:
    """The chain alone, with the journal or a dictionary behind it."""
    from cai.config import ROLES, Settings
    from cai.engines.scripted import ScriptedEngine
    from cai.method import load_method
    from cai.records import Message, Prompt
    from cai.revision import revise
    from cai.runtime.calls import Calls
    from cai.runtime.journal import Journal
    from cai.runtime.scheduler import Scheduler

    async def chains() -> tuple[int, float]:
        engine = ScriptedEngine()
        method = load_method(Settings(revisions=1, assess=False))
        scheduler = Scheduler(engine, rows)
        await scheduler.start()
        store = Journal(folder / f"{kind}.sqlite") if kind == "journal" else Dictionary()
        identities = dict.fromkeys(ROLES, engine.identity)
        calls = Calls(store, 0, identities, schedulers=dict.fromkeys(ROLES, scheduler))
        left = iter(range(rows))

        async def worker() -> None:
            for n in left:
                text = f"Question {n}: what should someone do? " * 4
                messages = (Message(role="user", content=text),)
                prompt = Prompt(id=Prompt.id_of(messages), messages=messages, kind="red-team")
                await revise(prompt, method, calls.row(prompt.id, n))
                scheduler.row_done()

        begun = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(256)))
        seconds = time.monotonic() - begun
        if isinstance(store, Journal):
            store.close()
        return calls.tally.made, seconds

    calls, seconds = asyncio.run(chains())
    return {"store": kind, "rows": rows, "calls": calls, "calls/s": calls / seconds}


def in_process(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(HERE), "--one", *arguments], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def show(row: dict[str, object]) -> None:
    print(
        "  ".join(f"{k} {v:,.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--compare-rows", type=int, default=20_000)
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "ROWS", "OPEN"))
    given = parser.parse_args()
    if given.one:
        what, rows, open_rows = given.one[0], int(given.one[1]), int(given.one[2])
        folder = Path(tempfile.mkdtemp(prefix="cai-scale-"))
        try:
            if what == "run":
                print(json.dumps(measure_run(rows, folder, open_rows)))
            else:
                print(json.dumps(measure_chain(rows, folder, what)))
        finally:
            shutil.rmtree(folder)
        return
    print(f"Python {platform.python_version()}, {platform.machine()}")
    stores = [
        in_process(kind, str(given.compare_rows), "256") for kind in ("dictionary", "journal")
    ]
    for row in stores:
        show(row)
    print(f"journal / dictionary: {stores[1]['calls/s'] / stores[0]['calls/s']:.2f}")  # type: ignore[operator]
    small, large = in_process("run", "1000", "256"), in_process("run", str(given.rows), "256")
    for row in (small, large):
        show(row)
    print(f"peak above 1,000 rows: {large['peak MB'] - small['peak MB']:,.0f} MB")  # type: ignore[operator]
    one, many = (in_process("run", str(given.compare_rows), n) for n in ("1", "500"))
    print(f"1 and 500 open rows give the same bytes: {one['data'] == many['data']}")


if __name__ == "__main__":
    main()
