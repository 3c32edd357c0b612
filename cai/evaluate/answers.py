"""Answers of a model to the prompts of suites, as they come: none is drawn again or left out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cai.engines.base import Engine
from cai.evaluate.records import Answer
from cai.method import Method
from cai.records import Prompt
from cai.roles import expect, make_engines, on_its_day
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress
from cai.runtime.small_jobs import call_all


class Answers:
    """Those of one model, in the order of the prompts, and who gave them."""

    def __init__(self, by_prompt: Sequence[Sequence[Answer]], identity: str) -> None:
        self.by_prompt, self.identity = by_prompt, identity


def answers_of(
    model: str,
    prompts: Sequence[Prompt],
    method: Method,
    *,
    samples: int,
    folder: Path,
    phase: str,
    progress: Progress,
    retry_failed: bool = False,
    engine: Engine | None = None,
) -> Answers:
    """Answers to each prompt, kept in a journal: what was asked before is not asked again.

    Args:
        model: Its name.
        prompts: What it is asked.
        method: Its settings say how texts are drawn, and the system prompt.
        samples: How many answers to each.
        folder: Of the calls.
        phase: What the progress is called.
        progress: Shows how far it is.
        retry_failed: Ask again what failed.
        engine: A model that is there already.

    Raises:
        CaiError: The folder is in use, or the model does not answer at all.
    """
    settings = on_its_day(method.settings, folder)
    settings = settings.model_copy(update={"model": model})
    sampling = settings.sampling("policy")
    policy = make_engines(settings, engine)["policy"]
    expect({"policy": policy}, method)

    async def draw(prompt: Prompt, calls: RowCalls, ordinal: int) -> Answer:
        try:
            made = await calls.generate(
                "respond", 0, prompt.messages, sampling, lambda _: None, ordinal=ordinal
            )
        except Rejected as reason:
            return Answer(text=None, error=f"{reason.error}: {reason.message}")
        return Answer(text=made.text, cut=made.finish_reason == "length")

    async def answer(prompt: Prompt, calls: RowCalls) -> list[Answer]:
        asked = prompt.with_system(settings.system)
        return await calls.together([partial(draw, asked, calls, n) for n in range(samples)])

    progress.phase(phase, len(prompts))
    answers, _ = call_all(
        folder,
        {"policy": policy},
        [(prompt.id, prompt) for prompt in prompts],
        answer,
        seed=settings.seed,
        at_once=settings.max_open_rows,
        retry_failed=retry_failed,
        progress=progress,
        day=settings.date,
    )
    return Answers(answers, policy.identity)
