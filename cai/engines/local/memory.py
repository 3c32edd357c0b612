"""How much memory there is, and what to do when it runs out."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

# On CPUs, on Apple's GPUs and in cuBLAS torch raises a plain RuntimeError, known by its words.
_WORDS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def attempt(work: Callable[[], T]) -> T | None:
    """What `work` gives, or None if memory ran out; then all that it held has been let go."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    if torch.cuda.is_available():
        gc.collect()  # a failed pass may hang in reference cycles with its tensors
        torch.cuda.empty_cache()
    return None


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory was not enough."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in _WORDS
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a device; on a CPU within the limit of our container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return host_memory()


def host_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of main memory that are free or hold what can be read again from disk."""
    try:
        lines = dict(line.split(":") for line in (proc / "meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([free, *_limits(proc, cgroups)])


def _limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """What is left of the limit of each control group (version 2) that this process is in."""
    with contextlib.suppress(OSError, ValueError):
        own = (proc / "self/cgroup").read_text().splitlines()[-1].partition("::")[2].strip("/")
        for folder in [cgroups / own, *(cgroups / own).parents]:
            if not folder.is_relative_to(cgroups):
                break
            with contextlib.suppress(OSError, ValueError):
                most = int((folder / "memory.max").read_text())  # ValueError: "max"
                stat = dict(x.split() for x in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / "memory.current").read_text()) - int(stat["inactive_file"])
                yield max(0, most - used)
