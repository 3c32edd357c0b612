"""Which GPUs there are, by stand-ins for the programs that tell, and who has which.

None of this has run on a machine with a GPU.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cai.engines import gpus
from cai.engines.gpus import Gpus, gpu_memory, gpus_for, nvidia_memory, take_for_model, visible
from cai.engines.naming import engine_for, gpus_of
from cai.engines.server import vllm, vllm_command
from cai.errors import CaiError

Put = Callable[..., str]

ROCM = """{"card0": {"VRAM Total Memory (B)": "206141652992", "VRAM Total Used Memory (B)": "1"},
"card1": {"VRAM Total Memory (B)": "206141652992", "VRAM Total Used Memory (B)": "2"},
"system": {"Driver version": "6.14", "PID7": "python3, 0, 0, 0"}}"""
AMD = """{"gpu_data": [{"gpu": 0, "vram": {"size": {"value": 196592, "unit": "MB"}}},
{"gpu": 1, "vram": {"size": {"value": 196592, "unit": "MB"}}}]}"""


@pytest.fixture(autouse=True)
def _nobody_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):
        monkeypatch.delenv(name, raising=False)
    assert not gpus._of_servers
    assert not gpus._of_models
    yield
    gpus._of_servers.clear()
    gpus._of_models.clear()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a program on the path that prints something, or runs some shell."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def put(name: str, text: str = "", *, shell: str = "") -> str:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{shell or f'cat <<END{chr(10)}{text}{chr(10)}END'}\n")
        path.chmod(0o755)
        return str(path)

    return put


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """A package `vllm` that is on some platform, for the Python that runs the tests."""
    package = tmp_path / "packages" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("print('INFO: hello')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)

    def be(kind: str, count: str, memory: str, variable: str = "CUDA_VISIBLE_DEVICES") -> str:
        (package / "platforms.py").write_text(
            "class current_platform:\n"
            f"    device_type = {kind!r}\n"
            f"    device_control_env_var = {variable!r}\n"
            f"    def device_count(): {count}\n"
            f"    def get_device_total_memory(n): {memory}\n"
        )
        return sys.executable

    return be


# ---- which there are


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("81559\n81559", (81_559, 81_559)),
        ("[N/A]", (None,)),
        ("[Not Supported]\n24564", (None, 24_564)),
        ("No devices were found", ()),
        ("", ()),
    ],
)
def test_what_nvidia_smi_says(program: Put, text: str, memory: tuple[int | None, ...]) -> None:
    program("nvidia-smi", text)
    assert nvidia_memory() == memory
    assert gpus_for("/no/python") == Gpus(memory, tuple(str(n) for n in range(len(memory))))


def test_where_nvidia_smi_knows_no_memory_it_lists_the_gpus(program: Put) -> None:
    listed = "GPU 0: NVIDIA Thor (UUID: GPU-1)\nGPU 1: NVIDIA Thor (UUID: GPU-2)"
    program("nvidia-smi", shell=f'[ "$1" = -L ] || exit 6\necho "{listed}"')
    assert nvidia_memory() == (None, None)
    program("nvidia-smi", shell="echo 'NVIDIA-SMI has failed'; exit 9")
    assert nvidia_memory() == ()


@pytest.mark.parametrize(
    ("name", "text", "memory"),
    [
        ("rocm-smi", ROCM, (196_592, 196_592)),
        ("rocm-smi", "WARNING: low power\n\ndevice,VRAM Total Memory (B)\ncard0,5\ncard1,5", None),
        ("rocm-smi", "GPU[0]\t\t: VRAM Total: 5\nGPU[0]\t\t: Used: 1\nGPU[1]\t\t: VRAM: 5", None),
        ("amd-smi", AMD, None),
        ("amd-smi", "GPU: 0\n    VRAM:\n        SIZE: 196592 MB\n\nGPU: 1\n    VRAM:", None),
    ],
)
def test_what_the_programs_of_amd_say(
    program: Put, name: str, text: str, memory: tuple[int | None, ...] | None
) -> None:
    program(name, text)
    found = gpus_for("/no/python")
    assert found == Gpus(memory or (None, None), ("0", "1"))
    made = vllm_command.flags("m", 2, [], found.memory)
    assert "--enforce-eager" not in made
    assert ("--max-num-seqs" in made) == (memory is not None)
    assert made[made.index("--tensor-parallel-size") + 1] == "2"


def test_device_files_tell_of_gpus_where_no_program_does(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / "dev" / name).touch()
    assert gpus._device_files(tmp_path) == 0
    (tmp_path / "dev/nvidia0").touch()
    (tmp_path / "dev/nvidia1").touch()
    assert gpus._device_files(tmp_path) == 2


def test_nodes_that_compute_are_gpus_of_amd(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    assert gpus._device_files(tmp_path) == 1
    for n, units in enumerate((0, 304, 304, 304)):  # the first is the CPU
        node = tmp_path / "sys/class/kfd/kfd/topology/nodes" / str(n)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 0\nsimd_count {units}\nmem_banks 1\n")
    assert gpus._device_files(tmp_path) == 3


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (("cpu", "return 1", "return 2**34", "CPU_VISIBLE_MEMORY_NODES"), Gpus((), ())),
        (("cuda", "return 2", "return 192 * 2**30"), Gpus((196_608, 196_608), ("0", "1"))),
        (("cuda", "return 1", "raise NotImplementedError"), Gpus((None,), ("0",))),
        (
            ("xpu", "return 2", "return 2**34", "ZE_AFFINITY_MASK"),
            Gpus((16_384, 16_384), ("0", "1"), "ZE_AFFINITY_MASK"),
        ),
        (("tpu", "raise NotImplementedError", "return 2**34"), Gpus((16_384,), (), "")),
        (("", "return 0", "raise NotImplementedError"), None),
    ],
)
def test_vllm_is_asked_for_its_own_platform(
    platform: Put, said: tuple[str, ...], found: Gpus | None
) -> None:
    python = platform(*said)
    assert gpus.ask_vllm(python) == found
    if found is not None:
        assert gpus_for(python) == found


def test_the_build_of_vllm_wins_over_what_amds_program_says(program: Put, platform: Put) -> None:
    program("rocm-smi", ROCM)
    assert gpus_for(platform("cpu", "return 1", "return 1")) == Gpus((), ())
    assert gpu_memory() == (196_592, 196_592)


def test_who_does_not_answer_is_not_heard(program: Put) -> None:
    assert gpus.ask_vllm(program("python", "no vLLM here")) is None
    assert gpus.ask_vllm(program("python", shell="exit 3")) is None
    assert gpus.ask_vllm("/no/such/python") is None


@pytest.mark.vllm
@pytest.mark.skipif("CAI_VLLM_PYTHON" not in os.environ, reason="CAI_VLLM_PYTHON names no Python")
def test_the_real_vllm_says_that_it_runs_on_the_cpu() -> None:
    assert gpus.ask_vllm(os.environ["CAI_VLLM_PYTHON"]) == Gpus((), ())


def test_the_environment_says_which_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible(3) == ("0", "1", "2")
    for text, names in (
        ("2,0", ("2", "0")),
        ("GPU-1, MIG-2", ("GPU-1", "MIG-2")),
        ("1,-1,2", ("1",)),
        ("", ()),
    ):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        assert visible(3) == names
    assert gpus.restricted(["1"]) == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,3")
    assert visible(8) == ("2", "3")
    both = {"CUDA_VISIBLE_DEVICES": "3", "HIP_VISIBLE_DEVICES": "3"}
    assert gpus.restricted(["3"]) == both
    assert gpus.restricted(["1"], "ZE_AFFINITY_MASK") == {"ZE_AFFINITY_MASK": "1"}


# ---- a server


@pytest.fixture
def saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Put) -> Path:
    """What the stand-in for vLLM's server saw; with -c its Python is the real one."""
    fake = Path(__file__).parent / "server" / "fake_vllm.py"
    python = program(
        "python-of-vllm",
        shell=f'[ "$1" = -c ] && exec {sys.executable} "$@"\nshift 2\n'
        f'exec {sys.executable} {fake} "$@"',
    )
    monkeypatch.setenv("CAI_VLLM_PYTHON", python)
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_VLLM_SAW", str(tmp_path / "saw"))
    return tmp_path / "saw"


