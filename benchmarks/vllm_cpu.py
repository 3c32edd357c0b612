"""Labels and a whole run on a real vLLM server on the CPU, with the small model.

    CAI_VLLM_PYTHON=.venv-vllm/bin/python python benchmarks/vllm_cpu.py [labels] [run]

labels: one token with a shared prefix against verdicts that are written, through the openai SDK of
--openai, on one server. run: a run of cai through the server's address against the same engine in
process given the same tokens at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servers import Table, versions

import cai
from cai.checks.pairs import LabelledPair, read_pairs
from cai.config import ROLES, resolve
from cai.engines.base import NOBODY, Caller
from cai.engines.labels import DEFAULT
from cai.engines.server import vllm, vllm_command
from cai.engines.server.openai import OpenAIEngine
from cai.feedback import judge, judge_prompt
from cai.files import pairs_file
from cai.method import load_method
from cai.records import ChoiceScores, Comparison, Completion, Message, Sampling, messages_as_data
from cai.runtime.calls import Calls
from cai.runtime.journal import Journal
from cai.runtime.scheduler import Scheduler

PEERS = Path(__file__).parent / "peers"
SHORT = {"policy_max_tokens": 48, "critic_max_tokens": 48, "reviser_max_tokens": 48}
REASONS = 128  # tokens of a verdict that is explained


def forget(engine: OpenAIEngine) -> None:
    """Empty the server's prefix cache, so that no way of asking profits from another."""
    root = engine.urls[0].removesuffix("/v1")
    urllib.request.urlopen(urllib.request.Request(f"{root}/reset_prefix_cache", method="POST"))


# --- labels -------------------------------------------------------------------------------------


async def one_token(
    engine: OpenAIEngine, pairs: Sequence[LabelledPair], settings: Any, folder: Path
) -> tuple[float, dict[tuple[str, int, str], bool]]:
    """Seconds, and whether the first option is preferred, by pair, order and principle."""
    method = load_method(settings)
    scheduler = Scheduler(engine, len(pairs))
    journal = Journal(folder / "labels.sqlite")
    calls = Calls(
        journal, 0, dict.fromkeys(ROLES, engine.identity), dict.fromkeys(ROLES, scheduler)
    )
    found: dict[tuple[str, int, str], bool] = {}

    async def one(number: int, pair: LabelledPair) -> None:
        comparison = comparison_of(pair)
        principles = method.compared_by(comparison.prompt, "revision")
        label = await judge(comparison, principles, method, calls.row(pair.prompt.id, number))
        scheduler.row_done()
        for judgement in label.judgements:
            found[pair.prompt.id, 0, judgement.principle_id] = judgement.q_ab > 0.5
            found[pair.prompt.id, 1, judgement.principle_id] = judgement.q_ba > 0.5

    await scheduler.start()
    begun = time.monotonic()
    await asyncio.gather(*(one(n, pair) for n, pair in enumerate(pairs)))
    seconds = time.monotonic() - begun
    await engine.close()
    journal.close()
    return seconds, found


def comparison_of(pair: LabelledPair) -> Comparison:
    return Comparison(prompt=pair.prompt, response_a=pair.chosen, response_b=pair.rejected)


def verdict_prompts(
    pairs: Sequence[LabelledPair], settings: Any, ask: str, *, principle_first: bool
) -> dict[tuple[str, int, str], str]:
    """What a judge that writes is asked, by pair, order and principle."""
    method = load_method(settings)
    found = {}
    for pair in pairs:
        comparison = comparison_of(pair)
        for order, shown in enumerate((comparison, comparison.swap())):
            read = judge_prompt(shown, method, DEFAULT)
            for principle in method.compared_by(comparison.prompt, "revision"):
                parts = (read, principle.compare)
                key = (pair.prompt.id, order, principle.id)
                found[key] = "\n\n".join([*(parts[::-1] if principle_first else parts), ask])
    return found


def verdict_of(text: str) -> bool | None:
    """Whether the last verdict is for the first option; None where there is none."""
    said = re.findall(r"\b([AB])\b", text)
    return said[-1] == "A" if said else None


