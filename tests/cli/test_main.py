from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import cai
import cai.errors
from cai.engines.local import smollm
from cai.engines.local.transformers import TransformersEngine
from tests.helpers import take_ctrl_c

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


def command(*arguments: str, code: int = 0) -> tuple[str, str]:
    done = subprocess.run([*CAI, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_help_names_every_option_and_setting() -> None:
    from cai.config import Settings

    text, _ = command("generate", "--help")
    wanted = "constitution prompts model stages revisions preset limit out seed config set"
    wanted += " templates system kind test-share max-open-rows retry-failed reuse dry-run yes"
    for option in wanted.split():
        assert f"--{option}" in text
    for setting in Settings.model_fields:
        assert setting in text.replace("-", "_"), setting


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "datasets", "pyarrow", "numpy", "pydantic", "aiohttp"]
    code = (
        "import sys; sys.argv = ['cai', '--help']\n"
        "from cai.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"found = [m for m in {heavy!r} if m in sys.modules]\n"
        "print('HEAVY', found)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_generate_show_and_again(prompts_file: Callable[..., str]) -> None:
    path = prompts_file(5)
    arguments = ("generate", "--model", "scripted:change=0.9", "--prompts", path, "--out", "run")
    out, _ = command(*arguments)
    assert "5 (5 borderline)" in out
    assert "Data: run" in out
    out, err = command(*arguments)
    assert "0 made" in out
    out, _ = command("show", "run")
    assert "sft.train" in out
    prompt_id = cai.Run.load("run").trace_ids(1)[0]
    out, _ = command("show", "run", prompt_id)
    assert "verdict" in out
    assert "Question number" in out
    out, _ = command("show", "run", "--first")
    assert "{+" in out
    _, err = command("show", "run", "nobody", code=1)
    assert "no prompt has the id nobody" in err


def test_a_changed_seed_asks_for_yes(prompts_file: Callable[..., str]) -> None:
    path = prompts_file(5)
    base = ("generate", "--model", "scripted", "--prompts", path, "--out", "run")
    command(*base)
    _, err = command(*base, "--seed", "1", code=1)
    assert "seed: 0 → 1" in err
    assert "Standing rows that are replaced: 5" in err
    assert "--yes" in err
    out, _ = command(*base, "--seed", "1", "--yes")
    assert "Data: run" in out


def test_dry_run_prints_the_plan_and_writes_nothing(prompts_file: Callable[..., str]) -> None:
    path = prompts_file(5)
    base = ("generate", "--model", "scripted", "--prompts", path, "--out", "run")
    out, _ = command(*base, "--dry-run", "--system", "Be kind.")
    assert "Rows: 5, of which 0 are whole" in out
    assert "Calls to make: 5 to 215" in out
    assert "system: Be kind." in out
    assert "Question number 0" in out
    assert "then, by principle" in out
    assert not Path("run").exists()
    command(*base)
    before = {p: p.stat().st_mtime_ns for p in Path("run").rglob("*.parquet")}
    out, _ = command(*base, "--dry-run")
    assert "of which 5 are whole" in out
    assert "Calls to make: 0 to 0" in out
    out, err = command(*base, "--dry-run", "--seed", "1")
    assert "Calls to make: 5 to 215" in out
    assert "seed: 0 → 1" in err
    assert {p: p.stat().st_mtime_ns for p in Path("run").rglob("*.parquet")} == before


def test_dry_run_counts_what_a_retry_would_draw(prompts_file: Callable[..., str]) -> None:
    path = prompts_file(20)
    base = ("generate", "--model", "scripted:reject=0.4", "--prompts", path, "--out", "run")
    command(*base)
    failed = len({f.prompt_id for f in cai.Run.load("run").failures})
    assert failed
    out, _ = command(*base, "--dry-run")
    assert "Calls to make: 0 to 0" in out
    out, _ = command(*base, "--dry-run", "--retry-failed")
    assert f"Calls to make: {failed} to" in out
    assert not list(Path("run").glob("calls.sqlite-*"))


def test_dry_run_loads_no_model() -> None:
    if smollm.packaged_gguf() is not None:  # what its template writes is read once, and kept
        TransformersEngine(smollm.NAME).known_identity()
    code = (
        "import sys; sys.argv = 'cai generate --dry-run --limit 3'.split()\n"
        "from cai.cli import main\n"
        "main.__globals__['app'](standalone_mode=False)\n"
        "print('HEAVY', [m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("--constitution", "nowhere.yaml"), "nowhere.yaml: no such constitution", "default.yaml"),
        (("--prompts", "nowhere.jsonl"), "nowhere.jsonl", "seeds"),
        (("--preset", "bai"), "preset", "bai2022"),
        (("--revisions", "99"), "revisions", "16"),
        (
            ("--set", "policy_temprature=1"),
            "unknown setting 'policy_temprature'",
            "policy_temperature",
        ),
        (("--set", "revisions"), "no equals sign", "key=value"),
        (("--config", "nowhere.yaml"), "nowhere.yaml", "--config"),
        (("--templates", "nowhere"), "no such folder", "jinja"),
        (("--kind", "evil"), "kind", "red-team"),
        (("--config", "date.yaml"), "date.yaml", "key: value"),
        (("--set", "seed=2024-13-45"), "seed", "seed"),
        (("--system", "a\udcff"), "system", "UTF-8"),
        (("--templates", "broken"), "cannot be filled in", "Mend"),
        (("--stages", "sft,dpo"), "stages", "sft"),
        (("--model", "scripted:speed=9"), "speed", "latency"),
        (("--model", "http://me:secret@localhost/v1#m"), "key in an address", "environment"),
        (("--reuse", "nowhere"), "not a run folder", "--reuse"),
    ],
)
def test_wrong_options_are_clear_errors(arguments: tuple[str, ...], said: str, hint: str) -> None:
    Path("date.yaml").write_text("system: 2024-13-45\n")
    Path("broken").mkdir()
    Path("broken/critique.jinja").write_text("{{ request.foo.bar }} {{ why }}")
    base = () if "--model" in arguments else ("--model", "scripted")
    _, err = command("generate", *base, *arguments, "--out", "run", code=1)
    assert said in err
    assert hint in err
    assert not Path("run").exists()


def test_nothing_hostile_reaches_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07[bold]x[/bold] \x1b[31m\u202etxet \x9b31m"
    rows = [{"id": "[red]a[/red]", "prompt": hostile}]
    Path("p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = ("--model", "scripted", "--prompts", "p.jsonl", "--out", "run")
    dry, _ = command("generate", *base, "--dry-run")
    command("generate", *base)
    shown, _ = command("show", "run", "[red]a[/red]")
    listed, _ = command("show", "run")
    for text in (dry, shown, listed):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
        assert "[red]a[/red]" in text
    for text in (dry, shown):
        assert "[bold]x[/bold]" in text
        assert "\\x1b]0;owned\\x07" in text
    _, err = command("generate", "--constitution", "[bold]\x1b[2Jno.yaml", code=1)
    assert "[bold]\\x1b[2Jno.yaml" in err


def test_ctrl_c_says_that_the_work_is_kept_and_it_is(prompts_file: Callable[..., str]) -> None:
    path = prompts_file(40)
    model = "scripted:latency=0.2,slots=4,log=calls.log"
    base = ["generate", "--prompts", path, "--out", "run", "--model"]
    process = subprocess.Popen(
        [*CAI, *base, model],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_ctrl_c,
    )
    while not Path("calls.log").exists() or not Path("calls.log").read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped. What was done is kept" in err
    assert "Traceback" not in err
    command(*base, "scripted:log=calls.log")
    lines = Path("calls.log").read_text().splitlines()
    assert len(lines) - len(set(lines)) <= 2 * 4  # those in flight


def test_a_full_disk_is_a_clear_error(
    prompts_file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run/sft/.train.parquet.tmp")

    from cai.dataset import write

    path = prompts_file(5)
    with monkeypatch.context() as patched:
        patched.setattr(write._Table, "_flush", full)
        with pytest.raises(cai.errors.CaiError, match="No space"):
            cai.generate(model="scripted", prompts=path, out="run")
    run = cai.generate(model="scripted", prompts=path, out="run")
    assert run.manifest.calls["made"] == 0


def test_progress_bars_on_a_terminal(prompts_file: Callable[..., str]) -> None:
    path = prompts_file(5)
    parent, child = pty.openpty()
    with subprocess.Popen(
        [*CAI, "generate", "--model", "scripted:latency=0.1", "--prompts", path, "--out", "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(child)
        screen = b""
        # Read while it runs: it waits where nobody takes what it writes. The end is an error.
        with contextlib.suppress(OSError):
            while part := os.read(parent, 65_536):
                screen += part
    os.close(parent)
    assert process.returncode == 0
    assert "generating" in screen.decode()
    assert "rows/s" in screen.decode()
    assert "tokens/s" in screen.decode()
    assert "5/5" in screen.decode()
