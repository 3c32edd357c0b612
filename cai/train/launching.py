"""Many processes: the same command again, under accelerate's launcher."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cai.errors import CaiError

FILES = Path(__file__).parent / "launch"


def launcher(launch: str) -> list[str]:
    """The beginning of the command: our file for `ddp` or `fsdp2`, or the user's.

    Raises:
        CaiError: There is no such file, or no GPU for ours.
    """
    ours = FILES / f"{launch}.yaml"
    path = ours if ours.is_file() else Path(launch)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in FILES.glob("*.yaml")))
        raise CaiError(f"{launch}: no such file", f"Give {names}, or a file of accelerate config.")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path)]
    if path == ours:
        import torch

        if not torch.cuda.is_available():
            raise CaiError(
                f"--launch {launch} needs GPUs, and torch sees none",
                "Leave it out: one process trains on the CPU.",
            )
        command += ["--num_processes", str(torch.cuda.device_count())]
    return command


def launched(launch: str, arguments: Sequence[str]) -> int:
    """Run `cai` with these arguments in many processes and return the exit code."""
    command = [*launcher(launch), "-m", "cai.cli", *arguments]
    return subprocess.run(command, check=False).returncode
