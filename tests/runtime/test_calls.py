from __future__ import annotations

import asyncio
import math

import pytest

from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.errors import CallError
from cai.records import ChoiceScores, Completion, Message, Sampling
from cai.runtime.calls import MissingCall, Rejected, call_key, call_seed, is_error
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
            await calls.row("id").choose("verdict", TALK, ("x", "y"), ("A", "B"), "(")
        assert len(engine.sent) == len(engine.asked) == 1
        assert len(store.values) == 3

    asyncio.run(check())


def test_only_the_missing_suffix_is_asked() -> None:
    async def check() -> None:
        engine, store = Recorder(), MemoryStore()
        calls = await live_calls(engine, store)
        await calls.row("id").choose("verdict", TALK, ("x",), ("A", "B"), "(")
        await calls.row("id").choose("verdict", TALK, ("y", "x"), ("A", "B"), "(")
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
                await calls.row("id").choose("verdict", TALK, ("x",), ("A", "B"), "(")
            assert len(engine.sent) == len(engine.asked) == times
        assert all(is_error(value) for value in store.values.values())
        calls = await live_calls(engine, store, retry_failed=True)
        with pytest.raises(Rejected):
            await calls.row("id").generate("respond", 0, TALK, SAMPLING, no_defect)
        with pytest.raises(Rejected):
            await calls.row("id").choose("verdict", TALK, ("x",), ("A", "B"), "(")
        assert len(engine.sent) == len(engine.asked) == 2
        assert list(store.attempts.values()) == [2]

    asyncio.run(check())


class Odd(ScriptedEngine):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    async def choose(self, prefix, suffixes, choices, answer_prefix=""):  # type: ignore[no-untyped-def]
        return [ChoiceScores(logprobs=(self.value, -1.0), model="odd") for _ in suffixes]


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_a_score_that_is_not_a_number_is_a_failure(value: float) -> None:
    async def check() -> None:
        calls = await live_calls(Odd(value), MemoryStore())
        await calls.row("id").choose("verdict", TALK, ("x",), ("A", "B"), "(")

    with pytest.raises(Rejected, match="no finite log-probability"):
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
