"""Constitutional AI as a tool: a YAML constitution and prompts in, revised SFT data out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cai.config import Settings
    from cai.dataset.run import Run
    from cai.generation.job import generate

__version__ = "0.1.0"
__all__ = ["Run", "Settings", "__version__", "generate"]

_HOME = {"Run": "cai.dataset.run", "Settings": "cai.config", "generate": "cai.generation.job"}


def __getattr__(name: str) -> Any:
    """Import on first use: `import cai` and `cai --help` stay fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'cai' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
