"""The servers of a run: what is to be asked of them, and what was found out by asking.

A server's identity says what it is fed, which only asking tells. What was found is kept in the
journal by role and name: who goes on with a run, or looks at a finished one, asks nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from cai.engines.base import Engine
from cai.engines.server.abilities import Abilities, Trial
from cai.runtime.calls import MissingCall
from cai.runtime.journal import Journal
from cai.runtime.work import distinct, run

Found = dict[str, dict[str, Any]]  # abilities by role and by name

FIRST_LABELS = (
    "This run is version 0.1.0's, which asked this server for labels in words alone: little of the "
    "probability may have fallen on them. It is read as it stands. To see what would be asked "
    "otherwise, run it into another folder: --out NEW --reuse OLD"
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


def recall(engines: Mapping[str, Engine], journals: Sequence[Journal]) -> None:
    """Give each server what the journals know of it, those named first before the others."""
    remember(engines, [journal.meta("servers") or {} for journal in journals])


def remember(engines: Mapping[str, Engine], records: Sequence[Mapping[str, Any]]) -> None:
    """Give each server what was found of it; what its own roles found goes first."""
    for engine in distinct(engines):
        if not isinstance(engine, Server) or not engine.asked:
            continue
        roles = [role for role, other in engines.items() if other is engine]
        by_name: dict[str, Abilities] = {}
        for record in reversed(records):
            others = [role for role in record if role not in roles]
            for role in [*others, *(role for role in roles if role in record)]:
                for name, abilities in record[role].items():
                    by_name[name] = Abilities.model_validate(abilities)
        if by_name:
            engine.recall(by_name)


def abilities_of(engines: Mapping[str, Engine]) -> Found:
    """What is known of the servers, to be kept."""
    record: Found = {}
    for role, engine in engines.items():
        if isinstance(engine, Server) and engine.asked and engine.name and engine.known:
            record[role] = {engine.name: engine.known.model_dump(mode="json")}
    return record


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
