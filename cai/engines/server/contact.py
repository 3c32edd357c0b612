"""What a server says of itself beside its answers: models, tokens, templates, its load."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from cai.engines.base import NOBODY, Caller, Capacity
from cai.engines.labels import CANDIDATES
from cai.engines.server.addresses import cards_of
from cai.engines.server.answers import context_of
from cai.engines.server.http import CONNECT, Replica, Replicas, steadily
from cai.engines.server.steering import Load, Steering, load_of
from cai.errors import CaiError, CallError, EngineBusy, NoAnswer

_NOBODY = "cai-no-such-model"


class _NotListed(CaiError):
    """A server names what it serves, and the model is not there."""


class Contact:
    """Replicas of one served model.

    Args:
        urls: Their base addresses, ending in `/v1`.
        name: The model's name there.
        timeout: Seconds until a call is given up and sent again.
        concurrency: Calls in flight per replica; by default as many as keep it busy.
    """

    def __init__(
        self, urls: Sequence[str], name: str | None, timeout: float, concurrency: int | None
    ) -> None:
        self.name = name
        self.context: int | None = None
        self._timeout, self._concurrency = timeout, concurrency
        self._serve_at(urls)
        self._labels: dict[tuple[tuple[str, ...], str], list[int] | CaiError] = {}
        self._silent: set[str] = set()  # replicas that do not tell their load
        # Paths beside `/v1` that are not there, of conversations or of texts.
        self._absent: set[tuple[str, bool]] = set()

    def _serve_at(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._replicas = Replicas(self.urls, self._timeout, self._card)
        self._steering = Steering(self.urls)

    async def _post(self, body: dict[str, Any], caller: Caller = NOBODY) -> dict[str, Any]:
        path = "/completions" if "prompt" in body else "/chat/completions"
        return await self._replicas.post(path, body, caller.row)

    async def _cards(self) -> set[str]:
        """Ask each replica what it serves; who owns the model."""
        answers = await asyncio.gather(
            *(steadily(lambda r=r: self._card(r)) for r in self._replicas.all),
            return_exceptions=True,
        )
        cards = [card for card in answers if not isinstance(card, BaseException)]
        for replica, card in zip(self._replicas.all, answers, strict=True):
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
            names = ", ".join(sorted(served)[:10])
            raise _NotListed(f"{replica.url}: serves no model {self.name}", f"It serves: {names}.")

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
        kind = (path, "messages" in body)
        if kind in self._absent:
            return None
        try:
            answer: dict[str, Any] = await steadily(lambda: self._ask_beside(path, body), tries)
        except CallError as error:
            if error.status != 400:  # else it is this body that it does not take
                self._absent.add(kind)
            return None
        except CaiError:
            self._absent.add(kind)
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
                answer = await self._replicas.ask(replica, "GET", replica.root + path)
            except (EngineBusy, CallError, CaiError):
                continue
            if (context := context_of(answer, self.name or "")) is not None:
                return context
        return None

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

    # --- how many at once -----------------------------------------------------------------------

    async def capacity(self) -> Capacity:
        """As many calls as keep the servers busy with a short queue.

        vLLM, SGLang and llama.cpp tell in `/metrics` how many requests run and how many wait.
        Elsewhere more calls are sent at once for as long as more come back for it.
        """
        awake = self._replicas.awake()
        if self._concurrency is not None:
            return Capacity(slots=self._concurrency * len(awake))
        loads = await asyncio.gather(*(self._load(replica) for replica in awake))
        for replica, load in zip(awake, loads, strict=True):
            if load is not None:
                self._steering.told(replica.url, replica.running, load)
        if all(load is None for load in loads):
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
