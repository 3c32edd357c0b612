"""Any OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, hosted APIs) as an engine."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cai.engines._answers import (
    Api,
    choice_of,
    choices_of,
    count_of,
    names,
    texts_of,
    top_of,
)
from cai.engines._chat import TRANSCRIPT_STOPS, fold_system, transcript
from cai.engines._http import CONNECT, Replica, Replicas, steadily
from cai.engines.base import Capacity, joined
from cai.engines.labels import CANDIDATES
from cai.errors import CaiError, CallError, EngineBusy
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

FIRST_SLOTS, MOST_SLOTS = 64, 1024  # calls in flight per replica, where nothing else is known
VOTES = 16  # answers drawn where a server has no log-probabilities
VOTE_TOKENS = 8
TOP = 20  # log-probabilities per token that the OpenAI protocol allows at most
_GAUGE = re.compile(r"^vllm:num_requests_(running|waiting)\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
_ASKED = "\n\nGo on after these words with the label and nothing else: "


class Address(NamedTuple):
    """Where a model is served: base addresses that end in `/v1`, and its name there if given."""

    urls: tuple[str, ...]
    name: str | None


def parse_address(text: str) -> Address:
    """`URL[,URL…][#name]`; raises `CaiError` for what is none or holds a secret."""
    urls, names = [], set()
    for part in text.split(","):
        split = urlsplit(part.strip())
        try:
            bad = split.scheme not in ("http", "https") or not split.hostname or split.port == 0
        except ValueError:
            bad = True
        if bad:
            raise CaiError(f"{part}: no address of a server", "Write http://host:8000/v1#name.")
        if split.username or split.password or split.query:
            raise CaiError(
                f"{split.scheme}://{split.hostname}: a key in an address would be written down",
                "Put it into the environment as CAI_API_KEY, and leave it out here.",
            )
        urls.append(f"{split.scheme}://{split.netloc}{split.path.rstrip('/') or '/v1'}")
        if split.fragment:
            names.add(split.fragment)
    if len(names) > 1:
        raise CaiError(
            f"{text}: replicas with several names: {', '.join(sorted(names))}",
            "Replicas serve one model; write its name once, at the end.",
        )
    return Address(tuple(dict.fromkeys(urls)), names.pop() if names else None)


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
        self.urls, self.name = tuple(urls), name
        self.cached_tokens = 0
        self.context: int | None = None
        self.api: Api = "chat"
        self.method: ChoiceMethod = "token"
        self._timeout, self._concurrency = timeout, concurrency
        self._replicas = Replicas(self.urls, timeout)
        self._is_vllm = False
        self._folds_system = False
        self._limit_key = "max_tokens"
        self._top = TOP
        self._labels: dict[tuple[tuple[str, ...], str], list[int] | CaiError] = {}
        self._reset_slots()

    def _reset_slots(self) -> None:
        self._slots = dict.fromkeys(self.urls, float(FIRST_SLOTS))
        self._best = (0.0, float(FIRST_SLOTS))
        self._looked = (0.0, 0)

    # --- who ------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        """The served name; asked of the server where none was given."""
        if self.name is None:
            with ThreadPoolExecutor(1) as thread:  # a loop may be running in ours
                self.name = thread.submit(asyncio.run, _only_name(self.urls[0])).result()
        return f"server:{self.name}"

    def known_identity(self) -> str | None:
        return None if self.name is None else self.identity

    # --- start and end --------------------------------------------------------------------------

    async def start(self) -> None:
        """Find out what the server can do; raises `CaiError` where it does not serve the model."""
        if self.name is None:
            self.name = await _only_name(self.urls[0])
        self._replicas.open()
        try:
            await self._meet()
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
                if not cards or not isinstance(card, CaiError):
                    raise card
                replica.failed()
        lengths = [n for card in cards if isinstance(n := card.get("max_model_len"), int)]
        self.context = min(lengths, default=None)
        self._is_vllm = any(card.get("owned_by") == "vllm" for card in cards)
        await self._settle_api()
        if self._is_vllm and self.api == "chat":
            await self._read_labels()

    async def _card(self, replica: Replica) -> dict[str, Any]:
        """What a replica says of the model."""
        cards = await _cards(self._replicas, replica)
        if cards and self.name not in cards:
            served = ", ".join(sorted(cards)[:10])
            raise CaiError(f"{replica.url}: serves no model {self.name}", f"It serves: {served}.")
        return cards.get(self.name or "", {})

    async def _settle_api(self) -> None:
        """Chat or completions, and whether there are log-probabilities: one token each tells."""
        probe = [{"role": "user", "content": "Say A."}]
        told: list[str] = []
        for _ in range(4):
            body = {**self._body(probe), self._limit_key: 1, **self._logprobs()}
            try:
                answer = await steadily(lambda body=body: self._post(body))
            except CallError as error:
                if not self._adapt(str(error)) or str(error) in told:
                    break
                told.append(str(error))
                continue
            self.method = "token" if self._is_vllm and self.api == "chat" else "top_logprobs"
            try:
                top_of(choice_of(answer), self.api)
            except EngineBusy:
                self.method = "votes"
            return
        self.method = "votes"
        await steadily(lambda: self._post({**self._body(probe), self._limit_key: 16}))

    def _adapt(self, said: str) -> bool:
        """Change what a server does not take; False if nothing is known to help."""
        low = said.lower()
        if "max_completion_tokens" in low and self._limit_key == "max_tokens":
            self._limit_key = "max_completion_tokens"
        elif "chat template" in low or "chat_template" in low:
            self.api = "completions"
        elif "top_logprobs" in low and self._top == TOP:
            self._top = 5
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
        replica = (self._replicas.awake() or self._replicas.all)[0]
        body = {"model": self.name, "prompt": text, "add_special_tokens": False}
        answer = await self._replicas.ask(replica, "POST", f"{replica.root}/tokenize", body)
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
                "n": VOTES - len(votes),
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
        return body | {"messages": turns}

    def _logprobs(self) -> dict[str, Any]:
        if self.api == "completions":
            return {"logprobs": self._top}
        return {"logprobs": True, "top_logprobs": self._top}

    async def _adapted(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send a call; a template without a system role gets its text in the first turn."""
        body = build()
        try:
            return await self._post(body)
        except CallError as error:
            low = str(error).lower()
            system = "messages" in body and body["messages"][0]["role"] == "system"
            if not system or "system" not in low or "role" not in low:
                raise
        self._folds_system = True
        return await self._post(build())

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        path = "/completions" if "prompt" in body else "/chat/completions"
        return await self._replicas.post(path, body)

    def _usage(self, answer: Mapping[str, Any]) -> Usage:
        said = answer.get("usage")
        said = said if isinstance(said, dict) else {}
        details = said.get("prompt_tokens_details")
        if isinstance(details, dict):
            self.cached_tokens += count_of(details.get("cached_tokens"))
        return Usage(
            input_tokens=count_of(said.get("prompt_tokens")),
            output_tokens=count_of(said.get("completion_tokens")),
        )

    async def abilities(self) -> dict[str, bool]:
        """Further abilities of a started server, by trial; none of them is needed."""
        replica = self._replicas.all[0]
        found = {"load is told (/metrics)": await self._load(replica) is not None}
        body = self._body([{"role": "user", "content": "Hi."}]) | {self._limit_key: 1}
        try:
            await self._post(body | {"priority": 1})
            found["priorities"] = self._is_vllm
        except CallError:
            found["priorities"] = False
        long = self._body([{"role": "user", "content": "Read this. " * 100}]) | {self._limit_key: 1}
        before = self.cached_tokens
        for _ in range(2):
            self._usage(await self._post(long))
        found["cached tokens are told"] = self.cached_tokens > before
        return found

    # --- how many at once -----------------------------------------------------------------------

    async def capacity(self) -> Capacity:
        """As many calls as keep the servers busy with a short queue.

        vLLM tells in `/metrics` how many requests it runs and how many wait. Elsewhere more calls
        are sent at once for as long as more come back for it.
        """
        awake = self._replicas.awake() or self._replicas.all[:1]
        if self._concurrency is not None:
            return Capacity(slots=self._concurrency * len(awake))
        told = [await self._load(replica) for replica in awake]
        for replica, load in zip(awake, told, strict=True):
            if load is not None:
                self._slots[replica.url] = _steered(
                    self._slots[replica.url], replica.running, *load
                )
        if all(load is None for load in told):
            self._climb(len(awake))
        return Capacity(slots=sum(int(self._slots[replica.url]) for replica in awake))

    async def _load(self, replica: Replica) -> tuple[float, float] | None:
        if not self._is_vllm:
            return None
        try:
            async with asyncio.timeout(CONNECT):
                status, _, text = await self._replicas.raw(
                    replica, "GET", f"{replica.root}/metrics"
                )
        except (EngineBusy, CallError, TimeoutError):
            return None
        found: dict[str, float] = {}
        for name, value in _GAUGE.findall(text):
            found[name] = found.get(name, 0.0) + float(value)
        return (found["running"], found["waiting"]) if status == 200 and len(found) == 2 else None

    def _climb(self, replicas: int) -> None:
        """Half as much again while that brings a twentieth more answers a second, else back."""
        now, done = time.monotonic(), self._replicas.done
        since, before = self._looked
        self._looked = (now, done)
        slots = self._slots[self.urls[0]]
        if not since or self._replicas.running < 0.9 * slots * replicas or done == before:
            return
        rate = (done - before) / (now - since)
        if rate > 1.05 * self._best[0]:
            self._best, slots = (rate, slots), min(MOST_SLOTS, slots * 1.5)
        else:
            slots = self._best[1]
        self._slots = dict.fromkeys(self._slots, slots)


