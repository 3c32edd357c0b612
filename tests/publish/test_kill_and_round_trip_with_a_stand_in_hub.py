"""With a stand-in of the Hub: kill -9 in an upload in parts, and reading back what was pushed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.dataset.schema import SFT
from tests.publish.stand_in_hub import PART, TOKEN, StandInHub

ROOT = Path(__file__).parents[2]
REPO = "me/data"


@pytest.fixture
def environment(stand_in: StandInHub, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": stand_in.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(tmp_path / "hf-home"),
        "CAI_CACHE": str(tmp_path / "cai-cache"),
        "HF_TOKEN": TOKEN,
        "COLUMNS": "200",
    }


def cai(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cai.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def python(environment: dict[str, str], code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def test_what_was_pushed_reads_back(
    stand_in: StandInHub, environment: dict[str, str], run: Path, tmp_path: Path
) -> None:
    cai(environment, "push", str(run), REPO, "--tag", "v1")
    code = f"""
from datasets import load_dataset
for name in ("sft", "preferences"):
    data = load_dataset("{REPO}", name, split="train", revision="v1")
    print(name, data.num_rows)
"""
    assert python(environment, code).splitlines()[-2:] == ["sft 9", "preferences 3"]
    out = str(tmp_path / "again")
    cai(
        environment,
        *("generate", "--model", "scripted:", "--prompts", f"hf:{REPO}@v1:sft", "--out", out),
        *("--kind", "helpful", "--gate", "none"),
    )
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert manifest["prompts"]["rows"] == 9
    code = f"""
from cai.sources.hub import hub_splits
print({{name: len(rows) for name, rows in hub_splits("hf:{REPO}", "preferences").items()}})
"""
    assert python(environment, code).splitlines()[-1] == "{'train': 3}"
    quality = cai(environment, "quality", f"hf:{REPO}:preferences", "--json", "--gate", "none")
    assert '"preferences"' in quality
    judged = cai(
        environment,
        *("check", "judge", "--judge", "scripted:", "--pairs-file", f"hf:{REPO}:preferences"),
        *("--out", str(tmp_path / "judged"), "--json"),
    )
    assert json.loads(judged[judged.index("{") : judged.rindex("}") + 1])["pairs"]["used"] == 3
