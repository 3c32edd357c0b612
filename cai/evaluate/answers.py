"""Answers of a model to the prompts of suites, as they come: none is drawn again or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cai.checks.asking import ask_all
from cai.engines.base import Engine, Likelihoods
from cai.evaluate.records import Answer
from cai.evaluate.suites.records import SuiteItem
from cai.method import Method
from cai.records import Likelihood, Prompt, Sampling
from cai.roles import make_engines, on_its_day
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress


class Answers:
    """Those of one model, in the order of the prompts, and who gave them."""

    def __init__(self, by_prompt: Sequence[Sequence[Answer]], identity: str) -> None:
        self.by_prompt, self.identity = by_prompt, identity


def answers_of(
    model: str,
    items: Sequence[SuiteItem],
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
        items: What it is asked, and the references of which it says how likely they are, if it can.
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
    able = isinstance(policy, Likelihoods)

    async def answer(item: SuiteItem, calls: RowCalls) -> list[Answer]:
        asked = item.prompt.with_system(settings.system)
        draw = partial(_draw, asked, sampling, calls)
        drawn = await calls.together([partial(draw, n) for n in range(samples)])
        if not (able and item.reference):
            return drawn
        found = await _likelihood(asked, item.reference, calls)
        if found is None:
            return drawn
        about = {"nats": found.per_token, "tokens": found.tokens}
        return [answer.model_copy(update=about) for answer in drawn]

    asked = ask_all(
        replace(method, settings=settings),
        ("policy",),
        [(item.prompt.id, item) for item in items],
        answer,
        folder=folder,
        phase=phase,
        engine=policy,
        retry_failed=retry_failed,
        progress=progress,
    )
    return Answers(asked.results, policy.identity)


async def _draw(prompt: Prompt, sampling: Sampling, calls: RowCalls, ordinal: int) -> Answer:
    try:
        made = await calls.generate(
            "respond", 0, prompt.messages, sampling, lambda _: None, ordinal=ordinal
        )
    except Rejected as reason:
        return Answer(text=None, error=f"{reason.error}: {reason.message}")
    return Answer(text=made.text, cut=made.finish_reason == "length")


async def _likelihood(prompt: Prompt, reference: str, calls: RowCalls) -> Likelihood | None:
    """How likely the model finds a reference; None where it does not fit."""
    try:
        return await calls.likelihood("respond", prompt.messages, reference)
    except Rejected:
        return None
