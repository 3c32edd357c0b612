"""The optional parts of the installation: what each needs, and the command that brings it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from cai.errors import CaiError

EXTRAS = {
    "local": ("torch", "transformers", "gguf", "accelerate"),
    "train": ("trl", "peft"),
    "ray": ("ray",),
}
_CLONE = Path(__file__).parent.parent


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def install_command(extra: str) -> str:
    """The command that installs an extra into this Python, from the clone that runs or from one."""
    pip = f"{shlex.quote(sys.executable)} -m pip install --constraint constraints.txt"
    if (_CLONE / "constraints.txt").is_file():
        return f"cd {shlex.quote(str(_CLONE))} && {pip} -e '.[{extra}]'"
    return f"{pip} '.[{extra}]', in a clone of the project"


def require(extra: str, what: str) -> None:
    """Raise `CaiError`, with the command to install it, unless an extra is there."""
    lacking = missing(extra)
    if lacking:
        raise CaiError(
            f"{what} needs {', '.join(lacking)}, not installed here",
            f"Install it: {install_command(extra)}",
        )
