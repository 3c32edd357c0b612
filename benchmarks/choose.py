"""Scoring K questions after one conversation: the shared beginning once, or K whole passes.

    python benchmarks/choose.py [--questions 16] [--tokens 600] [--repeats 5] [--json FILE]

The conversation is a judge's: seeds and answers, quoted, of about so many tokens; the questions are
the comparison principles of the default constitution. Speed is measured in both dtypes in
alternating repeats, the median counts; the difference of log-probabilities in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import transformers

from cai.config import resolve as resolve_settings
from cai.engines.base import joined
from cai.engines.labels import DEFAULT
from cai.engines.local.chat import Chat
from cai.engines.local.model import LocalModel, load
from cai.engines.local.quiet import quiet_libraries
from cai.engines.local.scoring import common_prefix, label_logprobs
from cai.engines.local.weights import default_model, resolve
from cai.feedback import judge_prompt
from cai.method import Method, load_method
from cai.prompts import read_prompts
from cai.records import Comparison, Prompt, user

Scores = list[tuple[float, ...]]


def conversation(method: Method, chat: Chat, tokens: int) -> str:
    """A judge's prompt of at least so many tokens, from the shipped seeds."""
    texts = [p.last_human_turn for p in read_prompts("seeds:helpful")]
    for count in range(1, len(texts)):
        asked = user(texts[0])
        comparison = Comparison(
            prompt=Prompt(id="x", messages=(asked,), kind="helpful"),
            response_a=" ".join(texts[1 : count + 1]),
            response_b=" ".join(texts[count : 2 * count]),
        )
        read = judge_prompt(comparison, method, DEFAULT)
        if len(chat.encode([user(read)]).ids) >= tokens:
            return read
    raise SystemExit("the seeds do not give so many tokens")


def prompts_of(method: Method, chat: Chat, tokens: int, questions: int) -> list[list[int]]:
    """Token ids of one conversation with each question after it."""
    read = conversation(method, chat, tokens)
    asked = [p for p in method.constitution.principles if p.compare is not None][:questions]
    words = [
        "\n\n"
        + method.templates.render(
            "judge_question",
            question=p.compare,
            why=p.why,
            first_label=DEFAULT.first,
            second_label=DEFAULT.second,
        )
        for p in asked
    ]
    return [chat.encode(joined([user(read)], w), DEFAULT.answer_prefix).ids for w in words]


def timed(work: Callable[[], Scores]) -> tuple[float, Scores]:
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def measure(
    model: LocalModel, prompts: list[list[int]], labels: list[int], repeats: int
) -> dict[str, Any]:
    def shared() -> Scores:
        return label_logprobs(model, prompts, labels, len(prompts))

    def separate() -> Scores:
        return [label_logprobs(model, [p], labels, 1)[0] for p in prompts]

    shared(), separate()
    ways: dict[str, Callable[[], Scores]] = {"shared": shared, "separate": separate}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Scores] = {}
    for _ in range(repeats):
        for name, work in ways.items():
            took, found[name] = timed(work)
            seconds[name].append(took)
    medians = {name: statistics.median(took) for name, took in seconds.items()}
    pairs = zip(found["shared"], found["separate"], strict=True)
    apart = max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
    return {
        "seconds": {name: round(took, 3) for name, took in medians.items()},
        "ratio": round(medians["separate"] / medians["shared"], 2),
        "largest difference of log-probabilities": apart,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    quiet_libraries()
    method = load_method(resolve_settings({}))
    folder = resolve(default_model())
    assert folder is not None
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    for dtype in ("bfloat16", "float32"):
        device = torch.device("cpu")
        model = load(folder, "default", dtype=dtype, device=device, trust_remote_code=False)
        chat = Chat(model.tokenizer)
        labels = chat.label_ids(DEFAULT.names, DEFAULT.answer_prefix)
        prompts = prompts_of(method, chat, options.tokens, options.questions)
        result["questions"] = len(prompts)
        result["tokens"] = {
            "shared": common_prefix(prompts),
            "longest": max(map(len, prompts)),
        }
        result[dtype] = measure(model, prompts, labels, options.repeats)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