def part_labels(given: argparse.Namespace, table: Table, engine: OpenAIEngine) -> None:
    settings = resolve({"judge_principles": given.principles})
    pairs = read_pairs(pairs_file())[0][: given.pairs]
    with tempfile.TemporaryDirectory() as folder:
        forget(engine)
        seconds, ours = asyncio.run(one_token(engine, pairs, settings, Path(folder)))
    table.head(
        f"{len(ours)} labels: {len(pairs)} pairs, {given.principles} principles, both orders",
        *("labels/s", "ours is faster by", "no verdict in", "same verdict in"),
    )
    rate = len(ours) / seconds
    table.row("labels", "cai: one token, shared prefix", rate=rate, ratio="", none="", same="")
    letter = "Reply with the letter of the better answer."
    reason = "Explain in a few sentences, then end with the letter of the better answer."
    for name, ask, tokens, first in (
        ("SDK: a letter is written, the principle last", letter, 8, False),
        ("SDK: reason and verdict are written, the principle last", reason, REASONS, False),
        ("SDK: reason and verdict are written, the principle first", reason, REASONS, True),
    ):
        prompts = verdict_prompts(pairs, settings, ask, principle_first=first)
        forget(engine)
        command = [given.openai, str(PEERS / "verdicts_with_openai.py"), engine.urls[0]]
        done = subprocess.run(
            [*command, str(engine.name), str(tokens)],
            input=json.dumps(list(prompts.values())),
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(done.stdout)
        verdicts = {
            key: verdict
            for key, (text, _) in zip(prompts, told["answers"], strict=True)
            if (verdict := verdict_of(text)) is not None
        }
        same = sum(ours[key] == verdict for key, verdict in verdicts.items())
        theirs = len(prompts) / told["seconds"]
        table.row(
            "labels",
            name,
            rate=theirs,
            ratio=rate / theirs,
            none=f"{1 - len(verdicts) / len(prompts):.1%}",
            same=f"{same / max(1, len(verdicts)):.1%}",
        )


# --- a whole run --------------------------------------------------------------------------------


class Recorded(OpenAIEngine):
    """Keeps what was asked, and how much was answered."""

    def __init__(self, urls: Sequence[str], name: str) -> None:
        super().__init__(urls, name)
        self.calls: list[dict[str, Any]] = []
        self.began = self.ended = 0.0

    def _keep(self, messages: Sequence[Message], before: str, **how: Any) -> None:
        turns = messages_as_data(messages)
        if before:
            turns.append({"role": "assistant", "content": before})
        self.calls.append({"messages": turns, **how})
        self.ended = time.monotonic()

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        self.began = self.began or time.monotonic()
        made = await super().generate(messages, sampling, caller)
        how = {"temperature": sampling.temperature, "seed": sampling.seed}
        self._keep(messages, "", tokens=made.usage.output_tokens, **how)
        return made

    async def _by_token(
        self,
        messages: Sequence[Message],
        choices: Sequence[str],
        answer_prefix: str,
        caller: Caller,
    ) -> ChoiceScores:
        scores = await super()._by_token(messages, choices, answer_prefix, caller)
        self._keep(messages, answer_prefix, tokens=1, temperature=0, seed=0)
        return scores


def part_run(given: argparse.Namespace, table: Table, engine: OpenAIEngine) -> None:
    recorded = Recorded(engine.urls, str(engine.name))
    with tempfile.TemporaryDirectory() as folder:
        forget(engine)
        run = cai.generate(
            engine=recorded,
            limit=given.rows,
            out=f"{folder}/run",
            revisions=1,
            assess=False,
            **SHORT,
        )
        made = run.manifest.calls["made"]
    seconds = recorded.ended - recorded.began
    forget(engine)
    given.run = (made, seconds, asyncio.run(at_once(engine, recorded.calls)), recorded.calls)


async def at_once(engine: OpenAIEngine, calls: Sequence[dict[str, Any]]) -> float:
    """Seconds of the server for the same calls, which all are there at the start."""
    await engine.start()

    async def one(call: dict[str, Any]) -> None:
        goes_on = call["messages"][-1]["role"] == "assistant"
        length = {"max_tokens": call["tokens"], "min_tokens": call["tokens"], "ignore_eos": True}
        how = {"continue_final_message": goes_on, "add_generation_prompt": not goes_on}
        body = {key: call[key] for key in ("messages", "temperature", "seed")}
        await engine._replicas.post(
            "/chat/completions", {"model": engine.name, **body, **length, **how}
        )

    begun = time.monotonic()
    await asyncio.gather(*map(one, calls))
    seconds = time.monotonic() - begun
    await engine.close()
    return seconds


def raw(given: argparse.Namespace, table: Table, model: str) -> None:
    """The server has ended: its memory and cores are the engine's."""
    made, seconds, served, calls = given.run
    sizes = (str(vllm_command.CPU_CONTEXT), str(vllm_command.CPU_BLOCK))
    done = subprocess.run(
        [vllm_command.interpreter(), str(PEERS / "raw_vllm.py"), model, *sizes],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        env={**os.environ, **given.env},
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    told = json.loads(lines[-1])
    table.head(
        f"A run of {given.rows} prompts, {made:,} calls: {told['read']:,} tokens read, "
        f"{told['written']:,} written",
        *("seconds", "of the raw engine's speed"),
    )
    raw_seconds = told["seconds"]
    for name, taken in (
        ("raw engine in process, all calls at once", raw_seconds),
        ("the server, all calls at once", served),
        ("cai through the server, each call after those that it needs", seconds),
    ):
        table.row("run", name, seconds=taken, share=raw_seconds / taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=["labels", "run", []], default=[])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--principles", type=int, default=8)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--openai", metavar="PYTHON")
    parser.add_argument("--json", type=Path, help="keep the figures in a file")
    given = parser.parse_args()
    given.datatrove = given.data_designer = None
    given.env = {"VLLM_CPU_KVCACHE_SPACE": "2", "OMP_WAIT_POLICY": "PASSIVE", "DO_NOT_TRACK": "1"}
    parts = given.parts or ["labels", "run"]
    os.environ |= {"VLLM_SERVER_DEV_MODE": "1", **given.env}  # for /reset_prefix_cache
    print(versions(given))
    table = Table()
    server = vllm.VllmEngine("default")
    asyncio.run(started(server, given, table, parts))
    if "run" in parts:
        raw(given, table, server._source)
    if given.json:
        given.json.write_text(json.dumps(table.results, indent=2) + "\n")


async def started(
    server: vllm.VllmEngine, given: argparse.Namespace, table: Table, parts: Sequence[str]
) -> None:
    await server.start()
    try:
        for name, part in (("labels", part_labels), ("run", part_run)):
            if name in parts:
                engine = OpenAIEngine(server.urls, "model")
                await asyncio.to_thread(part, given, table, engine)
    finally:
        await server.close()


if __name__ == "__main__":
    main()
