"""Small real things that several tests use."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence

from cai import templates
from cai.config import ROLES, resolve
from cai.constitution.records import Constitution, FewShot, Principle
from cai.engines.base import NOBODY
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.method import Method
from cai.records import Message, Prompt, RevisionChain, Sampling
from cai.revision import revise
from cai.runtime.calls import Calls
from cai.runtime.scheduler import Scheduler


def take_ctrl_c() -> None:
    """In a new process: Ctrl-C as in a terminal, though the tests may run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class MemoryStore:
    """The journal's interface over dictionaries."""

    def __init__(self) -> None:
        self.values: dict[bytes, str] = {}
        self.attempts: dict[str, int] = {}

    def get(self, key: bytes) -> str | None:
        return self.values.get(key)

    async def put(self, entries: Mapping[bytes, str]) -> None:
        self.values.update(entries)

    def first_attempt(self, address: str) -> int:
        return self.attempts.get(address, 0)

    async def raise_attempt(self, address: str, first: int) -> None:
        self.attempts[address] = first


class Recorder(ScriptedEngine):
    """A scripted engine that keeps what it was sent."""

    def __init__(
        self,
        options: ScriptedOptions | None = None,
        reply: Callable[[Sequence[Message], Sampling], str] | None = None,
    ) -> None:
        super().__init__(options, reply)
        self.sent: list[tuple[Message, ...]] = []
        self.asked: list[tuple[tuple[Message, ...], tuple[str, ...]]] = []

    async def generate(self, messages, sampling, caller=NOBODY):  # type: ignore[no-untyped-def]
        self.sent.append(tuple(messages))
        return await super().generate(messages, sampling)

    async def choose(self, prefix, suffixes, choices, answer_prefix="", caller=NOBODY):  # type: ignore[no-untyped-def]
        self.asked.append((tuple(prefix), tuple(suffixes)))
        return await super().choose(prefix, suffixes, choices, answer_prefix)


def principles(count: int, **fields: object) -> tuple[Principle, ...]:
    return tuple(
        Principle(
            id=f"p{n}",
            critique=f"Say what breaks rule {n}.",
            revise=f"Rewrite the answer by rule {n}.",
            **fields,  # type: ignore[arg-type]
        )
        for n in range(count)
    )


def constitution(count: int = 3, few_shot: tuple[FewShot, ...] = ()) -> Constitution:
    return Constitution(name="small", principles=principles(count), few_shot=few_shot)


def method(rules: Constitution | None = None, **settings: object) -> Method:
    given = settings if "preset" in settings else {"revisions": 1, **settings}
    return Method(rules or constitution(), templates.load(), resolve(given))


def prompt(text: str = "What should I say to my neighbour?", **fields: object) -> Prompt:
    messages = fields.pop("messages", None) or (Message(role="user", content=text),)
    values = {"kind": "red-team", "id": Prompt.id_of(messages), **fields}  # type: ignore[arg-type]
    return Prompt(messages=messages, **values)  # type: ignore[arg-type]


async def live_calls(
    engine: ScriptedEngine, store: MemoryStore, seed: int = 0, **named: object
) -> Calls:
    scheduler = Scheduler(engine, 1)
    await scheduler.start()
    return Calls(
        store,
        seed,
        dict.fromkeys(ROLES, engine.identity),
        schedulers=dict.fromkeys(ROLES, scheduler),
        **named,  # type: ignore[arg-type]
    )


async def chain(
    asked: Prompt, by: Method, engine: ScriptedEngine, store: MemoryStore | None = None
) -> RevisionChain:
    calls = await live_calls(engine, store or MemoryStore(), by.settings.seed)
    return await revise(asked, by, calls.row(asked.id))