def started(engine: vllm.VllmEngine, saw: Path) -> list[str]:
    """What a server is started with."""

    async def run() -> list[str]:
        try:
            await engine.start()
            return saw.read_text().split("\n")
        finally:
            await engine.close()

    return asyncio.run(run())


def test_a_server_on_amd_gets_the_flags_of_a_gpu(saw: Path, program: Put) -> None:
    program("rocm-smi", ROCM)
    lines = started(vllm.VllmEngine("org/m", tensor_parallel=2), saw)
    assert "GPUS=0,1" in lines
    assert not {"--enforce-eager", "--max-model-len"} & {*lines}
    assert "VLLM_CPU_KVCACHE_SPACE" not in lines
    with pytest.raises(CaiError, match="3 servers of 1 GPUs on a machine with 2"):
        started(vllm.VllmEngine("org/m", replicas=3), saw)


def test_a_server_with_the_machines_own_memory_gets_the_flags_of_a_gpu(
    saw: Path, program: Put
) -> None:
    program("nvidia-smi", "[N/A]")
    lines = started(vllm.VllmEngine("org/m"), saw)
    assert "GPUS=0" in lines
    assert not {"--enforce-eager", "--max-num-seqs"} & {*lines}


def test_a_server_that_nothing_but_vllm_tells_of_gets_them_too(saw: Path, platform: Put) -> None:
    platform("cuda", "return 1", "return 2**36")
    lines = started(vllm.VllmEngine("org/m"), saw)
    assert "GPUS=0" in lines
    assert "--enforce-eager" not in lines
    platform("cpu", "return 1", "return 2**36")
    lines = started(vllm.VllmEngine("org/m"), saw)
    assert "GPUS=" in lines
    assert "--enforce-eager" in lines


