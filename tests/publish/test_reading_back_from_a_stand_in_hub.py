"""What was pushed is read wherever a run or a file is: data, prompts, pairs, training, audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.conftest import save_tiny
from tests.publish.calling import cai, python
from tests.publish.stand_in_hub import StandInHub

REPO = "me/data"


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


@pytest.fixture
def scripted(tmp_path: Path, prompts_file: Any, environment: dict[str, str]) -> Path:
    """A run of 60 prompts, pushed with a tag."""
    run = tmp_path / "run"
    prompts = prompts_file(60)
    common = ("--model", "scripted:", "--pairs", "revision,sampled", "--test-share", "0.3")
    cai(environment, "generate", "--prompts", str(prompts), "--out", str(run), *common)
    cai(environment, "push", str(run), REPO, "--tag", "v1", "--include", "traces")
    return run


def test_what_was_pushed_is_trained_on(
    stand_in: StandInHub, environment: dict[str, str], scripted: Path, tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    tiny = save_tiny(tmp_path / "tiny", hidden_size=32, intermediate_size=64)
    common = ("--model", str(tiny), "--epochs", "1", "--min-margin", "0", "--max-length", "2000")
    records = {}
    for name, data in (("hub", f"hf:{REPO}@v1:preferences"), ("disk", str(scripted))):
        cai(environment, "train", "dpo", data, "--out", str(tmp_path / name), *common)
        records[name] = json.loads((tmp_path / name / "training.json").read_text())
    assert records["hub"]["state"] == "done"
    assert records["hub"]["data"]["sources"][0]["kept"] > 10
    # The same rows, wherever they were read.
    assert records["hub"]["data"]["rows_digest"] == records["disk"]["data"]["rows_digest"]
    cai(environment, "audit", str(tmp_path / "hub"), "--out", str(tmp_path / "audit"))
    document = json.loads((tmp_path / "audit/audit.json").read_text())
    assert [(part["kind"], part["name"]) for part in document["parts"]] == [
        ("model", "hub"),
        ("run", f"hf:{REPO}@v1:preferences"),
    ]
    (source,) = document["parts"][0]["data"]["sources"]
    assert (source["here"], source["same"]) == (True, None)
    del stand_in.repos["dataset", REPO]
    environment["HF_HOME"] = str(tmp_path / "another-home")
    cai(environment, "audit", str(tmp_path / "hub"), "--out", str(tmp_path / "later"))
    later = json.loads((tmp_path / "later/audit.json").read_text())
    assert [part["kind"] for part in later["parts"]] == ["model"]
    assert later["parts"][0]["data"]["sources"][0]["here"] is False


def test_what_was_pushed_is_audited_as_the_run_is(
    stand_in: StandInHub, environment: dict[str, str], scripted: Path, tmp_path: Path
) -> None:
    def audited(source: str, out: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        cai(environment, "audit", source, "--out", str(tmp_path / out))
        rows = (tmp_path / out / "rows.jsonl").read_text().splitlines()
        (part,) = json.loads((tmp_path / out / "audit.json").read_text())["parts"]
        return part, [{**json.loads(row), "run": ""} for row in rows]

    here, rows = audited(str(scripted), "here")
    there, rows_there = audited(f"hf:{REPO}@v1", "there")
    assert rows_there == rows
    assert there["commit"] == stand_in.repo(REPO).tags["v1"]
    assert there["name"] == f"hf:{REPO}@v1"
    for key in ("principles", "models", "origins", "rows", "gates", "constitution", "kind"):
        assert there[key] == here[key], key
    parquet = {name: sha for name, sha in here["files"].items() if name.endswith(".parquet")}
    assert parquet.items() <= there["files"].items()
    part, of_pairs = audited(f"hf:{REPO}@v1:preferences", "pairs")
    assert of_pairs == [row for row in rows if row["dataset"] == "preferences"]
    assert not any(name.startswith("sft/") for name in part["files"])
    ok = cai(environment, "audit", f"hf:{REPO}", "--out", str(tmp_path / "main"))
    assert "rows traced" in ok
    cai(environment, "audit", f"hf:{REPO}", "--out", str(tmp_path / "main"), "--verify")
    stand_in.write(stand_in.repo(REPO), "main", "edit", {"README.md": b"edited"})
    changed = cai(
        environment, "audit", f"hf:{REPO}", "--out", str(tmp_path / "main"), "--verify", fails=True
    )
    assert f"changed: hf:{REPO}/README.md" in changed


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf:me/other", "not what cai push sent"),
        ("hf:me/nothing", "hf:me/nothing: "),
        ("hf:me/data:evals", "has no evals"),
        ("hf:me/data@v9", "hf:me/data@v9: "),
    ],
)
def test_what_cannot_be_audited_is_told(
    stand_in: StandInHub,
    environment: dict[str, str],
    run: Path,
    tmp_path: Path,
    source: str,
    words: str,
) -> None:
    cai(environment, "push", str(run), REPO)
    other = stand_in.make("me/other")
    stand_in.write(other, "main", "data", {"train.jsonl": b"{}"})
    output = cai(environment, "audit", source, "--out", str(tmp_path / "audit"), fails=True)
    assert words in output
    assert "Traceback" not in output
