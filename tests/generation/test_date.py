"""A template's date is the run's, not the clock's."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import cai
from cai import roles
from cai.cli import app
from cai.train import prepare
from cai.train.config import resolve_training
from tests.engines.conftest import CHATML, save_tiny

pytest.importorskip("torch")

DATED = CHATML.replace(
    "{% for", "<|im_start|>system\nToday is {{ strftime_now('%d %B %Y') }}.<|im_end|>\n{% for", 1
)
FIRST, LATER = date(2026, 3, 7), date(2027, 11, 2)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, object]:
    Path("p.jsonl").write_text("".join(f'{{"prompt": "Number {n}?"}}\n' for n in range(3)))
    model = save_tiny(tmp_path / "model", template=DATED)
    short = dict.fromkeys(("policy_max_tokens", "critic_max_tokens", "reviser_max_tokens"), 8)
    return {"model": str(model), "prompts": "p.jsonl", "stages": ("sft",), **short}


def on(day: date, patch: pytest.MonkeyPatch) -> None:
    for module in (roles, prepare):
        patch.setattr(module, "today", lambda: day)


def contents(folder: str) -> dict[str, bytes]:
    files = sorted(Path(folder).glob("*/*.parquet"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_run_keeps_the_day_of_its_first_start(
    given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(FIRST, monkeypatch)
    first = cai.generate(given, out="run", limit=2)
    assert yaml.safe_load(Path("run/config.yaml").read_text())["date"] == "2026-03-07"
    assert first.manifest.fed["policy"]["date in the template"] == "2026-03-07"
    assert "Date in the template: 2026-03-07" in Path("run/README.md").read_text()
    whole, made = contents("run"), first.manifest.calls["made"]
    on(LATER, monkeypatch)
    again = cai.generate(given, out="run", limit=2)
    assert again.manifest.calls["made"] == 0
    assert contents("run") == whole
    fresh = cai.generate(given, out="new", limit=2)
    assert "2027-11-02" in fresh.manifest.models["policy"]
    as_then = cai.generate(given, out="then", limit=2, date=FIRST)
    assert as_then.manifest.calls["made"] == made
    assert contents("then") == whole


def test_the_plan_tells_the_date_and_what_the_template_adds(
    given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(FIRST, monkeypatch)
    told = CliRunner().invoke(
        app, ["generate", "--dry-run", "--model", str(given["model"]), "--prompts", "p.jsonl"]
    )
    assert "date in the template: 2026-03-07" in told.output
    assert "system text of the template: Today is" in told.output


def test_training_takes_the_date_of_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    on(LATER, monkeypatch)
    Path("run").mkdir()
    Path("run/config.yaml").write_text("date: 2026-03-07\n")
    for data, day in (("run", FIRST), ("rows.jsonl", LATER)):
        settings = prepare.on_its_day(resolve_training("sft", {"data": data}))
        assert settings.date == day
    assert prepare.on_its_day(resolve_training("sft", {"data": "x"}), "2026-03-07").date == FIRST
    own = resolve_training("sft", {"data": "run", "date": "2025-01-01"})
    assert prepare.on_its_day(own).date == date(2025, 1, 1)
