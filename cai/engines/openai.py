"""Any OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, hosted APIs) as an engine."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from cai.engines._addresses import cards_of, only_name
from cai.engines._answers import (
    Api,
    choice_of,
    choices_of,
    context_of,
    count_of,
    names,
    texts_of,
    top_of,
)
from cai.engines._chat import TRANSCRIPT_STOPS, fold_system, transcript
from cai.engines._http import CONNECT, Replica, Replicas, steadily
from cai.engines._steering import Load, Steering, cache_hits_of, load_of
from cai.engines.base import URGENCY, Capacity, joined
from cai.engines.labels import CANDIDATES
from cai.errors import CaiError, CallError, EngineBusy, NoAnswer
from cai.records import (
    ChoiceMethod,
    ChoiceScores,
    Completion,
    FinishReason,
    Message,
    Sampling,
    Usage,
    canonical_json,
    messages_as_data,
)

VOTES = 16  # answers drawn where a server has no log-probabilities
VOTE_TOKENS = 8
TOP = 20  # log-probabilities per token that the OpenAI protocol allows at most
# Where a server cuts a conversation that does not fit, and says nothing, one of more than so many
# bytes per token of its context is not sent: four or so is the mean of most languages.
SURE_BYTES = 2
_ASKED = "\n\nGo on after these words with the label and nothing else: "


class OpenAIEngine:
    """A served model.

    Labels are scored by their token ids on vLLM, elsewhere from the log-probabilities of the
    likeliest tokens, and where there are none by drawing answers; `ChoiceScores.method` says which.

    Args:
        urls: Base addresses of replicas, ending in `/v1`.
        name: The model's name there; the only one that is served by default.
        timeout: Seconds until a call is given up and sent again.
        concurrency: Calls in flight per replica; by default as many as keep it busy.
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
    ) -> None:
        self.name = name
        self.context: int | None = None
        self.cuts = False  # whether the server cuts what does not fit, and says nothing
        self.api: Api = "chat"
        self.method: ChoiceMethod = "token"
        self._timeout, self._concurrency = timeout, concurrency
        self._serve_at(urls)
        self._is_vllm = self._orders_queue = False
        self._folds_system = False
        self._limit_key = "max_tokens"
        self._top = TOP
        self._votes_a_call = VOTES
        self._labels: dict[tuple[tuple[str, ...], str], list[int] | CaiError] = {}
        self._silent: set[str] = set()  # replicas that do not tell their load

    def _serve_at(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._replicas = Replicas(self.urls, self._timeout, self._card)
        self._steering = Steering(self.urls)

    # --- who ------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        """The served name; asked of the server where none was given."""
        if self.name is None:
            with ThreadPoolExecutor(1) as thread:  # a loop may be running in ours
                self.name = thread.submit(asyncio.run, only_name(self.urls)).result()
        return f"server:{self.name}"

    def known_identity(self) -> str | None:
        return None if self.name is None else self.identity

    def feeding(self) -> dict[str, str]:
        return {}

    # --- start and end --------------------------------------------------------------------------

    async def start(self) -> None:
        """Find out what the server can do; raises `CaiError` where it does not serve the model."""
        if self.name is None:
            self.name = await only_name(self.urls)
        self._replicas.open()
        try:
            await self._meet()
        except CallError as error:
            await self.close()
            raise CaiError(
                f"{self.urls[0]}: {error}", "It refuses a short question: look into its log."
            ) from None
        except BaseException:
            await self.close()
            raise

    async def _meet(self) -> None:
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
        self.context = min(lengths, default=None)
        self._is_vllm = any(card.get("owned_by") == "vllm" for card in cards)
        self._orders_queue = self._is_vllm
        await self._settle_api()
        if self.context is None:
            await self._learn_context({str(card.get("owned_by")) for card in cards})
        if self._is_vllm and self.api == "chat":
            await self._read_labels()

    async def _card(self, replica: Replica) -> dict[str, Any]:
        """What a replica says of the model."""
        cards = await cards_of(self._replicas, replica)
        self._recognise(replica, cards)
        return cards.get(self.name or "", {})

    def _recognise(self, replica: Replica, served: Collection[str]) -> None:
        """Raise `CaiError` if a replica names what it serves, and the model is not there."""
        if served and self.name not in served:
            told = ", ".join(sorted(served)[:10])
            raise CaiError(f"{replica.url}: serves no model {self.name}", f"It serves: {told}.")

    async def _learn_context(self, owners: set[str]) -> None:
        """Ask llama.cpp and Ollama for the context, and try if more than fits is refused or cut."""
        replica = self._replicas.any()
        path = {"llamacpp": "/props", "library": "/api/ps"}.get(owners.pop() if owners else "")
        if path is None:
            return
        try:
            told = await self._replicas.ask(replica, "GET", replica.root + path)
        except (EngineBusy, CallError, CaiError):
            return
        self.context = context_of(told, self.name or "")
        if self.context is None:
            return
        long = self._body([{"role": "user", "content": "a " * (self.context + 64)}])
        try:
            await steadily(lambda: self._post({**long, self._limit_key: 1}))
        except (CallError, NoAnswer):  # a fault is no cut
            return
        self.cuts = True

    async def _settle_api(self) -> None:
        """Chat or completions, and whether there are log-probabilities: one token each tells."""
        probe = [{"role": "user", "content": "Say A."}]
        told: list[str] = []
        for _ in range(4):
            body = {**self._body(probe), self._limit_key: 1, **self._logprobs()}
            if self._orders_queue:
                body["priority"] = 1  # refused where the server takes calls as they come
            try:
                choice = await steadily(lambda body=body: self._first_choice(body))
            except CallError as error:
                if not self._adapt(str(error)) or str(error) in told:
                    break
                told.append(str(error))
                continue
            self.method = "token" if self._is_vllm and self.api == "chat" else "top_logprobs"
            try:
                top_of(choice, self.api)
                return
            except EngineBusy:
                break
        self.method = "votes"
        body = {**self._body(probe), self._limit_key: VOTE_TOKENS}
        try:
            await steadily(lambda: self._first_choice({**body, "n": 2}))
        except CallError:
            self._votes_a_call = 1
            await steadily(lambda: self._first_choice(body))

    async def _first_choice(self, body: dict[str, Any]) -> dict[str, Any]:
        return choice_of(await self._post(body))

    def _adapt(self, said: str) -> bool:
        """Change what a server does not take; False if nothing is known to help."""
        low = said.lower()
        if "max_completion_tokens" in low and self._limit_key == "max_tokens":
            self._limit_key = "max_completion_tokens"
        elif "chat template" in low or "chat_template" in low:
            self.api = "completions"
        elif "top_logprobs" in low and self._top == TOP:
            self._top = 5
        elif "priority" in low and self._orders_queue:
            self._orders_queue = False
        else:
            return False
        return True

    async def _read_labels(self) -> None:
        """The token ids of the labels that may be asked for."""
        for labels in CANDIDATES:
            key = (labels.names, labels.answer_prefix)
            try:
                self._labels[key] = await steadily(lambda key=key: self._label_ids(*key))
            except CallError as error:
                self._labels[key] = CaiError(f"{self.name}: {error}")
            except NoAnswer:
                raise
            except CaiError as error:
                self._labels[key] = error

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
        replica = self._replicas.any()
        body = {"model": self.name, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self._replicas.ask(replica, "POST", f"{replica.root}/tokenize", body)
        except EngineBusy:
            replica.failed()
            raise
        tokens = answer.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(t, int) for t in tokens):
            raise EngineBusy(f"{replica.root}/tokenize: no tokens", overloaded=False)
        return tokens

    def check_labels(self, choices: Sequence[str], answer_prefix: str) -> None:
        if self.method == "token":
            found = self._labels.get((tuple(choices), answer_prefix))
            if isinstance(found, CaiError):
                raise found

    async def close(self) -> None:
        await self._replicas.close()

    # --- calls ----------------------------------------------------------------------------------

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        how = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_key: sampling.max_tokens,
            "seed": sampling.seed,
        }
        answer = await self._adapted(lambda: self._body(messages_as_data(messages)) | how)
        choice = choice_of(answer)
        text, reasoning = texts_of(choice, self.api)
        finish = choice.get("finish_reason")
        if finish == "content_filter":
            raise CallError("the server's content filter stopped the answer")
        if finish not in ("stop", "length", "eos"):
            raise EngineBusy(f"the server ended an answer with {finish!r}", overloaded=False)
        ended: FinishReason = "length" if finish == "length" else "stop"
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=ended,
            usage=self._usage(answer),
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
        score = how[self.method]
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
        turns = messages_as_data(messages)
        if answer_prefix:
            turns.append({"role": "assistant", "content": answer_prefix})
        how: dict[str, Any] = {
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "logprob_token_ids": ids,
            "return_tokens_as_token_ids": True,
        }
        if answer_prefix:
            how |= {"continue_final_message": True, "add_generation_prompt": False}
        answer = await self._adapted(lambda: self._body(turns) | how)
        top = top_of(choice_of(answer), self.api)
        try:
            found = tuple(top[f"token_id:{i}"] for i in ids)
        except KeyError as missing:
            raise EngineBusy(f"no log-probability of {missing}", overloaded=False) from None
        return ChoiceScores(logprobs=found, usage=self._usage(answer), model=self.name or "")

    async def _by_top(
        self, messages: Sequence[Message], choices: Sequence[str], answer_prefix: str
    ) -> ChoiceScores:
        """The labels among the likeliest tokens; a label that is not there has probability 0."""
        how = {self._limit_key: 1, "temperature": 0, **self._logprobs()}
        answer = await self._adapted(partial(self._asking, messages, answer_prefix, how))
        top = top_of(choice_of(answer), self.api)
        shares = [
            math.fsum(math.exp(p) for token, p in top.items() if names(token, choice))
            for choice in choices
        ]
        found = tuple(math.log(share) if share else -math.inf for share in shares)
        return ChoiceScores(
            logprobs=found, usage=self._usage(answer), model=self.name or "", method="top_logprobs"
        )

    async def _by_votes(
        self, messages: Sequence[Message], choices: Sequence[str], answer_prefix: str
    ) -> ChoiceScores:
        """The share of drawn answers that name a label."""
        data = canonical_json([messages_as_data(messages), list(choices), answer_prefix])
        seed = int.from_bytes(hashlib.sha256(data).digest()[:4], "big") >> 1
        votes: list[str] = []
        usage = Usage()
        while len(votes) < VOTES:
            how = {
                self._limit_key: VOTE_TOKENS,
                "n": min(self._votes_a_call, VOTES - len(votes)),
                "temperature": 1,
                "seed": (seed + len(votes)) % 2**31,
            }
            answer = await self._adapted(partial(self._asking, messages, answer_prefix, how))
            drawn = [texts_of(choice, self.api)[0] for choice in choices_of(answer)]
            votes += drawn[: VOTES - len(votes)]
            more = self._usage(answer)
            usage = Usage(
                input_tokens=usage.input_tokens + more.input_tokens,
                output_tokens=usage.output_tokens + more.output_tokens,
            )
        counts = [sum(names(vote, choice) for vote in votes) for choice in choices]
        found = tuple(math.log(count / VOTES) if count else -math.inf for count in counts)
        return ChoiceScores(logprobs=found, usage=usage, model=self.name or "", method="votes")

    def _asking(
        self, messages: Sequence[Message], answer_prefix: str, how: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A request for a label: base models go on after the words, others are told them."""
        turns = messages_as_data(messages)
        if self.api == "completions":
            body = self._body(turns)
            return {**body, "prompt": f"{body['prompt']} {answer_prefix}", **how}
        turns[-1]["content"] += _ASKED + answer_prefix
        return {**self._body(turns), **how}

    def _body(self, turns: list[dict[str, str]]) -> dict[str, Any]:
        if self._folds_system:
            turns = fold_system(turns)
        body: dict[str, Any] = {"model": self.name}
        if self.api == "completions":
            return body | {"prompt": transcript(turns), "stop": list(TRANSCRIPT_STOPS)}
        if self._is_vllm:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        if self._orders_queue:
            body["priority"] = URGENCY.get()
        return body | {"messages": turns}

    def _logprobs(self) -> dict[str, Any]:
        if self.api == "completions":
            return {"logprobs": self._top}
        return {"logprobs": True, "top_logprobs": self._top}

    async def _adapted(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send a call; once more, where the server's words say what it does not take.

        A template without a system role gets that text in the first turn; a replica that takes
        calls as they come is told no priority.
        """
        body = build()
        folds, orders = self._folds_system, self._orders_queue
        self._refuse_too_long(body)
        try:
            return await self._post(body)
        except CallError as error:
            low = str(error).lower()
            system = "messages" in body and body["messages"][0]["role"] == "system"
            if system and "system" in low and "role" in low:
                self._folds_system = True
            elif "priority" in body and "priority" in low:
                self._orders_queue = False
            else:
                raise
            try:
                return await self._post(build())
            except CallError:  # it was not that
                self._folds_system, self._orders_queue = folds, orders
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

    def _usage(self, answer: Mapping[str, Any]) -> Usage:
        said = answer.get("usage")
        said = said if isinstance(said, dict) else {}
        details = said.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        return Usage(
            input_tokens=count_of(said.get("prompt_tokens")),
            output_tokens=count_of(said.get("completion_tokens")),
            cached_tokens=None if cached is None else count_of(cached),
        )

    async def abilities(self) -> dict[str, bool]:
        """Further abilities of a started server, by trial; none of them is needed."""
        replica = self._replicas.all[0]
        found = {
            "load is told (/metrics)": await self._load(replica) is not None,
            "priorities": self._orders_queue,
        }
        long = self._body([{"role": "user", "content": "Read this. " * 100}]) | {self._limit_key: 1}
        hits = cache_hits_of(await self._metrics(replica) or "")
        for _ in range(2):
            cached = self._usage(await self._post(long)).cached_tokens
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
