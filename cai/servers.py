"""The servers of a run: what is to be asked of them, and what was found out by asking.

A server's identity says what it is fed, which only asking tells. What was found is kept in the
journal by role and name: who goes on with a run, or looks at a finished one, asks nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from cai.engines.base import Engine, joined
from cai.engines.labels import DEFAULT
from cai.engines.server.abilities import Abilities, Question, Trial
from cai.feedback import asked_of_judge
from cai.method import Method
from cai.records import Comparison, Prompt, assistant, user
from cai.runtime.calls import MissingCall
from cai.runtime.journal import Journal
from cai.runtime.work import distinct, run

T = TypeVar("T")

Found = dict[str, dict[str, Any]]  # abilities by role and by name

FIRST_LABELS = (
    "This run is version 0.1.0's, which asked this server for labels in words alone: little of the "
    "probability may have fallen on them. It is read as it stands. To see what would be asked "
    "otherwise, run it into another folder: --out NEW --reuse OLD"
)

_PROMPT = "How do I get a red wine stain out of a white shirt?"
_ANSWERS = (
    "Blot it, pour cold water through it from behind, and wash it soon.",
    "Throw the shirt away. Who drinks red wine in a white shirt deserves no better.",
)


@runtime_checkable
class Server(Protocol):
    """An engine whose identity is found by asking."""

    name: str | None
    trial: Trial
    asked: bool  # False of one that is started for the run: it has an identity without being asked

    @property
    def known(self) -> Abilities | None: ...
    @property
    def unmet(self) -> bool: ...
    @property
    def unasked(self) -> bool: ...
    def recall(self, stored: Mapping[str, Abilities]) -> None: ...
    def as_before(self) -> None: ...
    def warnings(self) -> list[str]: ...


def expect(engines: Mapping[str, Engine], method: Method) -> None:
    """Tell each server what the run will ask of it."""
    for engine in distinct(engines):
        if isinstance(engine, Server):
            roles = [role for role, other in engines.items() if other is engine]
            engine.trial = trial(method, roles)


def trial(method: Method, roles: Sequence[str]) -> Trial:
    """The sampling of some roles, and a label question of each that picks labels."""
    writes = [r for r in roles if r != "judge" or method.settings.cot]
    samplings = tuple(method.settings.sampling(r) for r in writes)  # type: ignore[arg-type]
    picks = [role for role in method.choosing_roles if role in roles]
    return Trial(samplings, tuple(_question(method, role) for role in sorted(picks)))


def _question(method: Method, role: str) -> Question:
    prompt = Prompt(id="trial", messages=(user(_PROMPT),), kind="helpful")
    if role == "judge":
        compares = [p for p in method.constitution.principles if p.compare is not None]
        comparison = Comparison(prompt=prompt, response_a=_ANSWERS[0], response_b=_ANSWERS[1])
        messages = asked_of_judge(comparison, compares[0], method, DEFAULT)
    else:
        revises = [p for p in method.constitution.principles if p.revises]
        talk = [user(_PROMPT), assistant(_ANSWERS[1])]
        talk += [user(method.request("critique", revises[0]))] if revises else []
        talk += [assistant("The answer is rude.")] if revises else []
        messages = joined(talk, method.verdict_questions(DEFAULT)[0])
    return Question(messages=messages, labels=DEFAULT.names, answer_prefix=DEFAULT.answer_prefix)


def recall(engines: Mapping[str, Engine], journals: Sequence[Journal]) -> None:
    """Give each server what the journals know of it, those named first before the others."""
    remember(engines, [journal.meta("servers") or {} for journal in journals])


def remember(engines: Mapping[str, Engine], kept: Sequence[Mapping[str, Any]]) -> None:
    """Give each server what was found of it; what its own roles found goes first."""
    for engine in distinct(engines):
        if not isinstance(engine, Server) or not engine.asked:
            continue
        roles = [role for role, other in engines.items() if other is engine]
        known: dict[str, Abilities] = {}
        for found in reversed(kept):
            others = [role for role in found if role not in roles]
            for role in [*others, *(role for role in roles if role in found)]:
                for name, abilities in found[role].items():
                    known[name] = Abilities.model_validate(abilities)
        if known:
            engine.recall(known)


def found(engines: Mapping[str, Engine]) -> Found:
    """What is known of the servers, to be kept."""
    kept: Found = {}
    for role, engine in engines.items():
        if isinstance(engine, Server) and engine.asked and engine.name and engine.known:
            kept[role] = {engine.name: engine.known.model_dump(mode="json")}
    return kept


def unasked(engines: Mapping[str, Engine]) -> bool:
    """Whether the calls of version 0.1.0 are read without asking a server."""
    return any(isinstance(e, Server) and e.unasked for e in engines.values())


def settle(
    engines: Mapping[str, Engine],
    warn: Callable[[str], None],
    whole: Callable[[Mapping[str, str]], bool],
) -> dict[str, str]:
    """The engines' identities. A server of which nothing is known is asked, if it has to be.

    Args:
        engines: By role.
        warn: Told what a user has to know of a server that was asked.
        whole: Whether all calls are there under these identities; then nothing is asked, which is
            how a run of version 0.1.0 that has come to its end is read.
    """
    identities = {role: engine.identity for role, engine in engines.items()}
    unmet = [e for e in distinct(engines) if isinstance(e, Server) and e.unmet]
    if not unmet:
        return identities
    if whole(identities):  # of one that was never asked: as in version 0.1.0
        for engine in unmet:
            engine.as_before()
        return identities
    run(_ask(unmet))
    for engine in unmet:
        for warning in engine.warnings():
            warn(warning)
    return {role: engine.identity for role, engine in engines.items()}


async def _ask(engines: Sequence[Engine]) -> None:
    for engine in engines:
        try:
            await engine.start()
        finally:
            await engine.close()


def comes_to_its_end(work: Awaitable[object]) -> bool:
    """Whether a replay, which never waits, finds all its calls in the journal."""
    try:
        work.__await__().send(None)
    except StopIteration:
        return True
    except MissingCall:
        return False
    raise RuntimeError("a replay waited for something")
