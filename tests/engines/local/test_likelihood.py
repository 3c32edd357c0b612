"""How likely a local model finds a text: against a plain forward pass of the same model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from cai.engines.base import Likelihoods
from cai.engines.local.chat import Chat
from cai.engines.local.transformers import TransformersEngine
from cai.engines.scripted import ScriptedEngine
from cai.errors import CallError
from cai.records import Likelihood
from cai.runtime.calls import Calls
from cai.runtime.scheduler import Scheduler
from tests.engines.conftest import CHATML, TEXTS, tiny_tokenizer, user
from tests.engines.local.test_transformers import with_engine
from tests.helpers import MemoryStore

ANSWERS = ("Yes.", "A longer answer, of several words.", "x")


def likelihoods(folder: Path, answers: tuple[str, ...]) -> list[Likelihood]:
    async def use(engine: TransformersEngine) -> list[Likelihood]:
        calls = [engine.likelihood(user(TEXTS[0]), answer) for answer in answers]
        return await asyncio.gather(*calls)

    return with_engine(folder, use)


def test_it_is_the_sum_of_a_plain_forward_pass(tiny_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    chat = Chat(tiny_tokenizer(CHATML))
    found = likelihoods(tiny_folder, ANSWERS)
    for answer, one in zip(ANSWERS, found, strict=True):
        (row,) = chat.learnt(user(TEXTS[0]), [answer], "<|im_end|>")
        with torch.inference_mode():
            logits = model(torch.tensor([row.ids])).logits[0].float().log_softmax(-1)
        expected = -sum(float(logits[n - 1, row.ids[n]]) for n in range(row.start, len(row.ids)))
        assert one.nats == pytest.approx(expected, rel=1e-4)
        assert one.tokens == len(row.ids) - row.start
        assert one.per_token == pytest.approx(expected / one.tokens, rel=1e-4)


def test_who_waits_together_changes_nothing(tiny_folder: Path) -> None:
    together = likelihoods(tiny_folder, ANSWERS)
    alone = [likelihoods(tiny_folder, (answer,))[0] for answer in ANSWERS]
    assert [one.nats for one in together] == pytest.approx([one.nats for one in alone], rel=1e-6)


def test_what_does_not_fit_fails_and_the_others_do_not(tiny_folder: Path) -> None:
    async def use(engine: TransformersEngine) -> None:
        with pytest.raises(CallError, match="context of"):
            await engine.likelihood(user(TEXTS[0]), "word " * 4000)
        assert (await engine.likelihood(user(TEXTS[0]), "Yes.")).nats > 0

    with_engine(tiny_folder, use)


def test_a_finished_call_is_not_made_again(tiny_folder: Path) -> None:
    store = MemoryStore()

    async def use(engine: TransformersEngine) -> tuple[Likelihood, Likelihood]:
        schedulers = {"policy": Scheduler(engine, 1)}
        calls = Calls(store, 0, {"policy": engine.identity}, schedulers=schedulers)
        first = await calls.row("a").likelihood("respond", user(TEXTS[0]), "Yes.")
        assert calls.tally.made == 1
        replay = Calls(store, 0, {"policy": engine.identity})
        return first, await replay.row("a").likelihood("respond", user(TEXTS[0]), "Yes.")

    first, again = with_engine(tiny_folder, use)
    assert first == again
    assert len(store.values) == 1


def test_not_every_engine_can(tiny_folder: Path) -> None:
    assert isinstance(TransformersEngine(str(tiny_folder)), Likelihoods)
    assert not isinstance(ScriptedEngine(), Likelihoods)
