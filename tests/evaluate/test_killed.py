"""An evaluation that is killed goes on: the same card, and no finished call again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cai.evaluate.scorecard import EVALUATION, SCORECARD

SLOTS = 16
CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


def command(out: str, log: str) -> list[str]:
    """300 prompts, two models and a judge, each a scripted one that tells what it answered."""
    options = f"latency=0.004,slots={SLOTS},log={log}"
    return [
        *CAI,
        *(
            "evaluate",
            f"scripted:name=one,{options}",
            "--baseline",
            f"scripted:name=other,{options}",
        ),
        *("--judge", f"scripted:name=judge,{options}", "--constitution", "plain-answers.yaml"),
        *("--out", out),
    ]


def answered(log: str) -> list[str]:
    return Path(log).read_text().splitlines()


def test_killed_three_times() -> None:
    subprocess.run(command("whole", "whole.log"), check=True, capture_output=True)
    for part in (0.15, 0.4, 0.7):
        with subprocess.Popen(
            command("killed", "killed.log"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            until = time.monotonic() + 60
            goal = part * len(answered("whole.log"))
            while time.monotonic() < until and process.poll() is None:
                if Path("killed.log").exists() and len(answered("killed.log")) >= goal:
                    break
                time.sleep(0.02)
            assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
    assert not Path("killed", SCORECARD).exists()
    subprocess.run(command("killed", "killed.log"), check=True, capture_output=True)
    for name in (SCORECARD, EVALUATION):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes(), name
    calls = Counter(answered("killed.log"))
    whole = Counter(answered("whole.log"))
    assert calls.keys() == whole.keys()
    assert sum((calls - whole).values()) <= 3 * SLOTS  # those that were in flight
    before = len(answered("killed.log"))
    subprocess.run(command("killed", "killed.log"), check=True, capture_output=True)
    assert len(answered("killed.log")) == before
