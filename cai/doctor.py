"""What can run here, what a server can do, and what is missing."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from cai.engines.openai import OpenAIEngine, parse_address
from cai.engines.vllm import gpu_memory
from cai.engines.weights import default_model
from cai.errors import CaiError, CallError, EngineBusy
from cai.records import Sampling, user

_EXTRAS = {
    "local": ("torch", "transformers", "gguf", "accelerate"),
    "train": ("trl", "peft"),
}


class Finding(NamedTuple):
    """A line of the report; `ok` is None where nothing is wrong with either answer."""

    about: str
    ok: bool | None
    what: str
    mend: str = ""


def examine_machine() -> list[Finding]:
    """Python, the packages of each extra, the small model, GPUs, vLLM."""
    found = [Finding("python", True, f"{platform.python_version()}, {os.cpu_count()} cores")]
    for extra, names in _EXTRAS.items():
        there = {name: _version(name) for name in names}
        missing = [name for name, number in there.items() if number is None]
        said = ", ".join(f"{name} {number}" for name, number in there.items() if number)
        mend = f"pip install 'constitutional-ai[{extra}]'" if missing else ""
        lacks = f"missing: {', '.join(missing)}" if missing else ""
        found.append(Finding(extra, not missing, "; ".join(filter(None, [said, lacks])), mend))
    try:
        found.append(Finding("default model", True, default_model()))
    except CaiError as error:
        found.append(Finding("default model", False, error.message, error.hint))
    memory = gpu_memory()
    gpus = ", ".join(f"{m:,} MiB" for m in memory) or "none that nvidia-smi knows"
    found.append(Finding("GPUs", None, gpus))
    named = os.environ.get("CAI_VLLM_PYTHON")
    if named or importlib.util.find_spec("vllm") is not None:
        found.append(Finding("vllm:", True, named or f"vllm {_version('vllm')}"))
    else:
        mend = "Install vLLM in an environment of its own, set CAI_VLLM_PYTHON=VENV/bin/python."
        found.append(Finding("vllm:", None, "not installed", mend))
    return found


async def examine_server(name: str) -> list[Finding]:
    """What a server supports, each replica alone; `name` is `URL[,URL…][#name]`.

    Raises:
        CaiError: The name is no address.
    """
    urls, served = parse_address(name)
    found: list[Finding] = []
    for url in urls:
        engine = OpenAIEngine([url], served, timeout=60.0)
        try:
            await engine.start()
            found += [Finding(url, *line) for line in await _abilities(engine)]
        except CaiError as error:
            found.append(Finding(url, False, error.message, error.hint))
        except (CallError, EngineBusy) as error:
            found.append(Finding(url, False, str(error), "Look into the server's log."))
        finally:
            await engine.close()
    return found


async def _abilities(engine: OpenAIEngine) -> list[tuple[bool | None, str, str]]:
    labels = {
        "token": "labels: by their token ids",
        "top_logprobs": "labels: among the likeliest tokens (no token ids)",
        "votes": "labels: by drawn votes (no log-probabilities)",
    }
    better = "A server with log-probabilities gives sharper labels for one token each: vLLM."
    lines: list[tuple[bool | None, str, str]] = [
        (True, f"serves {engine.name} through {engine.api}", ""),
        (
            None if engine.method == "votes" else True,
            labels[engine.method],
            better * (engine.method == "votes"),
        ),
        (None, f"context: {f'{engine.context:,} tokens' if engine.context else 'not told'}", ""),
    ]
    drawn = [
        (await engine.generate([user("Write a line about the sea.")], _draw(seed))).text
        for seed in (1, 1, 2)
    ]
    heard = drawn[0] == drawn[1]
    lines.append((heard, "seeds: " + ("one seed, one answer" if heard else "not kept"), ""))
    abilities = await engine.abilities()
    for ability, there in abilities.items():
        lines.append((None, f"{ability}: {'yes' if there else 'no'}", ""))
    return lines


def _draw(seed: int) -> Sampling:
    return Sampling(temperature=1.0, max_tokens=16, seed=seed)


def examine(names: list[str]) -> list[Finding]:
    """The machine, and each server named."""

    async def servers() -> list[Finding]:
        return [finding for name in names for finding in await examine_server(name)]

    return examine_machine() + asyncio.run(servers())


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    return [finding._asdict() for finding in findings]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
