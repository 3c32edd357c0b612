"""`cai`, and Python, in a process of its own that talks to a stand-in of the Hub."""

from __future__ import annotations

import subprocess
import sys


def cai(environment: dict[str, str], *arguments: str, fails: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cai.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == int(fails), done.stdout + done.stderr
    return done.stdout + done.stderr


def python(environment: dict[str, str], code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
