"""How well a server is kept busy, and what a call costs the client; ratios from one run.

    python benchmarks/servers.py [--rows 400 4000] [--labels-rows 4000] [--sdk-python PYTHON]

The server is simulated, in a process of its own: N slots, the rest waits in line, a call takes a
lognormal time (mean 0.25 s, sigma 0.8) that its messages decide. `ideal` is all work spread over
all slots without a gap. `barrier` makes all first calls, then all second ones, then all third ones.
With --sdk-python the client's CPU time per call is compared with that of the openai SDK, which must
be installed there.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import platform
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

MEAN, SIGMA = 0.25, 0.8
WORDS = (
    *("calm", "clear", "kind", "plain", "safe", "true", "good", "help"),
    *("care", "talk", "part", "place", "time", "work", "year"),
)


# --- the server ---------------------------------------------------------------------------------


def seconds_of(messages: list[dict[str, str]], what: str) -> float:
    seed = hashlib.sha256(json.dumps([messages, what]).encode()).digest()
    return random.Random(seed).lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA)


def serve(slots: int) -> None:
    """Serve on a free port, which is printed."""
    from aiohttp import web

    free = asyncio.Semaphore(slots)
    stats = {"running": 0, "waiting": 0, "calls": 0, "work": 0.0, "first": 0.0, "last": 0.0}

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        what = "label" if body.get("logprobs") else str(body.get("seed"))
        seconds = seconds_of(body["messages"], what)
        stats["first"] = stats["first"] or time.monotonic()
        stats["waiting"] += 1
        async with free:
            stats["waiting"] -= 1
            stats["running"] += 1
            await asyncio.sleep(seconds)
            stats["running"] -= 1
        stats["calls"] += 1
        stats["work"] += seconds
        stats["last"] = time.monotonic()
        usage = {"prompt_tokens": 50, "completion_tokens": 20}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if body.get("logprobs"):
            share = min(0.99, max(0.01, seconds % 1))
            ids = body.get("logprob_token_ids") or [65, 66]
            tops = [
                {"token": f"token_id:{i}", "logprob": math.log(p)}
                for i, p in zip(ids, (share, 1 - share), strict=True)
            ]
            choice["logprobs"] = {"content": [{"token": "A", "top_logprobs": tops}]}
            choice["message"] = {"role": "assistant", "content": "A"}
        else:
            draw = random.Random(repr(body["messages"]) + what)
            text = " ".join(draw.choices(WORDS, k=20))
            choice["message"] = {"role": "assistant", "content": text}
        return web.json_response(
            {"id": "x", "object": "chat.completion", "created": 1, "model": "sim",
             "choices": [choice], "usage": usage}
        )  # fmt: skip

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "sim", "owned_by": "vllm"}]})

    async def tokenize(request: web.Request) -> web.Response:
        return web.json_response({"tokens": [ord(c) for c in (await request.json())["prompt"]]})

    async def metrics(request: web.Request) -> web.Response:
        lines = [f'vllm:num_requests_{n}{{engine="0"}} {stats[n]}' for n in ("running", "waiting")]
        return web.Response(text="\n".join(lines))

    async def told(request: web.Request) -> web.Response:
        found = dict(stats)
        stats.update(calls=0, work=0.0, first=0.0, last=0.0)
        return web.json_response(found)

    async def main() -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", chat)
        app.router.add_get("/v1/models", models)
        app.router.add_post("/tokenize", tokenize)
        app.router.add_get("/metrics", metrics)
        app.router.add_get("/stats", told)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.sleep(3600)

    asyncio.run(main())


class Simulated:
    def __init__(self, slots: int) -> None:
        self.slots = slots

    def __enter__(self) -> Simulated:
        command = [sys.executable, __file__, "serve", str(self.slots)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.root = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def stats(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.root}/stats") as answer:
            found: dict[str, float] = json.load(answer)
        return found


# --- the clients --------------------------------------------------------------------------------


class Times:
    """Notes when rows are done."""

    def __init__(self) -> None:
        self.done: list[float] = []
        self._name = ""

    def phase(self, name: str, total: int | None = None) -> None:
        self._name = name

    def advance(self, *, failed: bool = False, tally: object = None) -> None:
        if self._name == "generating":
            self.done.append(time.monotonic())

    def warn(self, message: str) -> None:
        """The simulated judge was never checked; it is not needed."""

    def close(self) -> None:
        """Nothing is open."""


def prompts_file(folder: Path, rows: int) -> str:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(rows)))
    return str(path)


def with_cai(server: Simulated, rows: int, labels: bool) -> dict[str, float]:
    import cai

    times = Times()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cai.generate(
            model=f"{server.root}/v1#sim",
            prompts=prompts_file(folder, rows),
            out=folder / "run",
            stages=["sft", "preferences"] if labels else ["sft"],
            pairs=["revision"],
            judge_principles=8,
            verdict=False,
            max_open_rows=max(256, rows),
            progress=times,
        )
    found = busy(server)
    early = sorted(times.done)[max(0, math.ceil(rows * 0.05) - 1)] - found["began"]
    return found | {"first 5 % of rows at": early / found["seconds"]}


def with_barrier(server: Simulated, rows: int) -> dict[str, float]:
    """The same number of dependent calls, step by step over all rows."""
    from cai.engines.openai import OpenAIEngine
    from cai.records import Sampling, assistant, user

    async def main() -> None:
        engine = OpenAIEngine([f"{server.root}/v1"], "sim")
        await engine.start()
        server.stats()
        gate = asyncio.Semaphore(server.slots)
        talks = [[user(f"Question {n}?")] for n in range(rows)]

        async def step(talk: list[Any], number: int) -> None:
            async with gate:
                sampling = Sampling(temperature=1, max_tokens=64, seed=number)
                made = await engine.generate(talk, sampling)
            talk += [assistant(made.text), user("Go on.")]

        for number in range(3):
            await asyncio.gather(*(step(talk, number) for talk in talks))
        await engine.close()

    asyncio.run(main())
    return busy(server)


def busy(server: Simulated) -> dict[str, float]:
    stats = server.stats()
    seconds = stats["last"] - stats["first"]
    return {
        "calls": stats["calls"],
        "seconds": seconds,
        "began": stats["first"],
        "slots busy": stats["work"] / (server.slots * seconds),
    }


_CLIENT = """
import asyncio, resource, sys, time
url, calls, flight, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
async def main():
    if kind == "cai":
        from cai.engines.openai import OpenAIEngine
        from cai.records import Sampling, user
        engine = OpenAIEngine([url], "sim")
        await engine.start()
        async def one(n):
            sampling = Sampling(temperature=1, max_tokens=64, seed=n)
            return (await engine.generate([user(f"Question {n}?")], sampling)).text
    else:
        from openai import AsyncOpenAI
        client = AsyncOpenAI(base_url=url, api_key="none", timeout=600)
        async def one(n):
            messages = [{"role": "user", "content": f"Question {n}?"}]
            made = await client.chat.completions.create(
                model="sim", messages=messages, temperature=1, max_tokens=64, seed=n)
            return made.choices[0].message.content
    numbers = iter(range(8 + calls))
    for _ in range(8): await one(next(numbers))
    def cpu():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime
    async def worker():
        for n in numbers: await one(n)
    before = cpu()
    await asyncio.gather(*(worker() for _ in range(flight)))
    print((cpu() - before) / calls * 1e3)
    if kind == "cai": await engine.close()
