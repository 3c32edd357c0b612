"""The managed server: its start, flags and end with a stand-in, and all of it with real vLLM."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from jinja2 import Template

import cai
from cai.engines.base import CONTROL_TOKENS
from cai.engines.local import smollm
from cai.engines.local.chat_template import template_in
from cai.engines.local.model import fastest_on_cpu
from cai.engines.local.weights import default_model, resolve
from cai.engines.server import vllm, vllm_command
from cai.engines.server.rendering import rendered
from cai.errors import CaiError
from cai.records import Sampling, user
from tests.engines.conftest import CHATML
from tests.engines.server.simulated import FakeServer

REAL = os.environ.get("CAI_VLLM_PYTHON", "")
SHORT = {"policy_max_tokens": 48, "critic_max_tokens": 48, "reviser_max_tokens": 48}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that runs our stand-in for vLLM's module; the file says what it saw."""
    fake = Path(__file__).with_name("fake_vllm.py")
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {fake} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("CAI_VLLM_PYTHON", str(program))
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CAI_API_KEY", "sk-planted")
    monkeypatch.setenv("FAKE_VLLM_SAW", str(tmp_path / "saw"))
    return tmp_path / "saw"


def gone(pid: int) -> bool:
    """Whether a process has ended within some seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z"):
            return True
        time.sleep(0.1)
    return False


def test_a_server_is_started_used_and_ended(stand_in: Path, tmp_path: Path) -> None:
    run = cai.generate(model="vllm:org/model", limit=4, out=tmp_path / "run", test_share=0)
    pid, *seen = stand_in.read_text().split("\n")
    assert run.manifest.models["policy"] == "vllm:org/model"
    assert run.manifest.counts["traces.train"] == 4
    assert {"--enable-prefix-caching", "--no-enable-chunked-prefill", "org/model"} <= set(seen)
    assert not [line for line in seen if "API_KEY" in line]
    assert gone(int(pid))
    assert list((tmp_path / "cache" / "logs").glob("vllm-*.log"))


def test_a_template_that_writes_the_date_is_given_the_runs(stand_in: Path, tmp_path: Path) -> None:
    plain = {"chat_template": CHATML}
    dated = {"chat_template": "Today is {{ strftime_now('%d %B %Y') }}." + CHATML}
    thinks = {"chat_template": [{"name": "default", "template": "[THINK]" + CHATML}]}
    engines = {}
    for name, config in (("plain", plain), ("dated", dated), ("thinks", thinks)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"")
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        engines[name] = vllm.VllmEngine(str(folder), day=date(2001, 2, 3))
    assert len(engines["plain"].identity.split()) == 1
    assert engines["plain"].feeding() == {}
    assert engines["thinks"].identity.endswith(" reasoning=tags")
    assert engines["dated"].identity.endswith(" date=2001-02-03")
    assert engines["dated"].feeding() == {"date in the template": "2001-02-03"}

    async def flags(engine: vllm.VllmEngine) -> list[str]:
        try:
            await engine.start()
            return stand_in.read_text().split("\n")
        finally:
            await engine.close()

    assert "--chat-template" not in asyncio.run(flags(engines["plain"]))
    seen = asyncio.run(flags(engines["dated"]))
    held = Path(seen[seen.index("--chat-template") + 1]).read_text()
    assert "03 February 2001" in Template(held).render(messages=[], add_generation_prompt=False)
    own = tmp_path / "own.jinja"
    own.write_text("{{ strftime_now('%Y') }}")
    given = vllm.VllmEngine("org/m", args=f"--chat-template={own}", day=date(2001, 2, 3))
    assert given.identity == f"vllm:org/m --chat-template={own} date=2001-02-03"
    # The server's template is that of the tokenizer which it is told to take.
    dated_folder, plain_folder = str(tmp_path / "dated"), str(tmp_path / "plain")
    day = date(2001, 2, 3)
    other = vllm.VllmEngine(dated_folder, args=f"--tokenizer {plain_folder}", day=day)
    assert "--chat-template" not in asyncio.run(flags(other))
    assert not other.identity.endswith("date=2001-02-03")
    mistral = vllm.VllmEngine(dated_folder, args="--tokenizer-mode=mistral", day=day)
    assert mistral.feeding() == {}
    (tmp_path / "dated" / "tokenizer_config.json").write_text("[")
    with pytest.raises(CaiError, match=r"tokenizer_config\.json: cannot be read"):
        _ = vllm.VllmEngine(dated_folder, day=day).identity


def test_a_start_that_fails_shows_the_last_lines(stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(CaiError, match="no such flag: --wrong") as error:
        cai.generate(model="vllm:m", limit=1, out=tmp_path / "run", vllm_args="--wrong")
    assert "vllm-" in error.value.hint


def test_two_models_have_gpus_and_logs_of_their_own(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = tmp_path / "nvidia-smi"
    four.write_text("#!/bin/sh\nprintf '80000\\n80000\\n80000\\n80000\\n'\n")
    four.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    async def started(*engines: vllm.VllmEngine) -> list[str]:
        seen = []
        try:
            for engine in engines:
                await engine.start()
                lines = stand_in.read_text().split("\n")
                seen += [line for line in lines if line.startswith("GPUS=")]
        finally:
            for engine in engines:
                await engine.close()
        return seen

    first, second = (vllm.VllmEngine(name, tensor_parallel=2) for name in ("org/a", "org/b"))
    seen = asyncio.run(started(first, second))
    assert seen == ["GPUS=0,1", "GPUS=2,3"]
    assert len({*first.logs, *second.logs}) == 2
    again = (vllm.VllmEngine(name, tensor_parallel=3) for name in ("org/a", "org/b"))
    with pytest.raises(CaiError, match="1 servers of 3 GPUs on a machine with 4, 3 of them taken"):
        asyncio.run(started(*again))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")  # as a cluster gives them
    assert asyncio.run(started(vllm.VllmEngine("org/a"))) == ["GPUS=5"]


@pytest.mark.parametrize("flag", ["--api-key sk-x", "--api-key=sk-x", "--hf_token sk-x"])
def test_a_key_among_the_flags_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(CaiError, match="would be written down") as error:
        cai.generate(model="vllm:m", out=tmp_path / "run", vllm_args=f"--seed 1 {flag}")
    assert "sk-x" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_server_that_dies_in_the_middle_stops_the_run_with_its_last_lines(
    stand_in: Path,
) -> None:
    async def ask() -> None:
        engine = vllm.VllmEngine("org/model")
        await engine.start()
        try:
            pid = int(stand_in.read_text().split("\n")[0])
            os.kill(pid, signal.SIGKILL)
            assert gone(pid)
            await engine.generate([user("Hello?")], Sampling(temperature=1, max_tokens=9))
        finally:
            await engine.close()

    with pytest.raises(CaiError, match="vLLM ended while it served org/model") as error:
        asyncio.run(ask())
    assert "vllm-" in error.value.hint


def test_anothers_server_at_our_port_is_not_used(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer(name="model") as other:
        monkeypatch.setattr(vllm, "free_port", lambda: other.port)
        with pytest.raises(CaiError, match=r"not the server|ended before"):
            cai.generate(model="vllm:m", limit=1, out=tmp_path / "run")
        assert not other.asked


def test_the_server_ends_when_we_are_killed(stand_in: Path, tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "from cai.engines.server.vllm import VllmEngine\n"
        "async def main():\n"
        "    await VllmEngine('m').start()\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    pid = int(stand_in.read_text().split("\n")[0])
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(pid)


def test_flags_of_gpus_and_those_given() -> None:
    made = vllm_command.flags("org/m@abc", 2, ["--max-num-seqs=9"], [81_559, 81_559])
    pairs = dict(zip(made, [*made[1:], ""], strict=True))
    assert pairs["--model"] == "org/m"
    assert pairs["--revision"] == "abc"
    assert pairs["--tensor-parallel-size"] == "2"
    assert "--max-num-seqs" not in made  # given, and added as it is
    assert "--enforce-eager" not in made
    assert "--enforce-eager" in vllm_command.flags("m", 1, [], [])


def test_a_dry_run_converts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if smollm.packaged_gguf() is None:
        pytest.skip("the small model is not installed as a wheel")
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    assert vllm.VllmEngine("default").known_identity() is None
    assert not (tmp_path / "cache" / "models").exists()  # digests of files are remembered
    assert vllm.VllmEngine("org/m").known_identity() == "vllm:org/m"


def test_without_vllm_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_VLLM_PYTHON", "/no/such/python")
    with pytest.raises(CaiError, match="no such program"):
        vllm_command.interpreter()
    monkeypatch.delenv("CAI_VLLM_PYTHON")
    with pytest.raises(CaiError, match="not installed") as error:
        vllm_command.interpreter()
    assert "CAI_VLLM_PYTHON" in error.value.hint


@pytest.mark.parametrize(
    ("text", "holds"),
    [("<|im_end|>", True), ("</s>", True), ("[INST]", True), ("a <b> | c", False), ("x", False)],
)
def test_what_looks_like_a_special_token(text: str, holds: bool) -> None:
    assert bool(CONTROL_TOKENS.search(text)) is holds


@pytest.mark.vllm
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not REAL, reason="CAI_VLLM_PYTHON names no Python with vLLM: make test-vllm")
def test_real_vllm_by_name_and_by_address(tmp_path: Path) -> None:
    """4 of the shipped prompts, generated and labelled, through `vllm:` and through a URL.

    In bfloat16 a CPU that does not compute in it makes 11 of these calls a minute.
    """
    args = f"--dtype {fastest_on_cpu()}"
    short = {"system": "Answer in one short sentence.", "revisions": 1, "assess": False}
    given = {"limit": 4, "judge_principles": 2, "test_share": 0, **short, **SHORT}
    managed = cai.generate(model="vllm:default", vllm_args=args, out=tmp_path / "managed", **given)

    async def through_a_url() -> cai.Run:
        server = vllm.VllmEngine("default", args=args)
        await server.start()
        try:
            url = f"{server.urls[0]}#model"
            return await asyncio.to_thread(
                lambda: cai.generate(model=url, out=tmp_path / "url", **given)
            )
        finally:
            await server.close()

    for run in (managed, asyncio.run(through_a_url())):
        assert run.manifest.prompts["rows"] == 4
        assert run.manifest.calls["made"] > 4 * 3
        # First turns are shorter than a block of the cache; a judge's questions share their text.
        assert all("cached" in tokens for tokens in run.manifest.tokens.values())
        assert run.manifest.tokens["judge"]["cached"] > 0
        rows = [*run.traces["train"]]
        judged = [pair for row in rows for pair in row["pairs"] if pair["judgements"]]
        assert {j["method"] for pair in judged for j in pair["judgements"]} == {"token"}
        reasons = {failure.error for failure in run.failures}
        assert reasons <= {"truncated", "loop", "empty", "echo", "label mass"}, reasons


@pytest.mark.vllm
@pytest.mark.timeout(600)
@pytest.mark.skipif(not REAL, reason="CAI_VLLM_PYTHON names no Python with vLLM: make test-vllm")
def test_real_vllm_reads_the_date_that_it_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "dated"
    folder.mkdir()
    original = resolve(default_model())
    assert original is not None
    for file in original.iterdir():
        (folder / file.name).symlink_to(file)
    template = template_in(original, "small")
    assert template is not None
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text("Day {{ strftime_now('%d %b %Y') }}." + template)
    args = "--max-model-len 1024"

    async def prompt() -> str | None:
        engine = vllm.VllmEngine(str(folder), args=args, day=date(2001, 2, 3))
        await engine.start()
        try:
            turns = [{"role": "user", "content": "Why?"}]
            return await rendered(engine._beside, "model", turns, {})
        finally:
            await engine.close()

    told = asyncio.run(prompt())
    assert told is not None
    assert told.startswith("Day 03 Feb 2001.")
