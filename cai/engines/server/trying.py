"""Requests that are tried: what a refusal names is left out, and what was learnt is kept."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from cai.engines.server import requests
from cai.engines.server.abilities import OPTIONAL, Abilities, Trial
from cai.engines.server.answers import choices_of
from cai.engines.server.http import steadily
from cai.engines.server.refusals import blamed, names_field
from cai.engines.server.rendering import Ask
from cai.errors import CallError, EngineBusy
from cai.records import Sampling, messages_as_data, user

# A model that reasons comes to the end of its reasoning on this within so many tokens, mostly.
_SUM = user("What is 2 + 3? Answer with the number alone.")
_MOST = 128
_PLAIN = Sampling(temperature=0.7, max_tokens=512, seed=1)
_NO_ROOM = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
_UNSUPPORTED = re.compile(r"UnsupportedParams|does not support param", re.IGNORECASE)
_REASONING_ALONE: dict[str, Any] = {
    "choices": [{"message": {"content": ""}, "finish_reason": "length"}]
}


class Line(NamedTuple):
    """The way to a server: its name there, a conversation's answer, an address beside `/v1`."""

    model: str
    post: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ask: Ask
    label_ids: Callable[[Sequence[str], str], Awaitable[list[int] | None]]


class Trying:
    """What is known so far (`able`); each request that is tried may change it.

    Args:
        line: The way to the server.
        trial: What will be asked of it.
        day: The date for its template.
        context: Of the model, in tokens, where that is told.
        able: What is taken for granted at first.
    """

    def __init__(
        self, line: Line, trial: Trial, day: date | None, context: int | None, able: Abilities
    ) -> None:
        self.line, self.trial, self.day, self.context = line, trial, day, context
        self.able = able

    def learn(self, **changes: Any) -> None:
        self.able = self.able.model_copy(update=changes)

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.able.orders and "messages" in body:
            body = {**body, "priority": 1}

        async def once() -> dict[str, Any]:
            try:
                answer = await self.line.post(body)
            except EngineBusy as busy:
                if _UNSUPPORTED.search(str(busy)):  # some gateways refuse with 500
                    raise CallError(str(busy)) from None
                raise
            choices_of(answer)
            return answer

        result: dict[str, Any] = await steadily(once)
        return result

    def chat(self, able: Abilities | None = None) -> dict[str, Any]:
        turns = messages_as_data([_SUM])
        return requests.conversation(self.line.model, turns, able or self.able, self.day)

    def drawn(self, sampling: Sampling) -> dict[str, Any]:
        short = sampling.model_copy(update={"max_tokens": min(_MOST, sampling.max_tokens)})
        return {**self.chat(), **requests.drawing(short, self.able)}

    def samplings(self) -> list[Sampling]:
        """One of each kind; what a server refuses goes by the field, mostly not by its value."""
        kinds = {(s.temperature, s.top_p): s for s in self.trial.samplings}
        return list(kinds.values()) or [_PLAIN]

    async def adapted(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        for _ in range(2 * len(OPTIONAL)):
            try:
                return await self.post(build())
            except CallError as error:
                if _NO_ROOM.search(str(error)):  # reasoning took all tokens
                    return _REASONING_ALONE
                if not self._adapt(str(error), build()):
                    return await self._eliminated(build, error)
        return await self.post(build())

    def _adapt(self, refusal: str, body: Mapping[str, Any]) -> bool:
        """Leave out what a refusal names; False if it names nothing that can be changed."""
        able = self.able
        if able.limit_key == "max_tokens" and names_field(refusal, "max_completion_tokens"):
            self.learn(limit_key="max_completion_tokens")
            return True
        there = [*(["priority"] if able.orders else []), *(f for f in OPTIONAL if f in body)]
        field = blamed(refusal, there)
        if field is not None:
            self._leave_out(field)
        elif "messages" in body and re.search(r"chat.?template", refusal, re.IGNORECASE):
            left_out = tuple(f for f in able.left_out if f != "chat_template_kwargs")
            self.learn(api="completions", switch="", orders=False, left_out=left_out)
        elif able.limit_key == "max_tokens" and names_field(refusal, "max_tokens"):
            self.learn(limit_key="max_completion_tokens")
        else:
            return False
        return True

    def _leave_out(self, field: str) -> None:
        if field == "priority":
            self.learn(orders=False)
            return
        if field == "chat_template_kwargs":
            self.learn(switch="")
        self.learn(left_out=tuple(sorted({*self.able.left_out, field})))

    async def _eliminated(
        self, build: Callable[[], dict[str, Any]], error: CallError
    ) -> dict[str, Any]:
        """The answer without the field that is in the way, where the refusal does not name it."""
        if error.status in (402, 403):
            raise error
        before = self.able
        there = [f for f in OPTIONAL if f in build() or (f == "priority" and before.orders)]
        for fields in ([[field] for field in there] + [there]) if there else []:
            self.able = before
            for field in fields:
                self._leave_out(field)
            try:
                return await self.post(build())
            except CallError:
                continue
        self.able = before.model_copy(update={"api": "completions", "switch": "", "orders": False})
        try:
            return await self.post(build())
        except CallError:
            self.able = before
            raise error from None