def test_gpus_that_are_hidden_are_not_used(
    saw: Path, program: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("nvidia-smi", "80000\n80000")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(CaiError, match="1 servers of 1 GPUs on a machine with 0"):
        started(vllm.VllmEngine("org/m"), saw)


# ---- who has which


def test_models_in_process_and_servers_are_kept_apart(saw: Path, program: Put) -> None:
    program("nvidia-smi", "80000\n80000\n80000\n80000")
    assert take_for_model("judge", "cuda", 4) == ("cuda:0", "0")
    assert "GPUS=1,2" in started(vllm.VllmEngine("org/m", tensor_parallel=2), saw)
    with pytest.raises(CaiError, match="1 servers of 4 GPUs on a machine with 4, 1 of them taken"):
        started(vllm.VllmEngine("org/m", tensor_parallel=4), saw)
    gpus.model_is_gone("0")
    assert "GPUS=0,1,2,3" in started(vllm.VllmEngine("org/m", tensor_parallel=4), saw)


def test_a_model_gets_what_servers_left() -> None:
    all_of_them = [str(n) for n in range(3)]
    assert gpus.take_for_servers(all_of_them, 1, 1) == ["0"]
    assert take_for_model("a", "cuda", 3) == ("cuda:1", "1")
    assert take_for_model("b", "cuda", 3) == ("cuda:2", "2")
    assert take_for_model("c", "cuda", 3) == ("cuda:1", "1")  # shared with another model alone
    with pytest.raises(CaiError, match="c: GPU 0 belongs to a vllm: server"):
        take_for_model("c", "cuda:0", 3)
    with pytest.raises(CaiError, match="torch sees 3 GPUs, and the device is cuda:7"):
        take_for_model("c", "cuda:7", 3)
    gpus.model_is_gone("1")
    with pytest.raises(CaiError, match="3 of them taken"):
        gpus.take_for_servers(all_of_them, 1, 1)
    gpus.model_is_gone("1")
    assert gpus.take_for_servers(all_of_them, 1, 1) == ["1"]
    gpus.let_go(["0", "1"])
    gpus.model_is_gone("2")
    assert gpus.take_for_servers(all_of_them, 3, 1) == all_of_them
    with pytest.raises(CaiError, match="each of 3 GPUs belongs"):
        take_for_model("c", "cuda", 3)


def test_names_in_the_environment_are_the_same_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch counts what it sees from 0, whatever a cluster gave us."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,2,4")
    assert take_for_model("a", "cuda:1", 3) == ("cuda:1", "2")
    assert gpus.take_for_servers(visible(8), 2, 1) == ["6", "4"]
    with pytest.raises(CaiError, match="belongs to a vllm: server"):
        take_for_model("b", "cuda:2", 3)


def test_servers_leave_the_gpu_that_the_settings_name_for_models(saw: Path, program: Put) -> None:
    """The servers may be started first."""
    program("nvidia-smi", "80000\n80000")
    engine = engine_for("vllm:org/m", device="cuda:0")
    assert isinstance(engine, vllm.VllmEngine)
    assert "GPUS=1" in started(engine, saw)
    both = engine_for("vllm:org/m", device="cuda:0", tensor_parallel=2)
    assert isinstance(both, vllm.VllmEngine)
    assert "GPUS=1,0" in started(both, saw)


def test_gpus_that_a_worker_holds() -> None:
    for name, device, number in (
        ("default", "auto", 1),
        ("default", "cuda:1", 1),
        ("default", "cpu", 0),
        ("default", "mps", 0),
        ("vllm:org/m", "cpu", 2),
        ("http://host/v1", "auto", 0),
        ("scripted", "auto", 0),
    ):
        assert gpus_of(name, device=device, tensor_parallel=2) == number
