"""The first questions to a server: what the run will send is tried, and what works is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, NamedTuple

from cai.engines._answers import choice_of, choices_of, end_of, texts_of, thought_tokens, usage_of
from cai.engines._http import steadily
from cai.engines.chat_template import today
from cai.engines.server import requests
from cai.engines.server.abilities import (
    OPTIONAL,
    SWITCHES,
    Abilities,
    Manner,
    Question,
    Trial,
)
from cai.engines.server.leaks import is_channels
from cai.engines.server.refusals import blamed, names_field
from cai.engines.server.rendering import (
    Ask,
    date_argument,
    date_in,
    opens_reasoning,
    rendered,
)
from cai.engines.server.scores import by_ids, by_top, by_votes
from cai.errors import CaiError, CallError, EngineBusy
from cai.records import ChoiceMethod, Sampling, messages_as_data, user

GENERAL = Trial(
    samplings=(Sampling(temperature=0.7, max_tokens=512, seed=1),),
    questions=(
        Question(
            messages=(
                user(
                    "Which of these words is the name of a colour?\n(A) green\n(B) table\n\n"
                    "Name the label of the right option: A or B."
                ),
            ),
            labels=("A", "B"),
            answer_prefix="The right option is (",
        ),
    ),
)
# A model that reasons comes to the end of its reasoning on this within so many tokens, mostly.
_SUM = user("What is 2 + 3? Answer with the number alone.")
_MOST = 128
_FEWER_TOP = 5
_VOTES = 4  # drawn to compare two ways of asking
# Another way than version 0.1.0's must be better by so much: its calls stay usable otherwise.
_MARGIN = 0.05
_GOOD = 0.5
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


async def meet(
    line: Line,
    trial: Trial,
    day: date | None,
    *,
    owner: str,
    orders: bool,
    context: int | None = None,
    known: Abilities | None = None,
) -> Abilities:
    """What a server takes and does.

    Args:
        line: The way to it.
        trial: What will be asked of it.
        day: The date for its template.
        owner: Who owns the model, as it says.
        orders: Whether it may take priorities.
        context: Of the model, in tokens, where that is told.
        known: What was found before; it is kept while all of it still works.

    Raises:
        CallError: It refuses a short question in every form.
        CaiError: Its answers are a model's channels.
        NoAnswer: It does not answer.
    """
    if known is not None:
        kept = known.model_copy(update={"orders": orders})
        meeting = _Meeting(line, trial, day, context, kept)
        if await meeting.still():
            return meeting.able
    switch = "enable_thinking" if owner == "vllm" else ""
    able = Abilities(owner=owner, orders=orders, switch=switch)
    meeting = _Meeting(line, trial, day, context, able)
    await meeting.settle()
    return meeting.able


class _Meeting:
    """What is known so far; each question changes it."""

    def __init__(
        self, line: Line, trial: Trial, day: date | None, context: int | None, able: Abilities
    ) -> None:
        self._line, self._trial, self._day, self._context = line, trial, day, context
        self.able = able

    def _learn(self, **found: Any) -> None:
        self.able = self.able.model_copy(update=found)

    async def settle(self) -> None:
        answer = await self._settle_drawing()
        if self.able.api == "chat":
            await self._settle_reasoning(answer)
            await self._settle_date()
        if self._trial.questions:
            await self._settle_labels()

    async def still(self) -> bool:
        """Whether what was known works as before."""
        able = self.able
        try:
            for sampling in self._samplings():
                answer = await self._post(self._drawn(sampling))
            if self._reasons(answer) and not able.thinks and not able.opens:
                return False
            if self._trial.questions:
                mass = await self._mass()
                return mass is not None and (able.mass is None or mass > able.mass / 4)
        except CallError:
            return False
        return True

    # --- sending --------------------------------------------------------------------------------

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.able.orders and "messages" in body:
            body = {**body, "priority": 1}

        async def once() -> dict[str, Any]:
            try:
                answer = await self._line.post(body)
            except EngineBusy as busy:
                if _UNSUPPORTED.search(str(busy)):  # some gateways refuse with 500
                    raise CallError(str(busy)) from None
                raise
            choices_of(answer)
            return answer

        found: dict[str, Any] = await steadily(once)
        return found

    def _chat(self, able: Abilities | None = None) -> dict[str, Any]:
        turns = messages_as_data([_SUM])
        return requests.conversation(self._line.model, turns, able or self.able, self._day)

    def _drawn(self, sampling: Sampling) -> dict[str, Any]:
        short = sampling.model_copy(update={"max_tokens": min(_MOST, sampling.max_tokens)})
        return {**self._chat(), **requests.drawing(short, self.able)}

    def _samplings(self) -> list[Sampling]:
        """One of each kind; what a server refuses goes by the field, mostly not by its value."""
        kinds = {(s.temperature, s.top_p): s for s in self._trial.samplings}
        return list(kinds.values()) or list(GENERAL.samplings)

    async def _settle_drawing(self) -> dict[str, Any]:
        """The endpoint, and the fields that it takes; the answer to a short question."""
        answer: dict[str, Any] = {}
        for sampling in self._samplings():
            answer = await self._adapted(partial(self._drawn, sampling))
        return answer

    async def _adapted(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        for _ in range(2 * len(OPTIONAL)):
            try:
                return await self._post(build())
            except CallError as error:
                if _NO_ROOM.search(str(error)):  # reasoning took all tokens
                    return _REASONING_ALONE
                if not self._adapt(str(error), build()):
                    return await self._eliminated(build, error)
        return await self._post(build())

    def _adapt(self, said: str, body: Mapping[str, Any]) -> bool:
        """Leave out what a refusal names; False if it names nothing that can be changed."""
        able = self.able
        if able.limit_key == "max_tokens" and names_field(said, "max_completion_tokens"):
            self._learn(limit_key="max_completion_tokens")
            return True
        there = [*(["priority"] if able.orders else []), *(f for f in OPTIONAL if f in body)]
        field = blamed(said, there)
        if field is not None:
            self._leave_out(field)
        elif "messages" in body and re.search(r"chat.?template", said, re.IGNORECASE):
            left_out = tuple(f for f in able.left_out if f != "chat_template_kwargs")
            self._learn(api="completions", switch="", orders=False, left_out=left_out)
        elif able.limit_key == "max_tokens" and names_field(said, "max_tokens"):
            self._learn(limit_key="max_completion_tokens")
        else:
            return False
        return True

    def _leave_out(self, field: str) -> None:
        if field == "priority":
            self._learn(orders=False)
            return
        if field == "chat_template_kwargs":
            self._learn(switch="")
        self._learn(left_out=tuple(sorted({*self.able.left_out, field})))

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
                return await self._post(build())
            except CallError:
                continue
        self.able = before.model_copy(update={"api": "completions", "switch": "", "orders": False})
        try:
            return await self._post(build())
        except CallError:
            self.able = before
            raise error from None

    # --- reasoning ------------------------------------------------------------------------------

    def _reasons(self, answer: Mapping[str, Any]) -> bool:
        choice = choice_of(answer)
        text, reasoning = texts_of(choice, self.able.api)
        if is_channels(text):
            raise CaiError(
                f"{self._line.model}: the server gives the model's channels as one text: "
                f"{text[:60]!r}",
                "Start it with the model's reasoning parser (vLLM: --reasoning-parser "
                "openai_gptoss, SGLang: --reasoning-parser gpt-oss, llama.cpp: --reasoning-format "
                "auto).",
            )
        cut = not text and end_of(choice) == "length"
        return reasoning is not None or thought_tokens(answer) > 0 or cut

    async def _settle_reasoning(self, answer: dict[str, Any]) -> None:
        """Whether the model reasons first, and how it is told not to."""
        prompt = await self._rendered(self.able)
        thinks = self._reasons(answer) or (prompt is not None and opens_reasoning(prompt))
        if thinks:
            thinks = not await self._switched_off(answer)
        elif prompt is not None and not self.able.switch:
            await self._switch_of_template(prompt)
        if thinks:
            prompt, told = await self._rendered(self.able), _told_apart(answer)
            # Where a parser tells reasoning apart, what is left is the answer.
            self._learn(thinks=True, opens=_opens(prompt) and not told if prompt else None)
        else:
            self._learn(opens=None if prompt is None else False)

    async def _switched_off(self, answer: Mapping[str, Any]) -> bool:
        """Find a switch that works; it is kept."""
        sampling, before = self._samplings()[0], self.able
        for name, fields in SWITCHES.items():
            if name == before.switch or not fields.keys().isdisjoint(before.left_out):
                continue
            self._learn(switch=name)
            try:
                answer = await self._post(self._drawn(sampling))
            except CallError:
                continue
            prompt = await self._rendered(self.able)
            if not self._reasons(answer) and not (prompt and opens_reasoning(prompt)):
                return True
        self.able = before
        return False

    async def _switch_of_template(self, prompt: str) -> None:
        """Switch off what a template can switch, also where the model did not reason just now."""
        switched = self.able.model_copy(update={"switch": "enable_thinking"})
        if "chat_template_kwargs" in self.able.left_out:
            return
        other = await self._rendered(switched)
        if other is None or other == prompt:
            return
        before, self.able = self.able, switched
        try:
            await self._post(self._drawn(self._samplings()[0]))
        except CallError:
            self.able = before

    async def _rendered(self, able: Abilities, **more: Any) -> str | None:
        body = self._chat(able)
        extra = {**able.fields(self._day), **more}
        return await rendered(self._line.ask, self._line.model, body["messages"], extra)

    async def _settle_date(self) -> None:
        """Whether the template writes the day, and the argument that fixes it."""
        if self._day is None or "chat_template_kwargs" in self.able.left_out:
            return
        kept = self.able.fields(None).get("chat_template_kwargs", {})

        async def render(extra: dict[str, Any]) -> str | None:
            arguments = {**kept, **extra["chat_template_kwargs"]}
            return await self._rendered(self.able, chat_template_kwargs=arguments)

        prompt = await self._rendered(self.able)
        if prompt is None:
            if await self._counts("date_string"):
                self._learn(date_argument="date_string", date_format="%d %b %Y")
            return
        form = date_in(prompt, today())
        self._learn(dated=form is not None)
        if form is not None and (name := await date_argument(render, form)):
            self._learn(date_argument=name, date_format=form)

    async def _counts(self, argument: str) -> bool:
        """Whether a template writes an argument: then the prompt is longer by its tokens."""
        kept = self.able.fields(None).get("chat_template_kwargs", {})
        body = {**self._chat(), self.able.limit_key: 1}
        lengths = []
        for value in ("1 Jan", "1 Jan" * 64):
            arguments = {"chat_template_kwargs": {**kept, argument: value}}
            try:
                answer = await self._post({**body, **arguments})
            except CallError:
                return False
            lengths.append(usage_of(answer).input_tokens)
        return lengths[1] - lengths[0] >= 64

    # --- labels ---------------------------------------------------------------------------------

    async def _settle_labels(self) -> None:
        """How labels are scored and asked for: the way in which most probability falls on them."""
        first = self._trial.questions[0]
        ids = await self._line.label_ids(first.labels, first.answer_prefix)
        if self.able.api == "chat" and ids is not None:
            mass = await self._try("token", "continued")
            if mass is not None and mass >= _GOOD:
                return
        base = await self._try("top_logprobs", "asked")
        if base is None:
            await self._settle_votes()
            return
        if self.able.api == "completions":
            return
        best = self.able
        for way in self._ways(ids):
            mass = await self._try(*way)
            if mass is not None and _worth(self.able) > _worth(best):
                best = self.able
        self.able = best
        if best.thinks and (best.mass or 0.0) < _GOOD:
            self._learn(waits=True)
            mass = await self._try("top_logprobs", "asked")
            if mass is None or _worth(self.able) <= _worth(best):
                self.able = best

    def _ways(self, ids: Sequence[int] | None) -> list[tuple[ChoiceMethod, Manner]]:
        others: list[tuple[ChoiceMethod, Manner]] = [
            ("top_logprobs", "continued"),
            ("top_logprobs", "assistant"),
            ("top_logprobs", "prefix"),
        ]
        return [("token", "continued"), *others] if ids is not None else others

    async def _try(self, method: ChoiceMethod, manner: Manner) -> float | None:
        """The labels' mass in one way, which is then set; None where the server cannot."""
        self._learn(method=method, manner=manner)
        try:
            mass = await self._mass()
        except CallError as error:
            if not ("logprobs" in str(error) and method != "token" and self.able.top > _FEWER_TOP):
                return None
            self._learn(top=_FEWER_TOP)
            return await self._try(method, manner)
        self._learn(mass=mass)
        return mass

    async def _mass(self) -> float | None:
        """The mean mass over the trial's questions; None where there are no log-probabilities."""
        found = []
        for question in self._trial.questions:
            mass = await self._mass_of(question)
            if mass is None:
                return None
            found.append(mass)
        return math.fsum(found) / len(found)

    async def _mass_of(self, question: Question) -> float | None:
        able, ids = self.able, None
        if able.method == "votes":
            return await self._share_of_votes(question)
        if able.method == "token":
            ids = await self._line.label_ids(question.labels, question.answer_prefix)
            if ids is None:
                return None
        body = self._for_label(question) | requests.scoring(able, ids or (), self._context)
        for _ in range(2):  # an answer without them may be a fault
            choice = choice_of(await self._post(body))
            try:
                if ids is not None:
                    logprobs = by_ids(choice, ids, able)
                else:
                    logprobs = by_top(choice, question.labels, question.answer_prefix, able)
            except EngineBusy:
                continue
            return min(1.0, math.fsum(map(math.exp, logprobs)))
        return None

    def _for_label(self, question: Question) -> dict[str, Any]:
        turns = messages_as_data(question.messages)
        prefix = question.answer_prefix
        return requests.for_label(self._line.model, turns, prefix, self.able, self._day)

    async def _settle_votes(self) -> None:
        """Where there are no log-probabilities: how many answers a call gives, and the words."""
        self._learn(method="votes", manner="asked", waits=self.able.thinks)
        body = self._for_label(self._trial.questions[0]) | requests.voting(
            self.able, 2, 1, self._context
        )
        try:
            single = len(choices_of(await self._post(body))) < 2
        except CallError:
            single = True
        self._learn(votes_a_call=1 if single else requests.VOTES)
        best: Abilities | None = None
        for manner in ("asked", "continued", "assistant", "prefix"):
            if manner != "asked" and (self.able.api == "completions" or self.able.thinks):
                break
            mass = await self._try("votes", manner)
            if mass is not None and (best is None or _worth(self.able) > _worth(best)):
                best = self.able
            if mass is not None and mass >= _GOOD:
                break
        if best is None:
            raise CallError("the server refuses a question for a label in every form")
        self.able = best

    async def _share_of_votes(self, question: Question) -> float:
        body, named, drawn = self._for_label(question), 0, 0
        while drawn < _VOTES:
            how = requests.voting(self.able, _VOTES - drawn, 1 + drawn, self._context)
            choices = choices_of(await self._post(body | how))[: _VOTES - drawn]
            named += sum(by_votes(choices, question.labels, question.answer_prefix, self.able))
            drawn += len(choices)
        return named / drawn


def _worth(able: Abilities) -> float:
    own = able.manner == able.first_manner and not able.waits
    return (able.mass or 0.0) + (_MARGIN if own else 0.0)


def _opens(prompt: str | None) -> bool:
    return prompt is not None and opens_reasoning(prompt)


def _told_apart(answer: Mapping[str, Any]) -> bool:
    message = choice_of(answer).get("message")
    told = message if isinstance(message, dict) else {}
    return any(told.get(key) for key in ("reasoning", "reasoning_content"))
