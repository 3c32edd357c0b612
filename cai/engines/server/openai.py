"""Any OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, hosted APIs) as an engine.

Long, as it is the whole of one class: its start, an answer, and the three ways to a label.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from cai.engines.base import NOBODY, Caller, joined
from cai.engines.server import requests
from cai.engines.server.addresses import only_name
from cai.engines.server.answers import choice_of, choices_of, end_of, texts_of, usage_of
from cai.engines.server.http import ADDRESS_HINT, KEY_HINT, steadily
from cai.engines.server.meeting import meet
from cai.engines.server.scores import by_ids, by_top, by_votes
from cai.engines.server.served import Served
from cai.engines.server.steering import cache_hits_of
from cai.engines.server.trying import Line
from cai.errors import CaiError, CallError, NoAnswer
from cai.records import (
    ChoiceScores,
    Completion,
    Message,
    Sampling,
    Usage,
    canonical_json,
    messages_as_data,
)

# Where a server cuts a conversation that does not fit, and says nothing, one of more than so many
# bytes per token of its context is not sent: four or so is the mean of most languages.
SURE_BYTES = 2


class OpenAIEngine(Served):
    """A served model.

    What the server takes is found by asking it when it starts (`cai.engines.server.meeting`), and
    what it is fed otherwise than by version 0.1.0 is part of its identity.

    Args:
        urls: Base addresses of replicas, ending in `/v1`.
        name: The model's name there; the only one that is served by default.
        timeout: Seconds until a call is given up and sent again.
        concurrency: Calls in flight per replica; by default as many as keep it busy.
        day: The date for a chat template that writes one.
    """

    one_suffix_a_call = True
    reads_control_tokens = True

    def __init__(
        self,
        urls: Sequence[str],
        name: str | None = None,
        *,
        timeout: float = 600.0,
        concurrency: int | None = None,
        day: date | None = None,
    ) -> None:
        super().__init__(urls, name, timeout, concurrency, day)
        self.cuts = False  # whether the server cuts what does not fit, and says nothing
        self._folds_system = False

    # --- start and end --------------------------------------------------------------------------

    async def start(self) -> None:
        """Find out what the server can do.

        Raises:
            CaiError: It does not serve the model, refuses a short question, or is no longer fed as
                the identity says that was known before.
        """
        if self.name is None:
            self.name = await only_name(self.urls)
        before = self.identity if self.asked and not self.unmet else None
        self._replicas.open()
        try:
            await self._meet()
        except CallError as error:
            await self.close()
            raise self._refused(error) from None
        except BaseException:
            await self.close()
            raise
        self.unasked = False
        if before is not None and self.identity != before:
            await self.close()
            raise CaiError(
                f"{self.urls[0]}: has come to take other requests than before: {self.identity}, "
                f"not {before}",
                "Run the same command again: it asks anew what it has to.",
            )

    def _refused(self, error: CallError) -> CaiError:
        hint = "It refuses a short question: look into its log."
        if error.status in (402, 403):
            hint = KEY_HINT
        if error.status in (404, 405):
            hint = ADDRESS_HINT
        return CaiError(f"{self.urls[0]}: {error}", hint)

    async def _meet(self) -> None:
        owners = await self._cards()
        tells_late = await self._told_context() if self.context is None else None
        self.context = self.context or tells_late
        if self._able is None:
            metrics = await self._metrics(self._replicas.any()) or ""
            self._able = await meet(
                Line(self.name or "", self._post, self._beside, self._ids_or_none),
                self.trial,
                self.day,
                owner=min(owners, default=""),
                orders="vllm:" in metrics,
                context=self.context,
                known=self.known,
            )
        if tells_late:
            self.cuts = await self._cuts(tells_late)
        if self.able.method == "token":
            await self._read_labels()

    async def _cuts(self, context: int) -> bool:
        """Whether a conversation that is longer than the context is cut, by trial."""
        long = self._body([{"role": "user", "content": "a " * (context + 64)}])
        try:
            await steadily(lambda: self._post({**long, self.able.limit_key: 1}))
        except (CallError, NoAnswer):  # a fault is no cut
            return False
        return True

    def check_labels(self, choices: Sequence[str], answer_prefix: str) -> None:
        if self.able.method == "token":
            ids = self._labels.get((tuple(choices), answer_prefix))
            if isinstance(ids, CaiError):
                raise ids

    async def close(self) -> None:
        await self._replicas.close()

    # --- calls ----------------------------------------------------------------------------------

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        how = requests.drawing(sampling, self.able)
        answer = await self._adapted(lambda: self._body(messages_as_data(messages)) | how, caller)
        choice = choice_of(answer)
        text, reasoning = texts_of(choice, self.able.api, opened=self.able.opens)
        ended = end_of(choice, wordless=not text and reasoning is None)
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=ended,
            usage=usage_of(answer),
            model=self.name or "",
        )

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        """One call per suffix, one after the other: the first fills the server's prefix cache."""
        how = {"token": self._by_token, "top_logprobs": self._by_top, "votes": self._by_votes}
        score = how[self.able.method]
        return [
            await score(joined(prefix, suffix), choices, answer_prefix, caller)
            for suffix in suffixes
        ]

    async def _by_token(
        self,
        messages: Sequence[Message],
        choices: Sequence[str],
        answer_prefix: str,
        caller: Caller,
    ) -> ChoiceScores:
        """The labels' own tokens after the answer's words, on vLLM."""
        key = (tuple(choices), answer_prefix)
        if key not in self._labels:
            self._labels[key] = await self._label_ids(choices, answer_prefix)
        ids = self._labels[key]
        if isinstance(ids, CaiError):
            raise ids
        how = requests.scoring(self.able, ids)
        answer = await self._label_answer(messages, answer_prefix, how, caller)
        logprobs = by_ids(choice_of(answer), ids, self.able)
        return ChoiceScores(logprobs=logprobs, usage=usage_of(answer), model=self.name or "")

    async def _by_top(
        self,
        messages: Sequence[Message],
        choices: Sequence[str],
        answer_prefix: str,
        caller: Caller,
    ) -> ChoiceScores:
        """The labels among the likeliest tokens; a label that is not there has probability 0."""
        how = requests.scoring(self.able, context=self.context)
        answer = await self._label_answer(messages, answer_prefix, how, caller)
        logprobs = by_top(choice_of(answer), choices, answer_prefix, self.able)
        return ChoiceScores(
            logprobs=logprobs, usage=usage_of(answer), model=self.name or "", method="top_logprobs"
        )

    async def _by_votes(
        self,
        messages: Sequence[Message],
        choices: Sequence[str],
        answer_prefix: str,
        caller: Caller,
    ) -> ChoiceScores:
        """The share of drawn answers that name a label."""
        data = canonical_json([messages_as_data(messages), list(choices), answer_prefix])
        seed = int.from_bytes(hashlib.sha256(data).digest()[:4], "big") >> 1
        counts, usage, drawn = [0] * len(choices), Usage(), 0
        while drawn < requests.VOTES:
            some = min(self.able.votes_a_call, requests.VOTES - drawn)
            how = requests.voting(self.able, some, seed + drawn, self.context)
            answer = await self._label_answer(messages, answer_prefix, how, caller)
            votes = choices_of(answer)[: requests.VOTES - drawn]
            named = by_votes(votes, choices, answer_prefix, self.able)
            counts = [count + more for count, more in zip(counts, named, strict=True)]
            drawn += len(votes)
            usage = usage.plus(usage_of(answer))
        shares = [count / requests.VOTES for count in counts]
        logprobs = tuple(math.log(share) if share else -math.inf for share in shares)
        return ChoiceScores(logprobs=logprobs, usage=usage, model=self.name or "", method="votes")

    async def _label_answer(
        self,
        messages: Sequence[Message],
        answer_prefix: str,
        how: Mapping[str, Any],
        caller: Caller,
    ) -> dict[str, Any]:
        """The server's answer to a conversation in which a label is to be said next."""
        words = (self.name, messages_as_data(messages), answer_prefix)
        return await self._adapted(
            lambda: {
                **requests.for_label(*words, self.able, self.day, folds=self._folds_system),
                **how,
            },
            caller,
        )

    def _body(self, turns: list[dict[str, str]]) -> dict[str, Any]:
        folds = self._folds_system
        return requests.conversation(self.name, turns, self.able, self.day, folds=folds)

    async def _adapted(self, build: Callable[[], dict[str, Any]], caller: Caller) -> dict[str, Any]:
        """Send a call; once more, where the server's words say what it does not take.

        A template without a system role gets that text in the first turn; a replica that takes
        calls as they come is told no priority.
        """

        def urgent() -> dict[str, Any]:
            body = build()
            orders = self.able.orders and "messages" in body
            return {**body, "priority": caller.urgency} if orders else body

        body = urgent()
        folds, able = self._folds_system, self.able
        self._refuse_too_long(body)
        try:
            return await self._post(body, caller)
        except CallError as error:
            low = str(error).lower()
            system = "messages" in body and body["messages"][0]["role"] == "system"
            if system and "system" in low and "role" in low:
                self._folds_system = True
            elif "priority" in body and "priority" in low:
                self._able = able.model_copy(update={"orders": False})
            else:
                raise
            try:
                return await self._post(urgent(), caller)
            except CallError:  # it was not that
                self._folds_system, self._able = folds, able
                raise

    def _refuse_too_long(self, body: Mapping[str, Any]) -> None:
        if not self.cuts or self.context is None:
            return
        texts = (
            [turn["content"] for turn in body["messages"]]
            if "messages" in body
            else [body["prompt"]]
        )
        size = sum(len(text.encode()) for text in texts)
        if size > SURE_BYTES * self.context:
            raise CallError(
                f"{size:,} bytes may not fit into {self.context:,} tokens, and the server would "
                "cut them: give it a larger context"
            )

    async def abilities(self) -> dict[str, bool]:
        """Further abilities of a started server, by trial; none of them is needed."""
        replica = self._replicas.all[0]
        abilities = {
            "load is told (/metrics)": await self._load(replica) is not None,
            "priorities": self.able.orders,
        }
        long = self._body([{"role": "user", "content": "Read this. " * 100}])
        long |= {self.able.limit_key: 1}
        hits = cache_hits_of(await self._metrics(replica) or "")
        for _ in range(2):
            cached = usage_of(await self._post(long)).cached_tokens
        hit = (cache_hits_of(await self._metrics(replica) or "") or 0) > (hits or 0)
        abilities["prefix cache"] = bool(cached) or hit
        abilities["cached tokens are told"] = cached is not None
        return abilities
