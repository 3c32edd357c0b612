"""Answers of a model to prompts, as they come: nothing is drawn again and nothing is left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cai.engines.base import Engine
from cai.records import Completion, Prompt, Sampling
from cai.runtime.calls import RowCalls
from cai.runtime.progress import Progress
from cai.runtime.small_jobs import call_all


def answers_of(
    engine: Engine,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    folder: Path,
    progress: Progress,
    *,
    seed: int = 0,
) -> list[Completion]:
    """One answer to each prompt, kept in a journal: what was asked before is not asked again.

    Raises:
        CaiError: The folder is in use, or the model does not answer.
        Rejected: A call cannot succeed.
    """

    async def answer(prompt: Prompt, calls: RowCalls) -> Completion:
        return await calls.generate("respond", 0, prompt.messages, sampling, lambda made: None)

    completions, _ = call_all(
        folder,
        {"policy": engine},
        [(prompt.id, prompt) for prompt in prompts],
        answer,
        seed=seed,
        at_once=len(prompts),
        retry_failed=False,
        progress=progress,
    )
    return completions
