from __future__ import annotations

import asyncio
import math
from functools import partial

import pytest

from cai.engines.base import NOBODY
from cai.engines.labels import DEFAULT
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.errors import CallError
from cai.records import ChoiceScores, Completion, Message, Sampling
from cai.runtime.calls import MissingCall, Rejected
from cai.runtime.entries import is_error
from cai.runtime.keys import call_key, call_seed
from tests.helpers import MemoryStore, Recorder, live_calls

TALK = (Message(role="user", content="Hello there, how are you?"),)
SAMPLING = Sampling(temperature=0.5, max_tokens=10)


def no_defect(completion: Completion) -> str | None:
    return None


def test_seeds_have_31_bits_and_differ_in_every_part() -> None:
    base = (0, "id", "policy", 0, 0, 0)
    others = [(1, *base[1:]), (0, "di", *base[2:]), (0, "id", "critic", 0, 0, 0)]
    others += [(0, "id", "policy", 1, 0, 0), (0, "id", "policy", 0, 1, 0), (*base[:5], 1)]
    seeds = [call_seed(*parts) for parts in (base, *others)]  # type: ignore[arg-type]
    assert len(set(seeds)) == 7
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert call_seed(*base) == seeds[0]  # type: ignore[arg-type]


def test_keys_differ_in_every_part() -> None:
    base = ("model", "generate", TALK, {"seed": 1})
    others = [
        ("other", *base[1:]),
        ("model", "choose", *base[2:]),
        ("model", "generate", (*TALK, *TALK), {"seed": 1}),
        ("model", "generate", TALK, {"seed": 2}),
    ]
    assert len({call_key(*parts) for parts in (base, *others)}) == 5


def test_a_second_call_comes_from_the_store() -> None:
    async def check() -> None:
        engine, store = Recorder(), MemoryStore()
        for _ in range(2):
            calls = await live_calls(engine, store)
            await calls.row("id").generate("respond", 0, TALK, SAMPLING, no_defect)
            await calls.row("id").choose("verdict", TALK, ("x", "y"), DEFAULT)
        assert len(engine.sent) == len(engine.asked) == 1
        assert len(store.values) == 3

    asyncio.run(check())


def test_only_the_missing_suffix_is_asked() -> None:
    async def check() -> None:
        engine, store = Recorder(), MemoryStore()
        calls = await live_calls(engine, store)
        await calls.row("id").choose("verdict", TALK, ("x",), DEFAULT)
        await calls.row("id").choose("verdict", TALK, ("y", "x"), DEFAULT)
        assert [suffixes for _, suffixes in engine.asked] == [("x",), ("y",)]

    asyncio.run(check())


def test_an_error_is_journalled_and_not_made_again_unless_asked_for() -> None:
    async def check() -> None:
        engine, store = Recorder(ScriptedOptions(fail=1)), MemoryStore()
        for times in (1, 1):
            calls = await live_calls(engine, store)
            with pytest.raises(Rejected, match="can't succeed"):
                await calls.row("id").generate("respond", 0, TALK, SAMPLING, no_defect)
            with pytest.raises(Rejected, match="can't succeed"):
                await calls.row("id").choose("verdict", TALK, ("x",), DEFAULT)
            assert len(engine.sent) == len(engine.asked) == times
        assert all(is_error(value) for value in store.values.values())
        calls = await live_calls(engine, store, retry_failed=True)
        with pytest.raises(Rejected):
            await calls.row("id").generate("respond", 0, TALK, SAMPLING, no_defect)
        with pytest.raises(Rejected):
            await calls.row("id").choose("verdict", TALK, ("x",), DEFAULT)
        assert len(engine.sent) == len(engine.asked) == 2
        assert list(store.attempts.values()) == [2]

    asyncio.run(check())