def _steered(slots: float, ours: int, running: float, waiting: float) -> float:
    """Calls to have in flight: a queue of an eighth of what runs is enough, a full house grows."""
    queue = max(2.0, running / 8)
    if waiting > queue:
        return max(4.0, ours - waiting + queue)
    if ours >= slots - 1:
        return min(float(MOST_SLOTS), slots * 1.25 + 4)
    return slots


async def _cards(replicas: Replicas, replica: Replica) -> dict[str, dict[str, Any]]:
    """What a replica says of each model that it serves, by name."""
    listed = (await replicas.ask(replica, "GET", f"{replica.url}/models")).get("data")
    listed = listed if isinstance(listed, list) else []
    return {str(card["id"]): card for card in listed if isinstance(card, dict) and "id" in card}


async def _only_name(url: str) -> str:
    """The name of the one model that a server has; raises `CaiError` if there is not just one."""
    replicas = Replicas([url], CONNECT)
    replicas.open()
    try:
        served = sorted(await _cards(replicas, replicas.all[0]))
    except (EngineBusy, CallError) as error:
        raise CaiError(
            f"{url}/models: the server does not say what it serves ({error})",
            "Start it, check the address, or name the model: URL#name.",
        ) from None
    finally:
        await replicas.close()
    if len(served) != 1:
        raise CaiError(
            f"{url}: serves {len(served)} models", f"Name one: URL#name. {', '.join(served[:10])}"
        )
    return served[0]
