"""20,000 rows to a stand-in of the Hub: one commit, no second one, and each split loads.

They are 20 copies of a scripted run of 1,000 prompts; benchmarks/push.py makes as many for real.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

import cai
from cai.publish.content import Choice
from cai.publish.push import dry_run, push
from cai.report.page import write_report
from tests.publish.stand_in_hub import PART, StandInHub

REPO, COPIES, PROMPTS = "me/data", 20, 1000
CHOICE = Choice(REPO, include=("traces",))
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def large(tmp_path: Path, prompts_file: Any) -> Path:
    run = tmp_path / "run"
    cai.generate(prompts=prompts_file(PROMPTS), model="scripted:", out=run, test_share=0.1)
    for path in run.glob("*/*.parquet"):
        table = pq.read_table(path)
        copies = [
            table.set_column(0, "id", pc.binary_join_element_wise(str(number), table["id"], "-"))
            for number in range(COPIES)
        ]
        pq.write_table(pa.concat_tables(copies), path, row_group_size=1000)
    return run


def page(folder: Path, out: Path) -> Path:
    return write_report(folder, out=out, chains=False)


def test_20_000_rows_are_one_commit_and_load(hub: StandInHub, large: Path, tmp_path: Path) -> None:
    hub.calls = Counter()
    pushed = push(large, CHOICE, report=page)
    repo = hub.repo(REPO)
    assert len(repo.commits) == 2  # the first is the repository's own
    assert hub.calls["commit"] == 1
    files = {name: hub.contents[oid] for name, (_, oid) in repo.branches["main"].files.items()}
    assert max(map(len, files.values())) > PART  # so it went in parts
    assert push(large, CHOICE, report=page)._replace(sent=pushed.sent) == pushed
    assert (len(repo.commits), hub.calls["commit"]) == (2, 1)
    folder = dry_run(large, CHOICE, tmp_path / "dry", report=page).folder
    counts = json.loads((folder / "manifest.json").read_text())["counts"]
    loaded = {
        f"{config}.{split}": data.num_rows
        for config in ("sft", "preferences", "traces")
        for split, data in load_dataset(str(folder), config).items()
    }
    assert loaded == {name: n for name, n in counts.items() if name in loaded}
    assert len(loaded) == 6
    assert loaded["traces.train"] + loaded["traces.test"] == COPIES * PROMPTS
    shutil.rmtree(folder)