def test_a_failed_suffix_that_kept_others_from_being_asked_fails_the_replay_too() -> None:
    async def check() -> None:
        engine, store = Recorder(ScriptedOptions(fail=1)), MemoryStore()
        engine.one_suffix_a_call = True
        calls = await live_calls(engine, store)
        for _ in range(2):
            with pytest.raises(Rejected, match="can't succeed"):
                await calls.row("id").choose("verdict", TALK, ("x", "y"), DEFAULT)
        calls.schedulers = None
        with pytest.raises(Rejected, match="can't succeed"):
            await calls.row("id").choose("verdict", TALK, ("x", "y"), DEFAULT)
        assert [suffixes for _, suffixes in engine.asked] == [("x",)]

    asyncio.run(check())


class Odd(ScriptedEngine):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    async def choose(self, prefix, suffixes, choices, answer_prefix="", caller=NOBODY):  # type: ignore[no-untyped-def]
        return [ChoiceScores(logprobs=(self.value, -1.0), model="odd") for _ in suffixes]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_a_number_is_a_failure(value: float) -> None:
    async def check() -> None:
        calls = await live_calls(Odd(value), MemoryStore())
        await calls.row("id").choose("verdict", TALK, ("x",), DEFAULT)

    with pytest.raises(Rejected, match="gave the labels no probability"):
        asyncio.run(check())


def test_one_label_may_have_no_probability_but_not_both() -> None:
    async def scores(first: float, second: float) -> tuple[float, ...]:
        class Sure(ScriptedEngine):
            async def choose(self, prefix, suffixes, choices, answer_prefix="", caller=NOBODY):  # type: ignore[no-untyped-def]
                return [ChoiceScores(logprobs=(first, second), model="sure") for _ in suffixes]

        store, asked = MemoryStore(), ("verdict", TALK, ("x",), DEFAULT)
        calls = await live_calls(Sure(), store)
        await calls.row("id").choose(*asked)  # type: ignore[arg-type]
        calls.schedulers = None
        (again,) = await calls.row("id").choose(*asked)  # type: ignore[arg-type]
        return again.probabilities

    assert asyncio.run(scores(0.0, -math.inf)) == (1.0, 0.0)
    with pytest.raises(Rejected, match="gave the labels no probability"):
        asyncio.run(scores(-math.inf, -math.inf))


def test_calls_together_end_before_the_first_error_is_raised() -> None:
    async def check() -> None:
        calls = (await live_calls(ScriptedEngine(), MemoryStore())).row("id")
        ended = []

        async def wait(turns: int, error: Exception | None) -> int:
            for _ in range(turns):
                await asyncio.sleep(0)
            ended.append(turns)
            if error is not None:
                raise error
            return turns

        assert await calls.together([partial(wait, 3, None), partial(wait, 1, None)]) == [3, 1]
        late, early = Rejected("judge", "call", "late"), Rejected("judge", "call", "early")
        with pytest.raises(Rejected, match="late"):
            await calls.together([partial(wait, 5, late), partial(wait, 1, early)])
        with pytest.raises(ValueError, match="bug"):
            await calls.together([partial(wait, 1, early), partial(wait, 5, ValueError("bug"))])
        assert ended == [1, 3, 1, 5, 1, 5]

    asyncio.run(check())


def test_a_replay_misses_what_is_not_there() -> None:
    async def check() -> None:
        calls = await live_calls(ScriptedEngine(), MemoryStore())
        calls.schedulers = None
        await calls.row("id").generate("respond", 0, TALK, SAMPLING, no_defect)

    with pytest.raises(MissingCall):
        asyncio.run(check())


def test_a_call_error_keeps_its_cause() -> None:
    async def check() -> None:
        calls = await live_calls(ScriptedEngine(ScriptedOptions(fail=1)), MemoryStore())
        await calls.row("id").generate("respond", 0, TALK, SAMPLING, no_defect)

    with pytest.raises(Rejected) as caught:
        asyncio.run(check())
    assert isinstance(caught.value.__cause__, CallError)
