"""A simulated model server: N slots, the rest waits in line, and latencies that the prompt decides.

A call takes a lognormal time (mean 0.25 s, sigma 0.8) drawn from the row and the step that it is
of, whatever its wording: so every client does the same work. The row is in the prompt ("Question
17?"), the step is the number of answers in the conversation, or is said ("Step 2.").
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import math
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from typing import Any

MEAN, SIGMA = 0.25, 0.8  # seconds
STEPS = 3  # dependent calls of a row: respond, critique, revise
WORDS = (
    *("calm", "clear", "kind", "plain", "safe", "true", "good", "help"),
    *("care", "talk", "part", "place", "time", "work", "year"),
)
_ROW, _STEP = re.compile(r"Question (\d+)\?"), re.compile(r"Step (\d)\.")


def question(row: int) -> str:
    return f"Question {row}?"


def key_of(body: dict[str, Any]) -> str:
    """Row and step of a call; of a label, its question too."""
    messages = body["messages"]
    row = _ROW.search(json.dumps(messages))
    if row is None:
        return "probe"
    if body.get("logprobs"):
        return f"{row[1]} label {hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:12]}"
    said = _STEP.search(json.dumps(messages[-1]))
    answers = sum(message["role"] == "assistant" for message in messages)
    return f"{row[1]} step {said[1] if said else answers}"


def seconds_of(key: str, draw: int, mean: float = MEAN) -> float:
    return random.Random(f"{draw} {key}").lognormvariate(math.log(mean) - SIGMA**2 / 2, SIGMA)


def at_no_cost(rows: int, slots: int, draw: int) -> float:
    """Share of slots busy when calls run in the order in which they become ready, at no cost.

    The row with the most steps left then goes first, which does best for a client that cannot know
    how long a call will take; it is the order of a server that is given everything at once.
    """
    ready = deque((row, 0) for row in range(rows))
    running: list[tuple[float, int, int]] = []
    now = work = 0.0
    while ready or running:
        while ready and len(running) < slots:
            row, step = ready.popleft()
            seconds = seconds_of(f"{row} step {step}", draw)
            work += seconds
            heapq.heappush(running, (now + seconds, row, step + 1))
        now, row, step = heapq.heappop(running)
        if step < STEPS:
            ready.append((row, step))
    return work / (slots * now)


class _Server:
    def __init__(self, slots: int, mean: float, draw: int) -> None:
        self.free, self.mean, self.draw = asyncio.Semaphore(slots), mean, draw
        self.forget()

    def forget(self) -> None:
        self.running = self.waiting = self.calls = 0
        self.work = self.first = self.last = 0.0
        self.received: Counter[str] = Counter()
        self.finished: dict[str, float] = {}  # by row: when its last call ended

    async def chat(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        key = key_of(body)
        seconds = seconds_of(key, self.draw, self.mean) if self.mean else 0.0
        if key != "probe":  # what a client asks before it begins is no work of a row
            self.first = self.first or time.monotonic()
            self.received[key] += 1
        self.waiting += 1
        try:
            async with self.free:
                self.waiting, self.running = self.waiting - 1, self.running + 1
                try:
                    await asyncio.sleep(seconds)
                finally:
                    self.running, self.waiting = self.running - 1, self.waiting + 1
        finally:
            self.waiting -= 1
        if key != "probe":
            self.calls += 1
            self.work += seconds
            self.last = self.finished[key.split()[0]] = time.monotonic()
        return web.json_response(_answer(body, key))

    async def models(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response({"object": "list", "data": [{"id": "sim", "owned_by": "vllm"}]})

    async def tokenize(self, request: Any) -> Any:
        from aiohttp import web

        text = (await request.json()).get("prompt")
        if text is None:
            raise web.HTTPBadRequest(text="prompt: field required")
        return web.json_response({"tokens": [ord(c) for c in text]})

    async def metrics(self, request: Any) -> Any:
        from aiohttp import web

        gauges = {"running": self.running, "waiting": self.waiting}
        lines = [f'vllm:num_requests_{name}{{engine="0"}} {n}' for name, n in gauges.items()]
        return web.Response(text="\n".join(lines))

    async def stats(self, request: Any) -> Any:
        from aiohttp import web

        if request.query.get("forget"):
            self.forget()
        names = ("running", "waiting", "calls", "work", "first", "last")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        found["repeated"] = sum(self.received.values()) - len(self.received)
        found["asked"] = len(self.received)
        found["rows"] = sorted(self.finished.values()) if request.query.get("rows") else []
        return web.json_response(found)


def _answer(body: dict[str, Any], key: str) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    draw = random.Random(f"text of {key}")
    if body.get("logprobs"):
        share = min(0.99, max(0.01, draw.random()))
        ids = body.get("logprob_token_ids") or [65, 66]
        tops = [
            {"token": f"token_id:{i}", "logprob": math.log(p)}
            for i, p in zip(ids, (share, 1 - share), strict=True)
        ]
        choice["logprobs"] = {"content": [{"token": "A", "top_logprobs": tops}]}
        choice["message"] = {"role": "assistant", "content": "A"}
    else:
        content = " ".join(draw.choices(WORDS, k=20))
        choice["message"] = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}
    names = {"id": "x", "object": "chat.completion", "created": 1, "model": "sim"}
    return {**names, "choices": [choice], "usage": usage}


def serve(slots: int, mean: float, draw: int, port: int) -> None:
    """Serve on a port, by default a free one, which is printed."""
    from aiohttp import web

    async def main() -> None:
        server = _Server(slots, mean, draw)
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", server.chat)
        app.router.add_get("/v1/models", server.models)
        app.router.add_post("/tokenize", server.tokenize)
        app.router.add_get("/metrics", server.metrics)
        app.router.add_get("/stats", server.stats)
        # What a client that died had asked for is dropped, as vLLM does.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.sleep(3600)

    asyncio.run(main())


class Simulated:
    """The server in a process of its own; `draw` is which latencies it draws."""

    def __init__(self, slots: int = 64, mean: float = MEAN, draw: int = 0) -> None:
        self.slots, self.mean, self.draw, self.port = slots, mean, draw, 0

    def __enter__(self) -> Simulated:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        numbers = (self.slots, self.mean, self.draw, self.port)
        command = [sys.executable, __file__, *map(str, numbers)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def stats(self, *, rows: bool = False, forget: bool = False) -> dict[str, Any]:
        query = "&".join(name for name, on in (("rows=1", rows), ("forget=1", forget)) if on)
        with urllib.request.urlopen(f"{self.root}/stats?{query}") as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def busy(self) -> dict[str, float]:
        """How well the slots were used from the first call to the end of the last."""
        stats = self.stats(rows=True)
        seconds = stats["last"] - stats["first"]
        done = stats["rows"]
        early = done[max(0, math.ceil(len(done) * 0.05) - 1)] - stats["first"]
        return {
            "calls": stats["calls"],
            "seconds": seconds,
            "busy": stats["work"] / (self.slots * seconds),
            "first 5 %": early / seconds,
        }


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
