"""`cai quality`, and the gates at the end of a run and before a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.errors import GateFailed
from cai.quality.measure import measure
from cai.quality.records import QUALITY, read_quality, write_quality
from cai.quality.settings import Thresholds
from cai.train.config import resolve_training
from cai.train.gate import gate_warnings
from tests.quality.made import rows, written
from tests.quality.test_plants import boilerplate


def result_of(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, f"{result.stderr}{result.exception or ''}"


def generated(*more: str) -> tuple[int, str, str]:
    base = ("generate", "--model", "scripted:", "--limit", "60", "--prompts", "seeds:red-team")
    return result_of(*base, "--out", "run", *more)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    made = rows("en", 60)
    boilerplate(made, "en")
    return written(tmp_path / "data.jsonl", made)


def test_figures_and_gates_are_printed_and_the_code_is_asked_for(bad: str) -> None:
    code, out, err = result_of("quality", bad)
    assert code == 0
    assert "Boilerplate" in out
    assert "here to listen if you ever" in out
    assert "1 of" in err
    assert "gates failed: boilerplate" in err
    assert "r0 (sft, train)" in err
    assert result_of("quality", bad, "--gate", "fail")[0] == 3
    assert result_of("quality", bad, "--gate", "fail", "--max-boilerplate", "0.6")[0] == 0
    assert result_of("quality", bad, "--gate", "none")[2].count("gates") == 0


def test_json_is_one_object(bad: str) -> None:
    code, out, _ = result_of("quality", bad, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["boilerplate_share"]["value"] == pytest.approx(0.4)
    assert not next(g for g in data["gates"] if g["name"] == "boilerplate")["passed"]


def test_a_run_ends_with_its_verdict() -> None:
    code, _, err = generated()
    assert code == 0
    assert "gates failed: helpful rows" in err
    assert (Path("run") / QUALITY).is_file()
    assert generated("--gate", "fail")[0] == 3
    assert "gates failed" not in generated("--gate", "none")[2]


def test_thresholds_of_a_run_come_from_a_file() -> None:
    Path("gates.yaml").write_text("min_helpful: 0\n")
    code, _, err = generated("--gates", "gates.yaml", "--gate", "fail")
    assert code == 0, err
    assert "gates passed" in err
    Path("gates.yaml").write_text("min_helpfull: 0\n")
    code, _, err = generated("--gates", "gates.yaml")
    assert code == 1
    assert "min_helpful" in err


def test_fix_needs_a_folder_and_makes_a_run(bad: str) -> None:
    assert result_of("quality", bad, "--fix")[0] == 1
    generated()
    code, out, _ = result_of("quality", "run", "--fix", "--out", "fixed")
    assert code == 0
    assert "Nothing had to be dropped." in out
    assert {"README.md", "manifest.json", QUALITY} <= {p.name for p in Path("fixed").iterdir()}


def test_training_repeats_the_warning_and_stops_where_it_is_told_to(bad: str) -> None:
    folder = Path("run")
    folder.mkdir()
    write_quality(measure(bad), folder / QUALITY)
    given = {"data": "run", "model": "default"}
    [line] = gate_warnings(resolve_training("sft", given))
    assert "boilerplate" in line
    with pytest.raises(GateFailed, match="not fit to train on"):
        gate_warnings(resolve_training("sft", {**given, "gate": "fail"}))
    assert gate_warnings(resolve_training("sft", {**given, "gate": "none"})) == []
    write_quality(measure(bad, Thresholds(max_boilerplate=0.9)), folder / QUALITY)
    assert gate_warnings(resolve_training("sft", {**given, "gate": "fail"})) == []
    assert read_quality(folder / QUALITY).failed == ()


def test_what_could_not_be_measured_is_told(tmp_path: Path) -> None:
    made = [
        {"prompt": f"Say {n}.", "response": f"I can't say the number {n} {n * 7}.", "kind": "safe"}
        for n in range(30)
    ]
    code, _, err = result_of("quality", written(tmp_path / "data.jsonl", made))
    assert code == 0
    assert "nothing to measure for: over-refusal, helpful rows" in err
    assert "count as unknown: 30 'safe'" in err


def test_the_check_of_a_runs_judge_stands_beside_its_figures() -> None:
    assert generated()[0] == 0
    assert "judge_check" not in json.loads((Path("run") / QUALITY).read_text())
    assert result_of("check", "judge", "--judge", "scripted:", "--limit", "20")[0] == 0
    result_of("quality", "run")
    check = json.loads((Path("run") / QUALITY).read_text())["judge_check"]
    assert check["scored"] == 20
    assert check["bins"]
