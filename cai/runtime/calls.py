"""Model calls with an address and a key: looked up first, made once, committed before use.

Long, as looking up, making, committing and failing a call are one piece: who reads one of them
has to see the others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from cai.cleaning.leaks import without_leak
from cai.engines.base import Caller, Engine, Likelihoods, joined
from cai.engines.labels import DEFAULT, Labels, Options
from cai.engines.local.fed import of_texts
from cai.errors import CallError
from cai.records import (
    ChoiceScores,
    Completion,
    Likelihood,
    Message,
    Sampling,
    Stage,
    Usage,
)
from cai.runtime.draw import ROLE_OF, Draw
from cai.runtime.entries import is_answer, is_error, is_unusable
from cai.runtime.keys import call_key, call_seed
from cai.runtime.reasons import MEANING
from cai.runtime.scheduler import Scheduler
from cai.runtime.tables import Store
from cai.runtime.tally import Tally

T = TypeVar("T")
Result = Completion | Likelihood | ChoiceScores


class MissingCall(Exception):
    """A replay came to a call that is not in the journal."""


class Rejected(Exception):
    """A row cannot go on: the stage, a word for the reason, and what happened."""

    def __init__(self, stage: Stage, error: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.error, self.message = stage, error, message


@dataclass
class Calls:
    """The calls of a run. Without schedulers it is a replay: a missing call raises `MissingCall`.

    Args:
        store: Where results are kept.
        seed: The run's seed.
        identities: Engine identity by role.
        schedulers: The way to the engine by role; None for a replay.
        reuse: Other runs' results, copied over when they are used.
        reuse_errors: Take over from them what failed there too.
        retry_failed: Give calls whose stored result was an error or was rejected another try.
        labels: The labels that serve an engine, by its identity; an engine that is started adds
            its own.
    """

    store: Store
    seed: int
    identities: Mapping[str, str]
    schedulers: Mapping[str, Scheduler] | None = None
    reuse: Sequence[Store] = ()
    reuse_errors: bool = False
    retry_failed: bool = False
    labels: MutableMapping[str, Labels] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def row(self, prompt_id: str, position: int = 0) -> RowCalls:
        """The calls of a row."""
        return RowCalls(self, prompt_id, position)


class RowCalls:
    """The calls of one row; it knows how deep the row is, which is the call's priority."""

    def __init__(self, calls: Calls, prompt_id: str, position: int) -> None:
        self._calls = calls
        self._prompt_id = prompt_id
        self._position = position
        self.depth = 0

    @property
    def is_live(self) -> bool:
        """Whether calls may be made; else it is a replay."""
        return self._calls.schedulers is not None

    def beside(self, name: str) -> RowCalls:
        """The calls of another row of the same job, by its name."""
        return RowCalls(self._calls, name, self._position)

    async def together(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """The results of calls that do not wait for each other; a replay makes them in order.

        All come to their end before the first error is raised: what is in the journal does not
        depend on which was faster.
        """
        results: list[T | BaseException] = []
        if self._calls.schedulers is not None:
            results += await asyncio.gather(*(call() for call in calls), return_exceptions=True)
        else:
            for call in calls:
                try:
                    results.append(await call())
                except (Rejected, MissingCall) as reason:
                    results.append(reason)
        errors = [e for e in results if isinstance(e, BaseException)]
        for error in sorted(errors, key=lambda e: isinstance(e, Rejected)):
            raise error
        return [value for value in results if not isinstance(value, BaseException)]

    async def labels(self, stage: Stage) -> Labels:
        """The labels that serve the engine of a stage; it is started if nobody has asked it yet."""
        calls, role = self._calls, ROLE_OF[stage]
        identity = calls.identities[role]
        if identity not in calls.labels and calls.schedulers is not None:
            await calls.schedulers[role].start()
        return calls.labels.get(identity, DEFAULT)

    async def generate(
        self,
        stage: Stage,
        step: int,
        messages: Sequence[Message],
        sampling: Sampling,
        defect: Callable[[Completion], str | None],
        *,
        ordinal: int = 0,
        tries: int = 2,
        longer: bool = False,
    ) -> Completion:
        """A completion without defect; a defective one is kept and drawn once more.

        Samples of one conversation differ by `ordinal`. With `longer`, what was cut is drawn again
        with twice the room.

        Raises:
            Rejected: All `tries` were defective, or the call cannot succeed.
            MissingCall: In a replay.
        """
        draw = Draw(stage, step, ordinal, tuple(messages), sampling, defect, tries, longer)
        store, address = self._calls.store, self._address(draw)
        first = await self._first_attempt(address)
        try:
            return await self._tries(draw, first)
        except Rejected:
            # Another try is for failures that stood before this run.
            if not self._calls.retry_failed or draw.made:
                raise
        await store.raise_attempt(address, first + tries)
        return await self._tries(draw, first + tries)

    def _address(self, draw: Draw) -> str:
        """The key of the first attempt: other settings have other attempts."""
        how = self._drawn(draw, 0).model_dump()
        identity = of_texts(self._calls.identities[draw.role])
        return call_key(identity, "generate", draw.messages, how).hex()

    async def _first_attempt(self, address: str) -> int:
        calls = self._calls
        first = calls.store.first_attempt(address)
        raised = max((store.first_attempt(address) for store in calls.reuse), default=0)
        if raised <= first:
            return first
        if calls.schedulers is not None:
            await calls.store.raise_attempt(address, raised)
        return raised

    def _drawn(self, draw: Draw, attempt: int) -> Sampling:
        address = (self._prompt_id, draw.role, draw.step, draw.ordinal, attempt)
        return draw.sampling.model_copy(update={"seed": call_seed(self._calls.seed, *address)})

    async def _tries(self, draw: Draw, first: int) -> Completion:
        problem: str | None = None
        for attempt in range(first, first + draw.tries):
            sampling = self._drawn(draw, attempt)
            if problem == "truncated" and draw.longer:
                sampling = sampling.model_copy(update={"max_tokens": 2 * sampling.max_tokens})
            completion = await self._completion(draw, sampling)
            problem = draw.defect(completion)
            if problem is None:
                return completion
        error, _, detail = (problem or "").partition(": ")
        times = "in both draws" if draw.tries == 2 else f"in all {draw.tries} draws"
        raise Rejected(draw.stage, error, f"{detail or MEANING[error]}, {times}")

    async def _completion(self, draw: Draw, sampling: Sampling) -> Completion:
        identity = of_texts(self._calls.identities[draw.role])
        key = call_key(identity, "generate", draw.messages, sampling.model_dump())

        async def ask(engine: Engine, caller: Caller) -> Completion:
            draw.made = True
            return without_leak(await engine.generate(draw.messages, sampling, caller))

        completion = Completion.model_validate_json(await self._kept(draw.stage, key, ask))
        self._replayed(draw.role, [completion])
        return completion

    async def likelihood(
        self, stage: Stage, messages: Sequence[Message], answer: str
    ) -> Likelihood:
        """How likely the engine of a stage, one of `Likelihoods`, finds an answer.

        Raises:
            Rejected: The call cannot succeed.
            MissingCall: In a replay.
        """
        identity = of_texts(self._calls.identities[ROLE_OF[stage]])
        key = call_key(identity, "likelihood", messages, answer)

        async def ask(engine: Engine, caller: Caller) -> Likelihood:
            if not isinstance(engine, Likelihoods):
                raise CallError("the engine cannot say how likely a text is")
            return await engine.likelihood(messages, answer, caller)

        found = Likelihood.model_validate_json(await self._kept(stage, key, ask))
        self._replayed(ROLE_OF[stage], [found])
        return found

    async def _kept(
        self,
        stage: Stage,
        key: bytes,
        ask: Callable[[Engine, Caller], Awaitable[Completion | Likelihood]],
    ) -> str:
        """What the journal has under a key; where it has nothing, what is asked and committed."""
        self.depth += 1
        stored = await self._stored(key)
        if stored is None:
            scheduler = self._scheduler(ROLE_OF[stage])
            try:
                result = await scheduler.run(
                    self.depth,
                    self._position,
                    lambda urgency: ask(scheduler.engine, Caller(self._prompt_id, urgency)),
                )
            except CallError as error:
                await self._fail(stage, [key], error)
            stored = result.model_dump_json(exclude_none=True)
            self._count_made(ROLE_OF[stage], result.usage)
            await self._calls.store.put({key: stored})
        return self._unless_error(stage, stored)

    async def choose(
        self,
        stage: Stage,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        labels: Options,
        *,
        least: float = 0.0,
    ) -> list[ChoiceScores]:
        """Scores of the labels after each suffix, one journal entry each, made in one call.

        Raises:
            Rejected: The call cannot succeed, a score is not a number, or less than `least` of the
                probability fell on the labels.
            MissingCall: In a replay.
        """
        calls, role = self._calls, ROLE_OF[stage]
        self.depth += 1
        how = [list(labels.names), labels.answer_prefix]
        identity = calls.identities[role]
        keys = [call_key(identity, "choose", joined(prefix, suffix), how) for suffix in suffixes]
        stored = {key: await self._stored(key, partial(is_unusable, least=least)) for key in keys}
        for text in filter(None, stored.values()):
            self._unless_error(stage, text)
        missing = [i for i, key in enumerate(keys) if stored[key] is None]
        if missing:
            by_key = {keys[i]: suffixes[i] for i in missing}
            stored |= await self._scored(stage, prefix, by_key, labels)
        texts = [self._unless_error(stage, stored[key] or "") for key in keys]
        scores = [ChoiceScores.model_validate_json(text) for text in texts]
        self._replayed(role, scores)
        mass = min((score.mass for score in scores), default=1.0)
        if mass < least:
            share = f"{mass:.2g} of the probability fell on the labels"
            raise Rejected(stage, "label mass", f"{share}, less than {least}")
        return scores

    async def _scored(
        self, stage: Stage, prefix: Sequence[Message], suffixes: dict[bytes, str], labels: Options
    ) -> dict[bytes, str]:
        """New results, committed.

        A server gets a call per suffix: the first alone, whose prefix it then knows, the others
        together.
        """
        engine = self._scheduler(ROLE_OF[stage]).engine
        if len(suffixes) == 1 or not engine.one_suffix_a_call:
            new = await self._score(stage, prefix, suffixes, labels)
            await self._calls.store.put(new)
            return new
        single = [partial(self._scored, stage, prefix, {k: s}, labels) for k, s in suffixes.items()]
        first = await single[0]()
        rest = await self.together(single[1:])
        return {key: value for new in (first, *rest) for key, value in new.items()}

    async def _score(
        self,
        stage: Stage,
        prefix: Sequence[Message],
        suffixes: Mapping[bytes, str],
        labels: Options,
    ) -> dict[bytes, str]:
        role = ROLE_OF[stage]
        scheduler, questions = self._scheduler(role), list(suffixes.values())
        try:
            scores = await scheduler.run(
                self.depth,
                self._position,
                lambda urgency: scheduler.engine.choose(
                    prefix,
                    questions,
                    labels.names,
                    labels.answer_prefix,
                    Caller(self._prompt_id, urgency),
                ),
            )
            if not all(is_answer(score.logprobs) for score in scores):
                raise CallError("the model gave the labels no probability, or one that is none")
        except CallError as error:
            await self._fail(stage, list(suffixes), error)
        for score in scores:
            self._count_made(role, score.usage)
        texts = [score.model_dump_json(exclude_none=True) for score in scores]
        return dict(zip(suffixes, texts, strict=True))

    async def _stored(
        self, key: bytes, unusable: Callable[[str], bool] | None = None
    ) -> str | None:
        """The journalled result, or that of a reused run, which is then the journal's own.

        Where what failed is made again, one that is `unusable` is as if it were not there.
        """
        calls = self._calls
        value = calls.store.get(key)
        if value is not None and unusable and calls.retry_failed and unusable(value):
            value = None
        if value is None:
            values = filter(None, (store.get(key) for store in calls.reuse))
            value = next((v for v in values if calls.reuse_errors or not is_error(v)), None)
            if value is not None and calls.schedulers is not None:
                await calls.store.put({key: value})
        if value is not None:
            calls.tally.reused += 1
        return value

    def _scheduler(self, role: str) -> Scheduler:
        if self._calls.schedulers is None:
            raise MissingCall
        return self._calls.schedulers[role]

    async def _fail(self, stage: Stage, keys: Sequence[bytes], error: CallError) -> None:
        """Journal a call that cannot succeed, so that running again does not repeat it."""
        entry = json.dumps({"error": str(error)})
        await self._calls.store.put(dict.fromkeys(keys, entry))
        raise Rejected(stage, "call", str(error)) from error

    def _unless_error(self, stage: Stage, stored: str) -> str:
        if is_error(stored):
            raise Rejected(stage, "call", json.loads(stored)["error"])
        return stored

    def _count_made(self, role: str, usage: Usage) -> None:
        self._calls.tally.made += 1
        self._count_tokens(role, usage)

    def _count_tokens(self, role: str, usage: Usage) -> None:
        tally = self._calls.tally
        tally.input_tokens[role] += usage.input_tokens
        tally.output_tokens[role] += usage.output_tokens
        if usage.cached_tokens is not None:
            tally.cached_tokens[role] += usage.cached_tokens

    def _replayed(
        self, role: str, results: Sequence[Completion | Likelihood | ChoiceScores]
    ) -> None:
        if self._calls.schedulers is None:
            for result in results:
                self._count_tokens(role, result.usage)
