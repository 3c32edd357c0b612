"""The GPUs of this machine: which there are, and which of them a model of this process has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cai.errors import CaiError

CUDA = "CUDA_VISIBLE_DEVICES"
_HIP = "HIP_VISIBLE_DEVICES"  # AMD's own name; vLLM wants both to say the same
_MARK = "cai-platform:"
# The platform that vLLM itself would run on; what it cannot tell of memory is null.
_ASK = f"""
import json
from vllm.platforms import current_platform as platform
def told(what, *given):
    try: return what(*given)
    except Exception: return None
count = told(lambda: platform.device_count())
memory = [told(platform.get_device_total_memory, n) for n in range(count or 1)]
variable = getattr(platform, "device_control_env_var", "")
known = [platform.device_type, count, memory, variable]
print({_MARK!r} + json.dumps(known))
"""
_ASK_WITHIN = 300.0  # seconds: an import from a slow disk

_lock = threading.Lock()  # models are loaded in threads
_of_servers: set[str] = set()
_of_models: Counter[str] = Counter()


class Gpus(NamedTuple):
    """What vLLM servers can run on; without `memory` that is the CPU.

    Attributes:
        memory: MiB of each GPU, None where nobody tells (it may be the machine's own).
        ids: Their names in `variable`, of those alone that a cluster gave us.
        variable: What tells a process which it may use; empty if nobody knows.
    """

    memory: tuple[int | None, ...]
    ids: tuple[str, ...]
    variable: str = CUDA


def gpus_for(python: str) -> Gpus:
    """The GPUs of the vLLM in that Python: by NVIDIA's word, else vLLM's own, else by traces."""
    memory = nvidia_memory()
    ids = visible(len(memory))
    if memory and ids:
        return Gpus(memory, ids)
    gpus = ask_vllm(python)
    if gpus is not None:
        return gpus
    memory = memory or gpu_memory()
    return Gpus(memory, visible(len(memory)))


def gpu_memory() -> tuple[int | None, ...]:
    """Memory of each GPU in MiB, None where nobody tells: NVIDIA's, else AMD's."""
    return nvidia_memory() or _amd_memory() or (None,) * _device_files()


def visible(count: int, variable: str = CUDA) -> tuple[str, ...]:
    """Names of the GPUs that this process may use, of so many that are there."""
    value = os.environ.get(variable, os.environ.get(_HIP) if variable == CUDA else None)
    if value is None:
        return tuple(str(n) for n in range(count))
    names = [name.strip() for name in value.split(",")]
    ends = [n for n, name in enumerate(names) if name in ("", "-1")]  # as CUDA reads it
    return tuple(names[: ends[0]] if ends else names)


def restricted(gpus: Sequence[str], variable: str = CUDA) -> dict[str, str]:
    """The environment in which a process sees these GPUs alone."""
    names = [variable, *([_HIP] if variable == CUDA and _HIP in os.environ else [])]
    return dict.fromkeys(names, ",".join(gpus))


# ---- which there are


def nvidia_memory() -> tuple[int | None, ...]:
    """Memory of each NVIDIA GPU in MiB; None where it is the machine's own (GB10, Jetson)."""
    query = ["--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    lines = [line.strip() for line in _said("nvidia-smi", *query).splitlines()]
    if lines and all(line.isdigit() or line.strip("[]") in _UNTOLD for line in lines):
        return tuple(int(line) if line.isdigit() else None for line in lines)
    listed = [line for line in _said("nvidia-smi", "-L").splitlines() if line.startswith("GPU ")]
    return (None,) * len(listed)


_UNTOLD = ("N/A", "Not Supported", "Not Found", "Unknown Error", "Insufficient Permissions")


def _amd_memory() -> tuple[int | None, ...]:
    for program, *how in (
        ("rocm-smi", "--showmeminfo", "vram", "--json"),
        ("amd-smi", "static", "--vram", "--json"),
    ):
        text = _said(program, *how)
        # Both changed the form of their answer more than once: the numbers of the GPUs stay.
        cards = dict.fromkeys(re.findall(r"(?i)\b(?:card|gpu)\W{0,5}(\d+)\b", text))
        if cards:
            sizes = re.findall(r'"VRAM Total Memory \(B\)":\s*"?(\d+)', text)
            if len(sizes) == len(cards):
                return tuple(int(size) // 2**20 for size in sizes)
            return (None,) * len(cards)
    return ()


def _device_files(root: Path = Path("/")) -> int:
    """How many GPUs have a device file or, being AMD's, a node with units that compute."""
    nvidia = [p for p in (root / "dev").glob("nvidia*") if p.name[6:].isdigit()]
    if nvidia or not (root / "dev/kfd").exists():
        return len(nvidia)
    nodes = (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties")
    computing = [p for p in nodes if re.search(r"^simd_count [1-9]", p.read_text(), re.M)]
    return max(1, len(computing))


def _said(program: str, *how: str) -> str:
    """What a program prints; nothing if it is not there or fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        return subprocess.run(
            [path, *how], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""


def ask_vllm(python: str) -> Gpus | None:
    """What vLLM says of its own platform; None if it says nothing."""
    env = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    env = {k: v for k, v in env.items() if not k.startswith(("CAI_API_KEY", "OPENAI_API_KEY"))}
    try:
        answer = subprocess.run(
            [python, "-c", _ASK], env=env, capture_output=True, text=True, timeout=_ASK_WITHIN
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line for line in answer.splitlines() if line.startswith(_MARK)]
    if not lines:
        return None
    kind, count, sizes, variable = json.loads(lines[-1].removeprefix(_MARK))
    if kind == "cpu":
        return Gpus((), ())
    if not kind:  # it finds nothing to run on
        return None
    memory = tuple(None if size is None else int(size) // 2**20 for size in sizes)
    return (
        Gpus(memory, (), "") if count is None else Gpus(memory, visible(count, variable), variable)
    )


# ---- who has which


def take_for_servers(
    gpus: Sequence[str], servers: int, each: int, *, last: str = "cuda"
) -> list[str]:
    """GPUs that no model of this process has.

    Args:
        gpus: Names of all.
        servers: How many servers there are.
        each: GPUs of each.
        last: The device of models in this process: if it names a GPU, that is taken last.

    Raises:
        CaiError: There are too few.
    """
    with _lock:
        free = [gpu for gpu in gpus if gpu not in _of_servers and gpu not in _of_models]
        index = last.partition(":")[2]
        last_gpu = gpus[int(index)] if index.isdigit() and int(index) < len(gpus) else None
        free.sort(key=lambda gpu: gpu == last_gpu)
        if servers * each > len(free):
            note = f", {len(gpus) - len(free)} of them taken" if len(free) < len(gpus) else ""
            raise CaiError(
                f"{servers} servers of {each} GPUs on a machine with {len(gpus)}{note}",
                "Lower --replicas or --tensor-parallel, name one model for several roles, or put "
                "models in this process on the CPU (--set device=cpu).",
            )
        names = free[: servers * each]
        _of_servers.update(names)
        return names


def let_go(gpus: Sequence[str]) -> None:
    """Servers have ended."""
    with _lock:
        _of_servers.difference_update(gpus)


def take_for_model(name: str, device: str, count: int) -> tuple[str, str]:
    """A GPU for a model in this process, as torch names it and by its name in the environment.

    `cuda` is a free one; if there is none, one that another such model has. `cuda:1` is that one.

    Args:
        name: Of the model.
        device: `cuda` or `cuda:1`.
        count: GPUs that torch sees.

    Raises:
        CaiError: There is none, or servers have it.
    """
    gpus = visible(count)[:count]
    index = device.partition(":")[2]
    with _lock:
        if index:
            candidates = [int(index)] if int(index) < len(gpus) else []
        else:
            candidates = sorted(range(len(gpus)), key=lambda n: _of_models[gpus[n]])
        if not candidates:
            raise CaiError(
                f"{name}: torch sees {count} GPUs, and the device is {device}",
                "Name another: --set device=cpu, or cuda:0 for the first.",
            )
        open_to_us = [n for n in candidates if gpus[n] not in _of_servers]
        if not open_to_us:
            which = f"GPU {gpus[candidates[0]]}" if index else f"each of {len(gpus)} GPUs"
            raise CaiError(
                f"{name}: {which} belongs to a vllm: server of this run",
                "Lower --replicas or --tensor-parallel, or set device=cpu.",
            )
        _of_models[gpus[open_to_us[0]]] += 1
        return f"cuda:{open_to_us[0]}", gpus[open_to_us[0]]


def model_is_gone(gpu: str) -> None:
    with _lock:
        _of_models[gpu] -= 1
        if not _of_models[gpu]:
            del _of_models[gpu]
