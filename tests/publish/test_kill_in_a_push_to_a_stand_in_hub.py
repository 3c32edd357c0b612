"""With a stand-in of the Hub: kill -9 in an upload in parts, and once more."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.schema import SFT
from tests.publish.calling import cai
from tests.publish.stand_in_hub import PART, TOKEN, StandInHub

REPO = "me/data"


def make_large(run: Path) -> None:
    """Training rows of 20 MB that cannot be compressed."""
    draws = np.random.default_rng(0).integers(ord("a"), ord("z") + 1, (200, 150_000), np.uint8)
    rows = [
        {
            "id": f"{number:016x}",
            "prompt": [{"role": "user", "content": f"Question {number}"}],
            "completion": [{"role": "assistant", "content": letters.tobytes().decode()}],
            "target": "response",
            "step": 0,
            "principle_ids": [],
            "verified": None,
            "violations": [],
            "prompt_kind": "helpful",
        }
        for number, letters in enumerate(draws)
    ]
    table = pa.Table.from_pylist(rows, schema=SFT)
    pq.write_table(table, run / "sft" / "train.parquet", compression="zstd", compression_level=1)


def test_kill_9_in_the_middle_of_an_upload_and_again_is_one_commit(
    stand_in: StandInHub, environment: dict[str, str], run: Path
) -> None:
    make_large(run)
    size = (run / "sft" / "train.parquet").stat().st_size
    assert size > 3 * PART
    stand_in.delay = 0.3
    command = [sys.executable, "-m", "cai.cli", "push", str(run), REPO]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 90
    # The other large file is one part.
    while stand_in.calls["part"] < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    repo = stand_in.repo(REPO)
    assert len(repo.commits) == 1
    assert not (run / "pushes.jsonl").exists()
    stand_in.delay = 0.0
    stand_in.calls.clear()
    output = cai(environment, "push", str(run), REPO)
    assert "8 files to me/data (private) in one commit" in output
    parts = -(-size // PART)  # of the training rows; the page and the pairs have a few more
    assert stand_in.calls["part"] in range(parts, parts + 5)
    assert len(repo.commits) == 2
    assert "no commit was made" in cai(environment, "push", str(run), REPO)
    assert len(repo.commits) == 2
    assert len((run / "pushes.jsonl").read_text().splitlines()) == 1
    assert TOKEN not in output
