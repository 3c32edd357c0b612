"""How a vLLM server is begun: which Python, which flags; and what its log says in the end."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cai.errors import CaiError

LAST_LINES = 15
CPU_CONTEXT = 4096
CPU_BLOCK = 32  # tokens; beginnings are shared in whole blocks, of 128 otherwise


def interpreter() -> str:
    """The Python that has vLLM; raises `CaiError` with how to get one."""
    named = os.environ.get("CAI_VLLM_PYTHON")
    if named:
        if shutil.which(named):
            return named
        raise CaiError(f"CAI_VLLM_PYTHON={named}: no such program", "Name the python of its venv.")
    if importlib.util.find_spec("vllm") is not None:
        return sys.executable
    raise CaiError(
        "vllm:… needs vLLM, which is not installed",
        "Install it in an environment of its own and set CAI_VLLM_PYTHON=VENV/bin/python, or give "
        "the address of a server: http://host:8000/v1#name.",
    )


def flags(
    model: str, parallel: int, given: Sequence[str], memory: Sequence[int | None]
) -> list[str]:
    """Flags of a server for many short calls with shared beginnings; those `given` win.

    Args:
        model: As `VllmEngine` has it.
        parallel: GPUs of the server.
        given: The user's own flags.
        memory: MiB of each GPU, None where nobody knows; empty for a server on the CPU.
    """
    from cai.engines.local.weights import split_revision

    name, revision = split_revision(model)
    chosen: dict[str, str | None] = {
        "--model": name,
        "--enable-prefix-caching": None,
        "--enable-prompt-tokens-details": None,
        "--scheduling-policy": "priority",
    }
    if revision:
        chosen["--revision"] = revision
    if memory:
        sizes = [size for size in memory if size is not None]
        if sizes:
            # Room for the cache of about so many answers beside weights that fill half a GPU.
            chosen["--max-num-seqs"] = str(min(512, max(32, min(sizes) // 160)))
        chosen["--tensor-parallel-size"] = str(parallel)
    else:
        # Prefilling a seeded request in parts ends vLLM 0.32 on a CPU.
        chosen |= {"--enforce-eager": None, "--no-enable-chunked-prefill": None}
        chosen |= {
            "--max-model-len": str(CPU_CONTEXT),
            "--max-num-batched-tokens": str(CPU_CONTEXT),
            "--block-size": str(CPU_BLOCK),
            "--max-num-seqs": "256",  # as in process; a server runs half of that by default
        }
    names = {flag.partition("=")[0] for flag in given}
    defaults = {flag: value for flag, value in chosen.items() if flag not in names}
    return [part for flag, value in defaults.items() for part in (flag, value) if part is not None]


def value_of(flag: str, args: Sequence[str]) -> str | None:
    """What stands after a flag, or after its equals sign; of several the last, as vLLM takes it."""
    value = None
    for arg, following in itertools.pairwise([*args, ""]):
        name, equals, rest = arg.partition("=")
        if name.replace("_", "-") == flag:
            value = rest if equals else following
    return value


def last_lines(log: Path) -> str:
    """The end of a log: from its last error on, where it names one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = [n for n, line in enumerate(lines) if "Error" in line or "error:" in line]
    at = max(0, telling[-1] - LAST_LINES + 1) if telling else max(0, len(lines) - LAST_LINES)
    return "\n".join(lines[at : at + LAST_LINES]) or "(it said nothing)"
