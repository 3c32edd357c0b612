"""Writing that is killed goes on: the same file, and no finished call again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

SLOTS = 8
CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


def command(out: str) -> list[str]:
    """150 prompts of a scripted writer that tells what it answered."""
    writer = f"scripted:words=14,latency=0.01,slots={SLOTS},log={out}.log"
    return [
        *CAI,
        *("prompts", "write", "--constitution", "plain-answers.yaml", "--model", writer),
        *("--count", "150", "--out", f"{out}.jsonl"),
    ]


def answered(out: str) -> list[str]:
    path = Path(f"{out}.log")
    return path.read_text().splitlines() if path.exists() else []


def test_killed_five_times() -> None:
    subprocess.run(command("whole"), check=True, capture_output=True)
    total = len(answered("whole"))
    for part in (0.1, 0.25, 0.4, 0.6, 0.8):
        with subprocess.Popen(
            command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            until = time.monotonic() + 60
            while time.monotonic() < until and process.poll() is None:
                if len(answered("killed")) >= part * total:
                    break
                time.sleep(0.01)
            assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
    assert not Path("killed.jsonl").exists()
    subprocess.run(command("killed"), check=True, capture_output=True)
    assert Path("killed.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    calls, whole = Counter(answered("killed")), Counter(answered("whole"))
    assert calls.keys() == whole.keys()
    assert sum((calls - whole).values()) <= 5 * SLOTS  # those that were in flight
