"""An OpenAI-compatible server over hashes, with every fault that a client meets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

import cai
from cai.dataset.run import Run
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.engines.server.abilities import SWITCHES
from cai.records import Message, Sampling

FAULTS = (
    "500", "429", "503", "reset", "half", "html", "no choices", "no logprobs", "hang",
)  # fmt: skip

SAMPLING = Sampling(temperature=0.7, max_tokens=64, seed=5)
TRIED = ("What is 2 + 3?", "red wine stain", "name of a colour")  # the questions of a trial
CONTEXT = 2048  # tokens, of those kinds that tell it elsewhere than vLLM


def prompts(folder: Path, count: int) -> str:
    path = folder / "prompts.jsonl"
    rows = [{"prompt": f"Question {n}?", "kind": "borderline"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def go(folder: Path, model: str, count: int = 12, out: str = "run", **given: Any) -> Run:
    few = {"judge_principles": 2, "revisions": 1}
    settings = {"prompts": prompts(folder, count), "test_share": 0, **few, **given}
    return cai.generate(model=model, out=folder / out, **settings)


def data(run: Run) -> dict[str, bytes]:
    names = ("sft", "preferences", "traces")
    return {n: (run.folder / n / "train.parquet").read_bytes() for n in names}


def turns_of(body: dict[str, Any]) -> list[Message]:
    """The conversation of a chat, or the prompt of a completion as its only turn."""
    if "prompt" in body:
        return [Message(role="user", content=body["prompt"])]
    return [Message(role=turn["role"], content=turn["content"]) for turn in body["messages"]]


def manner_of(body: dict[str, Any]) -> str:
    """How the first words of the answer are given."""
    last = body["messages"][-1] if "messages" in body else {"role": "user"}
    if last["role"] != "assistant":
        return "asked"
    if "prefix" in last:
        return "prefix"
    return "continued" if body.get("continue_final_message") else "assistant"


def chatml(turns: list[dict[str, Any]], arguments: dict[str, Any]) -> str:
    said = "".join(f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in turns)
    return f"{said}<|im_start|>assistant\n"


class FakeServer:
    """Serves in a thread of its own.

    Args:
        kind: `vllm` (token ids), `fcfs` (the same, without priorities), `old` (vLLM before it knew
            them), `sglang`, `top` (log-probabilities), `plain` (neither), `base` (completions
            alone, with log-probabilities), `llamacpp` or `library` (Ollama), which cuts what does
            not fit.
        fault: What happens to every `every`th call at its first try.
        port: Taken again after `stop`; any free one by default.
    """

    def __init__(
        self,
        kind: str = "vllm",
        fault: str | None = None,
        every: int = 10,
        port: int = 0,
        name: str = "m",
    ) -> None:
        self.name = name
        self.kind, self.fault, self.every, self.port = kind, fault, every, port
        self.engine = ScriptedEngine(ScriptedOptions())
        self.answered: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()
        self.trials: set[str] = set()  # what was asked to find out what the server takes
        self.asked: list[dict[str, Any]] = []
        self.heard: set[str] = set()
        self.say: str | None = None  # a text instead of that of the engine
        self.refuse: tuple[int, str] | None = None
        self.refuses: dict[str, str] = {}  # fields, and the words of the refusal
        self.template = chatml
        self.thinks: str | None = None  # by what it can be told not to reason; "" by nothing
        self.parser = False  # whether reasoning comes in a field of its own
        # How much of the probability falls on labels: after the first words, and in words.
        self.prefills = {"vllm": 1.0, "fcfs": 1.0, "old": 0.9, "sglang": 0.9}.get(kind, 0.02)
        self.asked_mass = 0.04 if kind in ("old", "sglang") else 1.0
        self.also: list[str] = []  # more names of the model
        self.delay = 0.0
        self.most = self.running = 0

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._chat)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_post("/apply-template", self._apply_template)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._models)
        app.router.add_get("/props", self._props)
        app.router.add_get("/api/ps", self._loaded)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._end.wait()
        await runner.cleanup()
        await asyncio.sleep(0.05)  # for the last connections to be closed

    async def _models(self, request: web.Request) -> web.Response:
        self.heard.add(request.headers.get("Authorization", ""))
        owner = {"vllm": "vllm", "fcfs": "vllm", "old": "vllm", "top": "someone", "plain": "you"}
        card: dict[str, Any] = {"id": self.name, "owned_by": owner.get(self.kind, self.kind)}
        if self.kind in owner or self.kind == "sglang":
            card["max_model_len"] = 4096
        return web.json_response({"data": [card, *({**card, "id": n} for n in self.also)]})

    async def _props(self, request: web.Request) -> web.Response:
        if self.kind != "llamacpp":
            raise web.HTTPNotFound
        return web.json_response({"default_generation_settings": {"n_ctx": CONTEXT}})

    async def _loaded(self, request: web.Request) -> web.Response:
        if self.kind != "library":
            raise web.HTTPNotFound
        return web.json_response({"models": [{"name": self.name, "context_length": CONTEXT}]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.kind == "llamacpp":
            return web.json_response({"tokens": [ord(c) for c in body.get("content", "")]})
        if self.kind not in ("vllm", "fcfs", "old", "sglang"):
            raise web.HTTPNotFound
        if "prompt" not in body and self.kind == "sglang":
            return web.json_response({"message": "prompt: Field required"}, status=400)
        text = body.get("prompt")
        if text is None:
            text = self.template(body["messages"], body.get("chat_template_kwargs", {}))
        return web.json_response({"tokens": [ord(c) for c in text]})

    async def _detokenize(self, request: web.Request) -> web.Response:
        text = "".join(map(chr, (await request.json())["tokens"]))
        return web.json_response({"prompt": text})

    async def _apply_template(self, request: web.Request) -> web.Response:
        if self.kind != "llamacpp":
            raise web.HTTPNotFound
        body = await request.json()
        text = self.template(body["messages"], body.get("chat_template_kwargs", {}))
        return web.json_response({"prompt": text})

    async def _metrics(self, request: web.Request) -> web.Response:
        if self.kind in ("top", "plain", "library", "sglang", "base"):
            raise web.HTTPNotFound
        lines = [f'vllm:num_requests_running{{engine="0"}} {self.running}.0']
        lines += ['vllm:num_requests_waiting{engine="0"} 0.0']
        if self.kind == "llamacpp":
            lines = [f"llamacpp:requests_processing {self.running}", "llamacpp:requests_deferred 0"]
        lines.append(f'vllm:prefix_cache_hits_total{{engine="0"}} {len(self.asked)}.0')
        return web.Response(text="\n".join(lines))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.heard.add(request.headers.get("Authorization", ""))
        body = await request.json()
        self.asked.append(dict(body))
        refused = self._refused(body)
        if refused is not None:
            status, said = refused
            return web.json_response({"error": {"message": said}}, status=status)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.delay)
            return await self._answer(request, body)
        finally:
            self.running -= 1

    def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
        if self.refuse is not None:
            return self.refuse
        for field, said in self.refuses.items():
            if field in body:
                return 400, said
        if self.kind == "base" and "messages" in body:
            return 400, "This model has no chat template, and none was given."
        if body.pop("priority", 0) and self.kind == "fcfs":
            return 400, "Got priority 1 but Priority scheduling is not enabled."
        words = sum(len(turn.content.split()) for turn in turns_of(body))
        if self.kind == "llamacpp" and words > CONTEXT:
            return 400, f"the request exceeds the available context size ({CONTEXT} tokens)"
        return None

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.tried[key] += 1
        chosen = int(key, 16) % self.every == 0
        fault = self.fault if chosen and self.tried[key] == 1 else None
        if fault == "no logprobs" and not body.get("logprobs"):
            fault = None
        if fault in ("500", "429", "503"):
            headers = {"Retry-After": "0.05"} if fault == "429" else {}
            return web.Response(status=int(fault), text="a bad day", headers=headers)
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "html":
            return web.Response(text="<html>502 Bad Gateway</html>", content_type="text/html")
        if fault == "hang":
            await asyncio.sleep(60)
        answer = await self._completion(body)
        if fault == "no choices":
            answer["choices"] = []
        if fault == "no logprobs":
            answer["choices"][0].pop("logprobs", None)
            answer["choices"][0]["message"] = {}
        text = json.dumps(answer)
        if fault == "half":
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if any(words in json.dumps(body) for words in TRIED):
            self.trials.add(key)
        self.answered[key] += fault is None
        return web.Response(text=text, content_type="application/json")

    async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        messages = turns_of(body)
        share = int.from_bytes(hashlib.sha256(repr(messages).encode()).digest()[:4], "big") / 2**32
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        thought = "Let me see." if self._reasons(body) else ""
        mass = self.prefills if manner_of(body) != "asked" else 0.01 if thought else self.asked_mass
        if manner_of(body) == "assistant" and self.kind == "sglang":
            mass = 0.02  # it takes this for a user's turn
        names = {"A": share * mass, "B": (1 - share) * mass}
        if mass < 1:
            names["The"] = 1 - mass
        if body.get("logprob_token_ids") and self.kind in ("vllm", "fcfs"):
            names = {f"token_id:{i}": names[chr(i)] for i in body["logprob_token_ids"]}
        label = max(list(names)[:2], key=names.__getitem__)
        if body.get("logprobs") and "prompt" in body:
            tops = {f" {name}": math.log(max(p, 1e-9)) for name, p in names.items()}
            choice |= {"text": f" {label}", "logprobs": {"top_logprobs": [tops]}}
            return {"choices": [choice], "usage": usage}
        if body.get("logprobs") and self.kind != "plain":
            top = [{"token": n, "logprob": math.log(max(p, 1e-9))} for n, p in names.items()]
            content = [{"token": label, "top_logprobs": top}]
            said = label
            if thought and manner_of(body) == "asked" and body["max_tokens"] >= 64:
                sure = [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.4}]
                before = ["<think>", "A or B?", "</think>", "\n\n"]
                none = [{"token": "x", "logprob": -0.1}]
                content = [{"token": token, "top_logprobs": none} for token in before]
                content.append({"token": "A", "top_logprobs": sure})
                said = "".join(before) + "A"
            choice["logprobs"] = {"content": content}
            choice["message"] = {"role": "assistant", "content": said}
            return {"choices": [choice], "usage": usage}
        if body["max_tokens"] == 8 or "n" in body:
            body = {"n": 1, **body}
            votes = ["A"] * round(share * body["n"])
            votes += ["(B)"] * (body["n"] - len(votes))
            drawn = [{**choice, "message": {"role": "assistant", "content": v}} for v in votes]
            return {"choices": drawn, "usage": usage}
        sampling = Sampling(
            temperature=body.get("temperature", 1.0),
            max_tokens=body["max_tokens"],
            seed=body.get("seed", 0),
        )
        made = await self.engine.generate(messages, sampling)
        text = self.say or made.text
        choice["message"] = {"role": "assistant", "content": text}
        choice["text"] = f" {made.text}"
        usage["completion_tokens"] = made.usage.output_tokens
        if thought and self.parser:
            choice["message"]["reasoning_content"] = thought
        elif thought:
            choice["message"]["content"] = f"<think>{thought}</think>\n\n{text}"
        return {"choices": [choice], "usage": usage}

    def _reasons(self, body: dict[str, Any]) -> bool:
        if self.thinks is None:
            return False
        if not self.thinks:
            return True
        return any(body.get(key) != value for key, value in SWITCHES[self.thinks].items())
