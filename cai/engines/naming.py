"""One way to name a model, for every role.

`default` (the small model), a Hub name, a folder, `http://host:8000/v1#name` (a server; replicas by
comma), or `scripted:option=value,…`.
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
    timeout: float = 600.0,
    concurrency: int | None = None,
) -> Engine:
    """The engine that a name stands for; nothing is loaded before `start`.

    Raises:
        CaiError: The name has a form that no engine here serves, or its packages are missing.
    """
    if name.startswith("scripted:") or name == "scripted":
        return ScriptedEngine.parse(name.partition(":")[2])
    if "://" in name:
        from cai.engines.openai import OpenAIEngine, parse_address

        urls, served = parse_address(name)
        return OpenAIEngine(urls, served, timeout=timeout, concurrency=concurrency)
    if name.startswith("vllm:"):
        raise CaiError(
            f"{name}: starting a server is not supported yet",
            "Start it yourself and give its address: http://host:8000/v1#name.",
        )
    from cai.engines.transformers import TransformersEngine, default_model

    if name == "default":
        name = default_model()
    return TransformersEngine(name, dtype=dtype, device=device, batch_size=batch_size)