asyncio.run(main())
"""


def client_cpu(sdk_python: str, calls: int, flight: int) -> dict[str, float]:
    """Milliseconds of the client's CPU per call, ours and the SDK's, in turn, three times."""
    found: dict[str, list[float]] = {"cai": [], "openai": []}
    with Simulated(flight) as server:
        for _ in range(3):
            for kind, python in (("cai", sys.executable), ("openai", sdk_python)):
                arguments = [f"{server.root}/v1", str(calls), str(flight), kind]
                done = subprocess.run(
                    [python, "-c", _CLIENT, *arguments], capture_output=True, text=True, check=True
                )
                found[kind].append(float(done.stdout))
    best = {kind: min(values) for kind, values in found.items()}
    return {
        "cai, ms per call": best["cai"],
        "openai SDK, ms per call": best["openai"],
        "ratio": best["cai"] / best["openai"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[400, 4000])
    parser.add_argument("--labels-rows", type=int, default=4000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--sdk-python")
    given = parser.parse_args()
    results: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    with Simulated(given.slots) as server:
        for rows in given.rows:
            results[f"cai, {rows} rows"] = with_cai(server, rows, labels=False)
            results[f"barrier, {rows} rows"] = with_barrier(server, rows)
            print(json.dumps(results, indent=2), file=sys.stderr)
        if given.labels_rows:
            found = with_cai(server, given.labels_rows, labels=True)
            found["seconds over ideal"] = 1 / found["slots busy"]
            results[f"cai, {given.labels_rows} rows, 16 labels each"] = found
    if given.sdk_python:
        results["client CPU at 256 in flight"] = client_cpu(given.sdk_python, 4096, 256)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main()
