"""Processes that serve models: begun in groups of their own, ended with us."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO

END_WITHIN = 20.0  # seconds until a server that was told to end is killed


def spawn(command: list[str], env: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process in a group of its own that ends when we do, even by kill -9 (on Linux)."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent_died = 1  # PR_SET_PDEATHSIG of prctl(2)

    def with_us() -> None:
        if libc is not None:
            libc.prctl(parent_died, signal.SIGTERM)

    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=with_us,
    )


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if sent == signal.SIGKILL or process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sent)
        until = time.monotonic() + END_WITHIN
        while any(p.poll() is None for p in processes) and time.monotonic() < until:
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
