"""One way to name a model, for every role.

`default` (the small model), a Hub name, a folder, `http://host:8000/v1#name` (a server; replicas by
comma), `vllm:NAME` (a server of our own), or `scripted:option=value,…`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from cai.engines.base import Engine
from cai.engines.local import smollm
from cai.engines.local.weights import default_model
from cai.engines.scripted import ScriptedEngine


def _is_scripted(name: str) -> bool:
    return name == "scripted" or name.startswith("scripted:")


def at_server(name: str, base_url: str | None) -> str:
    """The name of a model, at the server `base_url` if it is a name alone."""
    if base_url is None or "://" in name or name.startswith("vllm:") or _is_scripted(name):
        return name
    return base_url if name == "default" else f"{base_url}#{name}"


def display_name(name: str) -> str:
    """The name of a model as a person would say it: no path, no address."""
    if _is_scripted(name):
        return "scripted"
    if "://" in name:
        return name.rpartition("#")[2] if "#" in name else "the model of a server"
    name = name.removeprefix("vllm:") or "default"
    if name == "default":
        name = default_model()
    if name == smollm.NAME:
        return f"{smollm.REPOSITORY.rpartition('/')[2]}, packaged"
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else name


def gpus_of(name: str, *, device: str, tensor_parallel: int) -> int:
    """GPUs that the engine of a name holds in the process that starts it."""
    if name.startswith("vllm:"):
        return tensor_parallel
    return 0 if "://" in name or _is_scripted(name) else int(device not in ("cpu", "mps"))


def engine_for(
    name: str,
    *,
    dtype: Literal["auto", "bfloat16", "float32"] = "auto",
    device: str = "auto",
    batch_size: int | None = None,
    timeout: float = 600.0,
    concurrency: int | None = None,
    tensor_parallel: int = 1,
    replicas: int = 1,
    vllm_args: str = "",
    day: date | None = None,
) -> Engine:
    """The engine that a name stands for; nothing is loaded before `start`.

    Raises:
        CaiError: The name has a form that no engine here serves, or its packages are missing.
    """
    if _is_scripted(name):
        return ScriptedEngine.parse(name.partition(":")[2])
    if "://" in name:
        from cai.engines.server.addresses import parse_address
        from cai.engines.server.openai import OpenAIEngine

        urls, served = parse_address(name)
        return OpenAIEngine(urls, served, timeout=timeout, concurrency=concurrency, day=day)
    if name.startswith("vllm:"):
        from cai.engines.server.vllm import VllmEngine

        return VllmEngine(
            name.removeprefix("vllm:") or "default",
            tensor_parallel=tensor_parallel,
            replicas=replicas,
            device=device,
            args=vllm_args,
            timeout=timeout,
            concurrency=concurrency,
            day=day,
        )
    from cai.engines.local.transformers import TransformersEngine

    if name == "default":
        name = default_model()
    return TransformersEngine(name, dtype=dtype, device=device, batch_size=batch_size, day=day)
