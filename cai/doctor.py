"""What can run here, what a server can do, and what is missing."""

from __future__ import annotations

import asyncio
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from cai.engines.gpus import gpu_memory
from cai.engines.local.chat_template import today
from cai.engines.local.weights import default_model
from cai.engines.server.addresses import parse_address
from cai.engines.server.openai import OpenAIEngine
from cai.engines.server.vllm_command import interpreter
from cai.errors import CaiError, CallError, EngineBusy
from cai.extras import EXTRAS, install_command
from cai.records import ChoiceMethod, Sampling, user


class Finding(NamedTuple):
    """A line of the report; `ok` is None where nothing is wrong with either answer."""

    about: str
    ok: bool | None
    what: str
    mend: str = ""


def examine_machine() -> list[Finding]:
    """Python, the packages of each extra, the small model, GPUs, vLLM."""
    findings = [Finding("python", True, f"{platform.python_version()}, {os.cpu_count()} cores")]
    for extra, names in EXTRAS.items():
        there = {name: _version(name) for name in names}
        missing = [name for name, number in there.items() if number is None]
        versions = ", ".join(f"{name} {number}" for name, number in there.items() if number)
        mend = install_command(extra) if missing else ""
        lacks = f"missing: {', '.join(missing)}" if missing else ""
        findings.append(
            Finding(extra, not missing, "; ".join(filter(None, [versions, lacks])), mend)
        )
    try:
        findings.append(Finding("default model", True, default_model()))
    except CaiError as error:
        findings.append(Finding("default model", False, error.message, error.hint))
    memory = gpu_memory()
    sizes = ["memory not told" if size is None else f"{size:,} MiB" for size in memory]
    gpus = ", ".join(sizes) or "none that nvidia-smi, rocm-smi or a device file tells of"
    findings.append(Finding("GPUs", None, gpus))
    try:
        findings.append(Finding("vllm:", True, interpreter()))
    except CaiError as error:
        findings.append(Finding("vllm:", None, error.message, error.hint))
    return findings


async def examine_server(name: str) -> list[Finding]:
    """What a server supports, each replica alone; `name` is `URL[,URL…][#name]`.

    Raises:
        CaiError: The name is no address.
    """
    urls, served = parse_address(name)
    findings: list[Finding] = []
    for url in urls:
        engine = OpenAIEngine([url], served, timeout=60.0, day=today())
        try:
            await engine.start()
            findings += [Finding(url, *line) for line in await _abilities(engine)]
        except CaiError as error:
            findings.append(Finding(url, False, error.message, error.hint))
        except (CallError, EngineBusy) as error:
            findings.append(Finding(url, False, str(error), "Look into the server's log."))
        finally:
            await engine.close()
    return findings


async def _abilities(engine: OpenAIEngine) -> list[tuple[bool | None, str, str]]:
    able = engine.able
    better = "A server with log-probabilities gives sharper labels for one token each: vLLM."
    labels: dict[ChoiceMethod, tuple[bool | None, str, str]] = {
        "token": (True, "labels: by their token ids", ""),
        "top_logprobs": (True, "labels: among the likeliest tokens (no token ids)", ""),
        "votes": (None, "labels: by drawn votes (no log-probabilities)", better),
    }
    lines: list[tuple[bool | None, str, str]] = [
        (True, f"serves {engine.name} through {able.api}", ""),
        labels[able.method],
        _context(engine),
    ]
    fields = ("temperature", "top_p", able.limit_key, "seed")
    names = ", ".join(field for field in fields if field not in able.left_out)
    lines.append((None, f"fields of a request that it takes: {names}", ""))
    for name, words in able.words(engine.day).items():
        lines.append((None, f"{name}: {words}", ""))
    if able.mass is not None:
        good = able.mass >= 0.1
        lines.append((good, f"probability on the labels of a trial question: {able.mass:.2g}", ""))
    lines.append((None, f"identity: {engine.identity}", ""))
    line = [user("Write a line about the sea.")]
    sampling = Sampling(temperature=1.0, max_tokens=16, seed=1)
    first, second = [(await engine.generate(line, sampling)).text for _ in range(2)]
    heard = first == second
    lines.append((heard or None, "seeds: " + ("one seed, one answer" if heard else "not kept"), ""))
    abilities = await engine.abilities()
    for ability, there in abilities.items():
        lines.append((None, f"{ability}: {'yes' if there else 'no'}", ""))
    return lines


def _context(engine: OpenAIEngine) -> tuple[bool | None, str, str]:
    if engine.context is None:
        return None, "context: not told", ""
    what = f"context: {engine.context:,} tokens"
    if not engine.cuts:
        return None, what, ""
    mend = "Give it a larger one (Ollama: OLLAMA_CONTEXT_LENGTH): rows that may not fit will fail."
    return None, f"{what}; a longer conversation is cut silently", mend


def examine(names: list[str]) -> list[Finding]:
    """The machine, and each server named."""

    async def servers() -> list[Finding]:
        return [finding for name in names for finding in await examine_server(name)]

    return examine_machine() + asyncio.run(servers())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
