"""What a server makes of a conversation, where it tells: is a block of reasoning open, the date."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from cai.engines.reasoning import TAGS

# A request to an address beside `/v1`: the JSON object that it answers, None where it is not there.
Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any] | None]]
Turns = Sequence[Mapping[str, Any]]
# Extra fields of a chat; the text of its prompt, or None where the server does not tell.
Render = Callable[[dict[str, Any]], Awaitable[str | None]]

ARGUMENTS = ("date_string", "current_date", "today", "date")  # names of dates in chat templates
FORMATS = (
    *("%d %b %Y", "%d %B %Y", "%Y-%m-%d", "%B %d, %Y", "%b %d, %Y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%A, %d %B %Y", "%A, %B %d, %Y", "%Y/%m/%d", "%d.%m.%Y"),
)
_OPENED = re.compile(
    rf"(?:<(?:{'|'.join(TAGS)})>|\[THINK\]|◁think▷|<\|(?:inner_prefix|START_THINKING)\|>)\s*\Z",
    re.IGNORECASE,
)
_ANOTHER_DAY = date(2001, 2, 3)


async def rendered(ask: Ask, model: str, turns: Turns, extra: Mapping[str, Any]) -> str | None:
    """The prompt that a server makes of a conversation (llama.cpp, vLLM); None if it is not told.

    Args:
        ask: Sends a request to an address of the server.
        model: The model's name there.
        turns: The conversation.
        extra: What is sent with a chat besides.
    """
    body = {"model": model, "messages": list(turns)}
    if arguments := extra.get("chat_template_kwargs"):
        body["chat_template_kwargs"] = arguments
    answer = await ask("/apply-template", body)
    if answer is not None and isinstance(answer.get("prompt"), str):
        return str(answer["prompt"])
    answer = await ask("/tokenize", {**body, "add_generation_prompt": True})
    tokens = answer.get("tokens") if answer is not None else None
    if not isinstance(tokens, list) or not tokens:
        return None
    answer = await ask("/detokenize", {"model": model, "tokens": tokens}) or {}
    texts = [answer.get(key) for key in ("prompt", "text", "content")]
    return next((text for text in texts if isinstance(text, str) and text), None)


def opens_reasoning(prompt: str) -> bool:
    """Whether a prompt ends inside a block of reasoning."""
    return _OPENED.search(prompt) is not None


def date_in(prompt: str, day: date) -> str | None:
    """The format in which a day stands in a prompt, which may be a day on either side."""
    for near in (0, -1, 1):
        for form in FORMATS:
            if (day + timedelta(days=near)).strftime(form) in prompt:
                return form
    return None


async def date_argument(render: Render, form: str) -> str | None:
    """The argument by which a template takes a date in place of today's."""
    other = _ANOTHER_DAY.strftime(form)
    for name in ARGUMENTS:
        prompt = await render({"chat_template_kwargs": {name: other}})
        if prompt is not None and other in prompt:
            return name
    return None
