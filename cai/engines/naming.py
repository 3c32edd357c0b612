"""One way to name a model, for every role.

`default` (the small model), a Hub name, a folder, or `scripted:option=value,…`.
"""

from __future__ import annotations

from typing import Literal

from cai.engines.base import Engine
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError


def engine_for(
    name: str,
    *,
    dtype: Literal["auto", "bfloat16", "float32"] = "auto",
    device: str = "auto",
    batch_size: int | None = None,
) -> Engine:
    """The engine that a name stands for; nothing is loaded before `start`.

    Raises:
        CaiError: The name has a form that no engine here serves, or its packages are missing.
    """
    if name.startswith("scripted:") or name == "scripted":
        return ScriptedEngine.parse(name.partition(":")[2])
    if "://" in name or name.startswith("vllm:"):
        raise CaiError(
            f"{name}: servers are not supported yet",
            "Give a Hub name, the folder of a model, or scripted:option=value,….",
        )
    from cai.engines.transformers import TransformersEngine, default_model

    if name == "default":
        name = default_model()
    return TransformersEngine(name, dtype=dtype, device=device, batch_size=batch_size)
