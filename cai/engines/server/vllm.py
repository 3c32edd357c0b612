"""`vllm:NAME`: a vLLM server of our own, started for a run and ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Collection, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from cai.engines import gpus
from cai.engines.base import NOBODY, Caller
from cai.engines.local.chat_template import on_day, template_in
from cai.engines.server.http import Replica
from cai.engines.server.openai import OpenAIEngine
from cai.engines.server.processes import end, free_port, spawn
from cai.engines.server.vllm_command import flags, interpreter, last_lines, value_of
from cai.errors import CaiError, EngineBusy
from cai.files import cache_dir

READY_WITHIN = 1800.0  # seconds until a server must serve: large weights load slowly
ENDING = 0.5  # seconds that a killed process may take to be gone
_SECRET = ("CAI_API_KEY", "OPENAI_API_KEY")
_SECRET_FLAGS = {"--api-key": "VLLM_API_KEY and CAI_API_KEY", "--hf-token": "HF_TOKEN"}
# Tags that mark reasoning, and did not for version 0.1.0.
_LATER_TAGS = re.compile(r"\[THINK\]|<seed:think>")
_number = itertools.count()  # of the logs of this process


class VllmEngine(OpenAIEngine):
    """vLLM servers on this machine's GPUs, or on its CPU with the CPU build.

    The server runs in the Python that `CAI_VLLM_PYTHON` names, by default in ours. Its output is
    kept in the cache folder under `logs/`.

    Args:
        model: A folder or a Hub name, `@revision` included.
        tensor_parallel: GPUs per server.
        replicas: Servers.
        device: Of models in this process: the GPU that it names, if it does, is taken last.
        args: More flags for each, as on a command line.
        timeout: As in `OpenAIEngine`.
        concurrency: As in `OpenAIEngine`.
        day: Held in a chat template that writes today's date.
    """

    def __init__(
        self,
        model: str,
        *,
        tensor_parallel: int = 1,
        replicas: int = 1,
        device: str = "auto",
        args: str = "",
        timeout: float = 600.0,
        concurrency: int | None = None,
        day: date | None = None,
    ) -> None:
        super().__init__([], "model", timeout=timeout, concurrency=concurrency)
        self._model, self._parallel, self._count = model, tensor_parallel, replicas
        self._device, self._held = device, day
        try:
            self._args = shlex.split(args)
        except ValueError as error:
            raise CaiError(f"--vllm-args {args}: {error}", "Close the quotation.") from None
        for arg in self._args:
            flag = arg.partition("=")[0].replace("_", "-")
            if flag in _SECRET_FLAGS:
                raise CaiError(
                    f"--vllm-args: {flag} would be written down with the settings",
                    f"Set {_SECRET_FLAGS[flag]} in the environment instead.",
                )
        self._gpus: list[str] = []
        self._nonce = f"cai-{secrets.token_hex(8)}"  # another's server does not have that name
        self._processes: list[subprocess.Popen[bytes]] = []
        self.logs: list[Path] = []

    def _found(self, *, convert: bool) -> str | None:
        """The folder with the weights, or their name on the Hub; None if it must be converted."""
        from cai.engines.local.smollm import NAME
        from cai.engines.local.weights import default_model, resolve

        name = default_model() if self._model == "default" else self._model
        if name != NAME and not Path(name).expanduser().is_dir():
            return name
        folder = resolve(name, local_files_only=not convert)
        return str(folder) if folder is not None else None

    @cached_property
    def _source(self) -> str:
        return self._found(convert=True) or self._model

    @property
    def identity(self) -> str:
        """The digest of the weights of a folder, else the name; with the flags that were added.

        And what the model is fed, or read by, otherwise than by version 0.1.0.
        """
        return self._identity(self._template)

    def known_identity(self) -> str | None:
        if self._found(convert=False) is None:
            return None
        return self._identity(self._read_template(local_files_only=True))

    def _identity(self, template: str) -> str:
        from cai.engines.local.weights import weights_identity

        folder = Path(self._source)
        who = weights_identity(folder, "vllm") if folder.is_dir() else self._source
        date = [f"date={self._held}"] if self._holds_day(template) else []
        tags = ["reasoning=tags"] if _LATER_TAGS.search(template) else []
        return " ".join([f"vllm:{who}", *self._args, *date, *tags])

    @cached_property
    def _template(self) -> str:
        return self._read_template(local_files_only=False)

    def _read_template(self, *, local_files_only: bool) -> str:
        """The chat template, where the server reads it from files that can be read here."""
        from cai.engines.local.weights import template_files

        template = value_of("--chat-template", self._args)
        if template is not None:
            return Path(template).read_text("utf-8") if Path(template).is_file() else template
        tokenizer = value_of("--tokenizer", self._args) or self._source
        folder = template_files(tokenizer, local_files_only=local_files_only)
        mistral = value_of("--tokenizer-mode", self._args) == "mistral"
        # With mistral-common vLLM takes no template.
        if folder is None or mistral or (folder / "tekken.json").is_file():
            return ""
        return template_in(folder, self._model) or ""

    def _holds_day(self, template: str) -> bool:
        return self._held is not None and "strftime_now" in template

    def feeding(self) -> dict[str, str]:
        holds = self._holds_day(self._template)
        return {"date in the template": str(self._held)} if holds else {}

    async def start(self) -> None:
        """Start the servers and wait until they serve; a failure shows their last lines."""
        python = interpreter()
        ports = [free_port() for _ in range(self._count)]
        hardware = await asyncio.to_thread(gpus.gpus_for, python)
        if hardware.memory and hardware.variable:
            self._gpus = gpus.take_for_servers(
                hardware.ids, self._count, self._parallel, last=self._device
            )
        try:
            for number, port in enumerate(ports):
                first = number * self._parallel
                self._launch(python, port, self._gpus[first : first + self._parallel], hardware)
            self._serve_at([f"http://127.0.0.1:{port}/v1" for port in ports])
            await self._until_ready()
            await super().start()
        except BaseException:
            await self.close()
            raise

    def _launch(self, python: str, port: int, own: Sequence[str], there: gpus.Gpus) -> None:
        folder = cache_dir() / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"vllm-{os.getpid()}-{next(_number)}.log"
        env = {k: v for k, v in os.environ.items() if not k.startswith(_SECRET)}
        env |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        if own:
            env |= gpus.restricted(own, there.variable)
        elif not there.memory:
            env.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
            env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        command = [python, "-m", "vllm.entrypoints.openai.api_server"]
        command += flags(self._source, self._parallel, self._args, there.memory)
        command += ["--host", "127.0.0.1", "--port", str(port), *self._args]
        if self._held is not None and self._holds_day(self._template):
            template = log.with_suffix(".jinja")
            template.write_text(on_day(self._template, self._held), "utf-8")
            command += ["--chat-template", str(template)]
        command += ["--served-model-name", "model", self._nonce]
        with log.open("wb") as file:
            self._processes.append(spawn(command, env, file))
        self.logs.append(log)

    async def _until_ready(self) -> None:
        until = time.monotonic() + READY_WITHIN
        self._replicas.open()
        waiting = list(zip(self._replicas.all, self._processes, self.logs, strict=True))
        while waiting:
            for replica, process, log in list(waiting):
                if process.poll() is not None:
                    raise _ended(f"before it served {self._model}", log)
                with contextlib.suppress(EngineBusy):
                    status, _, _ = await self._replicas.raw(
                        replica, "GET", f"{replica.root}/health"
                    )
                    if status == 200:
                        waiting.remove((replica, process, log))
            if time.monotonic() > until:
                raise CaiError(
                    f"vLLM does not serve {self._model} after {READY_WITHIN:,.0f} s:\n"
                    f"{last_lines(self.logs[0])}",
                    f"All that it said is in {self.logs[0]}.",
                )
            await asyncio.sleep(0.5)

    def _recognise(self, replica: Replica, served: Collection[str]) -> None:
        if self._nonce not in served:
            raise CaiError(
                f"{replica.url}: not the server that was started here", "Run it once more."
            )
        super()._recognise(replica, served)

    async def _post(self, body: dict[str, Any], caller: Caller = NOBODY) -> dict[str, Any]:
        try:
            return await super()._post(body, caller)
        except EngineBusy as error:
            if not error.overloaded and await self._have_ended():
                raise _ended(f"while it served {self._model}", self.logs[-1]) from None
            raise

    async def _have_ended(self) -> bool:
        """Whether all servers are gone; a connection drops a moment before its process is."""
        until = time.monotonic() + ENDING
        while any(process.poll() is None for process in self._processes):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(ENDING / 10)
        return bool(self._processes)

    async def close(self) -> None:
        await super().close()
        processes, self._processes = self._processes, []
        await asyncio.to_thread(end, processes)
        gpus.let_go(self._gpus)
        self._gpus = []


def _ended(when: str, log: Path) -> CaiError:
    return CaiError(
        f"vLLM ended {when}:\n{last_lines(log)}",
        f"All that it said is in {log}. Flags go into --vllm-args.",
    )
