"""Parts of a run on several machines, put together."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import cai
from cai.cli import app
from cai.dataset.run import Run
from cai.errors import CaiError
from cai.generation.merge import merge_shards
from cai.runtime.progress import Quiet

FILES = ("sft/train.parquet", "preferences/train.parquet", "traces/train.parquet", "failures.jsonl")


def prompts(folder: Path) -> str:
    lines = [{"prompt": f"Question {n % 20}?"} for n in range(25)]  # five of them twice
    lines.append({"prompt": ""})  # cannot be used
    (folder / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder / "p.jsonl")


def part(folder: Path, shard: str | None, **given: Any) -> Run:
    out = folder / (shard or "whole").replace("/", "-")
    settings = {"model": "scripted:reject=0.1", "test_share": 0.2, **given}
    return cai.generate(prompts=prompts(folder), out=out, shard=shard, **settings)


def test_shards_make_the_bytes_of_the_whole(tmp_path: Path) -> None:
    whole = part(tmp_path, None)
    shards = [part(tmp_path, f"{n}/3") for n in (1, 2, 3)]
    assert sum(run.manifest.prompts["rows"] for run in shards) == 20
    merged = merge_shards([run.folder for run in shards], tmp_path / "merged")
    assert merged.manifest.calls["made"] == 0
    for name in FILES:
        assert (merged.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_what_failed_in_a_shard_has_failed_in_the_whole(tmp_path: Path) -> None:
    model = "scripted:fail=0.05,reject=0.1"
    whole = part(tmp_path, None, model=model)
    assert "call" in {failure.error for failure in whole.failures}
    shards = [part(tmp_path, f"{n}/2", model=model) for n in (1, 2)]
    merged = merge_shards([run.folder for run in shards], tmp_path / "merged")
    assert merged.manifest.calls["made"] == 0
    for name in FILES:
        assert (merged.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_the_command(tmp_path: Path) -> None:
    folders = [str(part(tmp_path, f"{n}/2").folder) for n in (1, 2)]
    result = CliRunner().invoke(app, ["merge", *folders, "--out", str(tmp_path / "merged")])
    assert result.exit_code == 0, result.output
    assert Run.load(tmp_path / "merged").manifest.prompts["rows"] == 20


def test_what_is_no_set_of_shards(tmp_path: Path) -> None:
    one, two = (part(tmp_path, f"{n}/2").folder for n in (1, 2))
    whole = part(tmp_path, None).folder
    out = tmp_path / "merged"
    for folders, said in (
        ([], "no shard is given"),
        ([one], "missing: 2/2"),
        ([one, one], "given twice"),
        ([one, whole], "no shard of one"),
        ([one, tmp_path], "not a run folder"),
    ):
        with pytest.raises(CaiError, match=said):
            merge_shards(folders, out)
    cai.generate(
        prompts=prompts(tmp_path),
        model="scripted",
        shard="2/2",
        out=tmp_path / "other",
        test_share=0.2,
    )
    with pytest.raises(CaiError, match="another model than the first: critic, judge"):
        merge_shards([one, tmp_path / "other"], out)
    assert not out.exists()
    assert two.is_dir()


def test_shards_may_be_made_on_machines_and_servers_of_their_own(tmp_path: Path) -> None:
    whole = part(tmp_path, None)
    one = part(tmp_path, "1/2", max_open_rows=3, base_url="http://a/v1", vllm_args="--seed 1")
    two = part(tmp_path, "2/2", distributed="ray", replicas=1)
    merged = merge_shards([one.folder, two.folder], tmp_path / "merged")
    for name in FILES:
        assert (merged.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    (tmp_path / "other").mkdir()
    other = part(tmp_path / "other", "2/2", judge_principles=3)
    with pytest.raises(CaiError, match="another setting than the first: judge_principles"):
        merge_shards([one.folder, other.folder], tmp_path / "again")


def test_what_is_known_of_the_judge_must_be_the_same_where_they_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [part(tmp_path, f"{n}/2").folder for n in (1, 2)]
    monkeypatch.setattr("cai.checks.results.stored", lambda key: SimpleNamespace(verdict="usable"))
    with pytest.raises(CaiError, match="what is known here of the judge"):
        merge_shards(shards, tmp_path / "merged")


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_no_such_part(tmp_path: Path, shard: str) -> None:
    with pytest.raises(CaiError, match="shard"):
        part(tmp_path, shard)


def test_what_rows_cost(tmp_path: Path) -> None:
    run = part(tmp_path, None, price="1,2")
    tokens = run.manifest.tokens.values()
    expected = sum(n["input"] + 2 * n["output"] for n in tokens) / 1e6
    rows = sum(n for name, n in run.manifest.counts.items() if name.startswith(("sft.", "pref")))
    assert run.manifest.cost["total"] == pytest.approx(expected)
    assert run.manifest.cost["per_row"] == pytest.approx(expected / rows)
    again = part(tmp_path, None, price="3600/h").manifest.cost  # no call is made, no price is lost
    assert again["total"] == pytest.approx(again["seconds"], abs=0.01)
    for wrong in ("much", "1", "1,2,3", "-1,2", "nan,1"):
        with pytest.raises(CaiError, match="no price"):
            part(tmp_path, None, price=wrong)


def test_a_text_with_a_group_here_and_none_there_is_told(tmp_path: Path) -> None:
    """Its splits are by two keys: of 40 texts some lie in both."""
    rows = [{"prompt": f"Why {n}?", "kind": "borderline", "id": f"a{n}"} for n in range(40)]
    roles = ("user", "assistant", "user")
    again = [
        {
            "messages": [
                {"role": role, "content": text}
                for role, text in zip(roles, (f"Why {n}?", "So.", "And?"), strict=True)
            ],
            "group": f"g{n}",
            "kind": "borderline",
            "id": f"b{n}",
        }
        for n in range(40)
    ]
    Path("p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *again]))
    for n in (1, 2):
        cai.generate(
            model="scripted", prompts="p.jsonl", shard=f"{n}/2", out=f"{n}", test_share=0.5
        )
    told: list[str] = []

    class Told(Quiet):
        def warn(self, message: str) -> None:
            told.append(message)

    merge_shards(["1", "2"], "whole", progress=Told())
    (words,) = [message for message in told if "test split" in message]
    assert int(words.split()[0]) > 5
