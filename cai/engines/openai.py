"""Any OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, hosted APIs) as an engine."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any

from cai.engines._addresses import cards_of, only_name
from cai.engines._answers import (
    choice_of,
    choices_of,
    context_of,
    end_of,
    texts_of,
    usage_of,
)
from cai.engines._http import ADDRESS_HINT, CONNECT, KEY_HINT, Replica, Replicas, steadily
from cai.engines._steering import Load, Steering, cache_hits_of, load_of
from cai.engines.base import URGENCY, Capacity, joined
from cai.engines.labels import CANDIDATES
from cai.engines.server import requests
from cai.engines.server.abilities import Abilities, Trial
from cai.engines.server.leaks import trimmed
from cai.engines.server.meeting import GENERAL, Line, meet
from cai.engines.server.scores import by_ids, by_top, by_votes
from cai.errors import CaiError, CallError, EngineBusy, NoAnswer
from cai.records import (
    ChoiceMethod,
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
_NOBODY = "cai-no-such-model"


class _NotListed(CaiError):
    """A server names what it serves, and the model is not there."""


class OpenAIEngine:
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
        self.name = name
        self.context: int | None = None
        self.cuts = False  # whether the server cuts what does not fit, and says nothing
        self.trial: Trial = GENERAL
        self._timeout, self._concurrency, self.day = timeout, concurrency, day
        self.asked = bool(urls)
        self._serve_at(urls)
        self._able: Abilities | None = None
        self._stored: Mapping[str, Abilities] = {}
        self.unasked = False
        self._folds_system = False
        self._labels: dict[tuple[tuple[str, ...], str], list[int] | CaiError] = {}
        self._silent: set[str] = set()  # replicas that do not tell their load
        self._absent: set[str] = set()  # paths beside `/v1` that are not there

    def _serve_at(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._replicas = Replicas(self.urls, self._timeout, self._card)
        self._steering = Steering(self.urls)

    # --- who ------------------------------------------------------------------------------------

    @property
    def able(self) -> Abilities:
        """What is known of the server: found, or found before, or nothing yet."""
        return self.known or Abilities()

    @property
    def known(self) -> Abilities | None:
        return self._able or self._stored.get(self.name or "")

    @property
    def method(self) -> ChoiceMethod:
        """How labels are scored."""
        return self.able.method

    @property
    def unmet(self) -> bool:
        """Whether the server has to be asked before its identity is known."""
        return self.asked and self.known is None and not self.unasked

    def recall(self, stored: Mapping[str, Abilities]) -> None:
        """Take what was found before, by name of a model."""
        self._stored = stored

    def as_before(self) -> None:
        """Go by version 0.1.0's identity: all its calls are there, and the server is not asked."""
        self.unasked = True

    @property
    def identity(self) -> str:
        """The served name, asked of the server where none was given, and what it is fed."""
        if self.name is None:
            with ThreadPoolExecutor(1) as thread:  # a loop may be running in ours
                asked = thread.submit(asyncio.run, only_name(self.urls))
            try:
                self.name = asked.result()
            except CaiError:
                if len(self._stored) != 1:
                    raise
                self.name = next(iter(self._stored))
        more = self.known.differences(self.day) if self.known is not None else {}
        return " ".join([self.first_identity, *(f"{k}={v}" for k, v in sorted(more.items()))])

    @property
    def first_identity(self) -> str:
        """The identity of version 0.1.0."""
        return f"server:{self.name}"

    def known_identity(self) -> str | None:
        if self.name is None and len(self._stored) == 1:
            self.name = next(iter(self._stored))
        return None if self.name is None else self.identity

    def feeding(self) -> dict[str, str]:
        if self.known is None:
            return {"server": "not asked yet what it takes"} if self.asked else {}
        return self.known.words(self.day)

    def warnings(self) -> list[str]:
        """What was found that a user has to know."""
        told = self.known.warnings() if self.known is not None else []
        return [f"{self.name}: {warning}" for warning in told]

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

    async def _cards(self) -> set[str]:
        """Ask each replica what it serves; who owns the model."""
        found = await asyncio.gather(
            *(steadily(lambda r=r: self._card(r)) for r in self._replicas.all),
            return_exceptions=True,
        )
        cards = [card for card in found if not isinstance(card, BaseException)]
        for replica, card in zip(self._replicas.all, found, strict=True):
            if isinstance(card, BaseException):
                if not cards or not isinstance(card, NoAnswer):
                    raise card
                replica.failed()
            else:
                replica.known = True
        lengths = [n for card in cards if isinstance(n := card.get("max_model_len"), int)]
        self.context = min(lengths, default=self.context)
        owners = {str(card["owned_by"]) for card in cards if card.get("owned_by")}
        return {"vllm"} if "vllm" in owners else owners

    async def _card(self, replica: Replica) -> dict[str, Any]:
        """What a replica says of the model; nothing where it does not say what it serves."""
        try:
            cards = await cards_of(self._replicas, replica)
        except CallError:
            cards = {}
        try:
            self._recognise(replica, cards)
        except _NotListed:
            if not await self._goes_by_name(replica):
                raise
        return cards.get(self.name or "", {})

    def _recognise(self, replica: Replica, served: Collection[str]) -> None:
        """Raise `CaiError` if a replica names what it serves, and the model is not there."""
        if served and not {self.name, f"models/{self.name}"} & set(served):
            told = ", ".join(sorted(served)[:10])
            raise _NotListed(f"{replica.url}: serves no model {self.name}", f"It serves: {told}.")

    async def _goes_by_name(self, replica: Replica) -> bool:
        """Whether a server refuses a name that nobody has; then not all that it has is listed."""
        turns = [{"role": "user", "content": "Say A."}]
        body = {"model": _NOBODY, "messages": turns, "max_tokens": 1}
        try:
            await self._replicas.ask(replica, "POST", f"{replica.url}/chat/completions", body)
        except CallError:
            return True
        except CaiError:
            return False
        return False

    async def _beside(
        self, path: str, body: dict[str, Any], tries: int = 2
    ) -> dict[str, Any] | None:
        """What a replica answers at an address beside `/v1`; None where it has none there."""
        if path in self._absent:
            return None
        try:
            answer: dict[str, Any] = await steadily(lambda: self._ask_beside(path, body), tries)
        except CallError as error:
            if error.status != 400:  # else it is this body that it does not take
                self._absent.add(path)
            return None
        except CaiError:
            self._absent.add(path)
            return None
        return answer

    async def _ask_beside(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        replica = self._replicas.any()
        try:
            return await self._replicas.ask(replica, "POST", replica.root + path, body)
        except EngineBusy as busy:
            if "no JSON" in str(busy):  # a page for people
                raise CallError(str(busy)) from None
            replica.failed()
            raise

    async def _told_context(self) -> int | None:
        """The context, as llama.cpp and Ollama tell it."""
        replica = self._replicas.any()
        for path in ("/props", "/api/ps"):
            try:
                told = await self._replicas.ask(replica, "GET", replica.root + path)
            except (EngineBusy, CallError, CaiError):
                continue
            if (context := context_of(told, self.name or "")) is not None:
                return context
        return None

    async def _cuts(self, context: int) -> bool:
        """Whether a conversation that is longer than the context is cut, by trial."""
        long = self._body([{"role": "user", "content": "a " * (context + 64)}])
        try:
            await steadily(lambda: self._post({**long, self.able.limit_key: 1}))
        except (CallError, NoAnswer):  # a fault is no cut
            return False
        return True

    async def _read_labels(self) -> None:
        """The token ids of the labels that may be asked for."""
        for labels in CANDIDATES:
            key = (labels.names, labels.answer_prefix)
            try:
                self._labels[key] = await self._label_ids(*key)
            except CaiError as error:
                self._labels[key] = error

    async def _ids_or_none(self, choices: Sequence[str], answer_prefix: str) -> list[int] | None:
        try:
            return await self._label_ids(choices, answer_prefix)
        except CaiError:
            return None

    async def _label_ids(self, choices: Sequence[str], answer_prefix: str) -> list[int]:
        before = await self._tokens(answer_prefix)
        ids = []
        for choice in choices:
            after = await self._tokens(answer_prefix + choice)
            if len(after) != len(before) + 1 or after[:-1] != before:
                raise CaiError(
                    f"{choice!r} is not one token of {self.name} after the answer's words"
                )
            ids.append(after[-1])
        if len(set(ids)) != len(ids):
            raise CaiError(f"the labels {list(choices)} are not distinct tokens of {self.name}")
        return ids

    async def _tokens(self, text: str) -> list[int]:
        body = {"model": self.name, "prompt": text, "add_special_tokens": False}
        answer = await self._beside("/tokenize", body, 6) or {}
        tokens = answer.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(t, int) for t in tokens):
            raise CaiError(f"{self.name}: the server does not tell its tokens")
        return tokens

    def check_labels(self, choices: Sequence[str], answer_prefix: str) -> None:
        if self.able.method == "token":
            found = self._labels.get((tuple(choices), answer_prefix))
            if isinstance(found, CaiError):
                raise found

    async def close(self) -> None:
        await self._replicas.close()

    # --- calls ----------------------------------------------------------------------------------

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        how = requests.drawing(sampling, self.able)
        answer = await self._adapted(lambda: self._body(messages_as_data(messages)) | how)
        choice = choice_of(answer)
        text, reasoning = texts_of(choice, self.able.api, opened=self.able.opens)
        ended = end_of(choice, wordless=not text and reasoning is None)
        text, leak = trimmed(text)
        return Completion(
            text=text,
            reasoning=reasoning,
            leak=leak,
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
    ) -> list[ChoiceScores]:
        """One call per suffix, one after the other: the first fills the server's prefix cache."""
        how = {"token": self._by_token, "top_logprobs": self._by_top, "votes": self._by_votes}
        score = how[self.able.method]
        return [await score(joined(prefix, suffix), choices, answer_prefix) for suffix in suffixes]

    async def _by_token(
        self, messages: Sequence[Message], choices: Sequence[str], answer_prefix: str
    ) -> ChoiceScores:
        """The labels' own tokens after the answer's words, on vLLM."""
        key = (tuple(choices), answer_prefix)
        if key not in self._labels:
            self._labels[key] = await self._label_ids(choices, answer_prefix)
        ids = self._labels[key]
        if isinstance(ids, CaiError):
            raise ids
        how = requests.scoring(self.able, ids)
        answer = await self._adapted(partial(self._for_label, messages, answer_prefix, how))
        found = by_ids(choice_of(answer), ids, self.able)
        return ChoiceScores(logprobs=found, usage=usage_of(answer), model=self.name or "")

    async def _by_top(
        self, messages: Sequence[Message], choices: Sequence[str], answer_prefix: str
    ) -> ChoiceScores:
        """The labels among the likeliest tokens; a label that is not there has probability 0."""
        how = requests.scoring(self.able, context=self.context)
        answer = await self._adapted(partial(self._for_label, messages, answer_prefix, how))
        found = by_top(choice_of(answer), choices, answer_prefix, self.able)
        return ChoiceScores(
            logprobs=found, usage=usage_of(answer), model=self.name or "", method="top_logprobs"
        )

    async def _by_votes(
        self, messages: Sequence[Message], choices: Sequence[str], answer_prefix: str
    ) -> ChoiceScores:
        """The share of drawn answers that name a label."""
        data = canonical_json([messages_as_data(messages), list(choices), answer_prefix])
        seed = int.from_bytes(hashlib.sha256(data).digest()[:4], "big") >> 1
        counts, usage, drawn = [0] * len(choices), Usage(), 0
        while drawn < requests.VOTES:
            some = min(self.able.votes_a_call, requests.VOTES - drawn)
            how = requests.voting(self.able, some, seed + drawn, self.context)
            answer = await self._adapted(partial(self._for_label, messages, answer_prefix, how))
            votes = choices_of(answer)[: requests.VOTES - drawn]
            named = by_votes(votes, choices, answer_prefix, self.able)
            counts = [count + more for count, more in zip(counts, named, strict=True)]
            drawn += len(votes)
            usage = usage.plus(usage_of(answer))
        shares = [count / requests.VOTES for count in counts]
        found = tuple(math.log(share) if share else -math.inf for share in shares)
        return ChoiceScores(logprobs=found, usage=usage, model=self.name or "", method="votes")

    def _for_label(
        self, messages: Sequence[Message], answer_prefix: str, how: Mapping[str, Any]
    ) -> dict[str, Any]:
        turns, folds = messages_as_data(messages), self._folds_system
        body = requests.for_label(self.name, turns, answer_prefix, self.able, self.day, folds=folds)
        return {**self._urgent(body), **how}

    def _body(self, turns: list[dict[str, str]]) -> dict[str, Any]:
        return self._urgent(
            requests.conversation(self.name, turns, self.able, self.day, folds=self._folds_system)
        )

    def _urgent(self, body: dict[str, Any]) -> dict[str, Any]:
        orders = self.able.orders and "messages" in body
        return {**body, "priority": URGENCY.get()} if orders else body

    async def _adapted(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send a call; once more, where the server's words say what it does not take.

        A template without a system role gets that text in the first turn; a replica that takes
        calls as they come is told no priority.
        """
        body = build()
        folds, able = self._folds_system, self.able
        self._refuse_too_long(body)
        try:
            return await self._post(body)
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
                return await self._post(build())
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

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        path = "/completions" if "prompt" in body else "/chat/completions"
        return await self._replicas.post(path, body)

    async def abilities(self) -> dict[str, bool]:
        """Further abilities of a started server, by trial; none of them is needed."""
        replica = self._replicas.all[0]
        found = {
            "load is told (/metrics)": await self._load(replica) is not None,
            "priorities": self.able.orders,
        }
        long = self._body([{"role": "user", "content": "Read this. " * 100}])
        long |= {self.able.limit_key: 1}
        hits = cache_hits_of(await self._metrics(replica) or "")
        for _ in range(2):
            cached = usage_of(await self._post(long)).cached_tokens
        hit = (cache_hits_of(await self._metrics(replica) or "") or 0) > (hits or 0)
        found["prefix cache"] = bool(cached) or hit
        found["cached tokens are told"] = cached is not None
        return found

    # --- how many at once -----------------------------------------------------------------------

    async def capacity(self) -> Capacity:
        """As many calls as keep the servers busy with a short queue.

        vLLM, SGLang and llama.cpp tell in `/metrics` how many requests run and how many wait.
        Elsewhere more calls are sent at once for as long as more come back for it.
        """
        awake = self._replicas.awake()
        if self._concurrency is not None:
            return Capacity(slots=self._concurrency * len(awake))
        told = await asyncio.gather(*(self._load(replica) for replica in awake))
        for replica, load in zip(awake, told, strict=True):
            if load is not None:
                self._steering.told(replica.url, replica.running, load)
        if all(load is None for load in told):
            self._steering.climb(len(awake), self._replicas.running, self._replicas.done)
        return Capacity(slots=self._steering.slots([replica.url for replica in awake]))

    async def _load(self, replica: Replica) -> Load | None:
        if replica.url in self._silent:
            return None
        metrics = await self._metrics(replica)
        load = load_of(metrics) if metrics is not None else None
        if metrics is not None and load is None:
            self._silent.add(replica.url)  # it is there and tells nothing: it is not asked again
        return load

    async def _metrics(self, replica: Replica) -> str | None:
        """What `/metrics` says, of a missing page too; None where the server has a fault."""
        try:
            async with asyncio.timeout(CONNECT):
                status, _, text = await self._replicas.raw(
                    replica, "GET", f"{replica.root}/metrics"
                )
        except (EngineBusy, CallError, TimeoutError):
            return None
        return text if status < 500 else None
