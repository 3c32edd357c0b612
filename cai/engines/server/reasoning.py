"""Does a model reason before it answers, how is it told not to, and which day does it read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cai.cleaning.leaks import is_channels
from cai.engines.local.chat_template import today
from cai.engines.server.abilities import SWITCHES, Abilities
from cai.engines.server.answers import choice_of, end_of, texts_of, thought_tokens, usage_of
from cai.engines.server.rendering import (
    date_argument,
    date_in,
    opens_reasoning,
    rendered,
)
from cai.engines.server.trying import Trying
from cai.errors import CaiError, CallError


def reasons(trying: Trying, answer: Mapping[str, Any]) -> bool:
    """Whether there is reasoning in an answer; raises `CaiError` for channels as one text."""
    choice = choice_of(answer)
    text, reasoning = texts_of(choice, trying.able.api, opened=trying.able.opens)
    if is_channels(text):
        raise CaiError(
            f"{trying.line.model}: the server gives the model's channels as one text: "
            f"{text[:60]!r}",
            "Start it with the model's reasoning parser (vLLM: --reasoning-parser "
            "openai_gptoss, SGLang: --reasoning-parser gpt-oss, llama.cpp: --reasoning-format "
            "auto).",
        )
    cut = not text and end_of(choice) == "length"
    return reasoning is not None or thought_tokens(answer) > 0 or cut


async def settle_reasoning(trying: Trying, answer: dict[str, Any]) -> None:
    """Whether the model reasons first, and how it is told not to."""
    prompt = await _look(trying)
    if not reasons(trying, answer):
        if prompt is not None and not trying.able.switch:
            await _switch_of_template(trying, prompt)
        return
    if await _switched_off(trying):
        return
    await _look(trying)
    # Where a parser tells reasoning apart, what is left is the answer.
    opens = trying.able.opens and not _told_apart(answer)
    trying.learn(thinks=True, opens=opens)


async def _look(trying: Trying) -> str | None:
    """The prompt that the server makes, if it tells: is a block of reasoning open at its end."""
    prompt = await _rendered(trying, trying.able)
    trying.learn(opens=None if prompt is None else opens_reasoning(prompt))
    return prompt


async def _switched_off(trying: Trying) -> bool:
    """Find a switch that works; it is kept."""
    sampling, before = trying.samplings()[0], trying.able
    for name, fields in SWITCHES.items():
        if name == before.switch or not fields.keys().isdisjoint(before.left_out):
            continue
        trying.learn(switch=name)
        try:
            answer = await trying.post(trying.drawn(sampling))
        except CallError:
            continue
        await _look(trying)
        if not reasons(trying, answer):
            return True
    trying.able = before
    return False


async def _switch_of_template(trying: Trying, prompt: str) -> None:
    """Switch off what a template can switch, also where the model did not reason just now."""
    switched = trying.able.model_copy(update={"switch": "enable_thinking"})
    if "chat_template_kwargs" in trying.able.left_out:
        return
    other = await _rendered(trying, switched)
    if other is None or other == prompt:
        return
    before, trying.able = trying.able, switched
    try:
        await trying.post(trying.drawn(trying.samplings()[0]))
    except CallError:
        trying.able = before
        return
    await _look(trying)


async def _rendered(trying: Trying, able: Abilities, **more: Any) -> str | None:
    body = trying.chat(able)
    extra = {**able.fields(trying.day), **more}
    return await rendered(trying.line.ask, trying.line.model, body["messages"], extra)


async def settle_date(trying: Trying) -> None:
    """Whether the template writes the day, and the argument that fixes it."""
    if trying.day is None or "chat_template_kwargs" in trying.able.left_out:
        return
    base = trying.able.fields(None).get("chat_template_kwargs", {})

    async def render(extra: dict[str, Any]) -> str | None:
        arguments = {**base, **extra["chat_template_kwargs"]}
        return await _rendered(trying, trying.able, chat_template_kwargs=arguments)

    prompt = await _rendered(trying, trying.able)
    if prompt is None:
        if await _counts(trying, "date_string"):
            trying.learn(date_argument="date_string", date_format="%d %b %Y")
        return
    form = date_in(prompt, today())
    trying.learn(dated=form is not None)
    if form is not None and (name := await date_argument(render, form)):
        trying.learn(date_argument=name, date_format=form)


async def _counts(trying: Trying, argument: str) -> bool:
    """Whether a template writes an argument: then the prompt is longer by its tokens."""
    base = trying.able.fields(None).get("chat_template_kwargs", {})
    body = {**trying.chat(), trying.able.limit_key: 1}
    lengths = []
    for value in ("1 Jan", "1 Jan" * 64):
        arguments = {"chat_template_kwargs": {**base, argument: value}}
        try:
            answer = await trying.post({**body, **arguments})
        except CallError:
            return False
        lengths.append(usage_of(answer).input_tokens)
    return lengths[1] - lengths[0] >= 64


def _told_apart(answer: Mapping[str, Any]) -> bool:
    message = choice_of(answer).get("message")
    fields = message if isinstance(message, dict) else {}
    return any(fields.get(key) for key in ("reasoning", "reasoning_content"))
