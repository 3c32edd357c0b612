"""Which model plays which role, on which day, and what its role asks of it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from datetime import date
from pathlib import Path

from cai.assessment import asked_of_assessor
from cai.config import ROLES, Settings
from cai.engines.base import Absent, Engine, joined
from cai.engines.labels import DEFAULT, Labels, pick
from cai.engines.local.chat_template import today
from cai.engines.naming import at_server, display_name, engine_for
from cai.engines.server.abilities import Question, Trial
from cai.feedback import asked_of_judge
from cai.method import Method
from cai.records import Comparison, Prompt, assistant, user
from cai.runtime.folder import has_journal, reading
from cai.runtime.servers import Server
from cai.runtime.work import distinct


def on_its_day(settings: Settings, folder: Path) -> Settings:
    """The settings with a date: their own, or that of the folder's first start, or today's."""
    if settings.date is not None:
        return settings
    stored = None
    if has_journal(folder):
        with reading(folder, "") as journal:
            stored = (journal.meta("settings") or {}).get("date") or journal.meta("date")
    day = date.fromisoformat(stored) if stored else today()
    return settings.model_copy(update={"date": day})


def make_engines(
    settings: Settings, given: Engine | Mapping[str, Engine] | None = None
) -> dict[str, Engine]:
    """The engine of each role, of those `given` if there are; roles with one name share one."""
    if isinstance(given, Mapping):
        return dict(given)
    if given is not None:
        return dict.fromkeys(ROLES, given)
    if settings.base_url is not None:
        from cai.engines.server.addresses import parse_address

        parse_address(settings.base_url)  # a key in it must not be written down
    names = {role: at_server(settings.model_of(role), settings.base_url) for role in ROLES}
    named: dict[str, Engine] = {}
    for name in names.values():
        if name not in named:
            named[name] = engine_for(
                name,
                dtype=settings.dtype,
                device=settings.device,
                batch_size=settings.batch_size,
                timeout=settings.request_timeout,
                concurrency=settings.concurrency,
                tensor_parallel=settings.tensor_parallel,
                replicas=settings.replicas,
                vllm_args=settings.vllm_args,
                day=settings.date,
            )
    return {role: named[name] for role, name in names.items()}


def names_of(settings: Settings, engines: Mapping[str, Engine], *, given: bool) -> dict[str, str]:
    """What a person calls the model of each role; engines that were `given` name themselves."""
    names = {}
    for role in ROLES:
        if role in engines:
            name = at_server(settings.model_of(role), settings.base_url)
            itself = given and not isinstance(engines[role], Absent)
            names[role] = str(getattr(engines[role], "name", "")) if itself else display_name(name)
    return {role: name for role, name in names.items() if name}


def settle_labels(
    engine: Engine,
    engines: Mapping[str, Engine],
    method: Method,
    picks: MutableMapping[str, Labels],
) -> bool:
    """Add labels that serve a started engine to the known ones; False if it never has to pick."""
    if not any(engines[role] is engine for role in method.choosing_roles):
        return False
    picks.setdefault(engine.identity, pick(engine))
    return True


_PROMPT = "How do I get a red wine stain out of a white shirt?"
_ANSWERS = (
    "Blot it, pour cold water through it from behind, and wash it soon.",
    "Throw the shirt away. Who drinks red wine in a white shirt deserves no better.",
)


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
        compares = [p for p in method.constitution.principles if p.compare and p.check is None]
        comparison = Comparison(prompt=prompt, response_a=_ANSWERS[0], response_b=_ANSWERS[1])
        messages = asked_of_judge(comparison, compares[0], method, DEFAULT)
    else:
        settings = method.settings
        if not (settings.revisions and settings.critique and settings.verdict):
            return _assessment(method, prompt)
        revises = [p for p in method.constitution.principles if p.revises and p.check is None]
        talk = [user(_PROMPT), assistant(_ANSWERS[1])]
        talk += [user(method.request("critique", revises[0]))] if revises else []
        talk += [assistant("The answer is rude.")] if revises else []
        messages = joined(talk, method.verdict_questions(DEFAULT)[0])
    return Question(messages=messages, labels=DEFAULT.names, answer_prefix=DEFAULT.answer_prefix)


def _assessment(method: Method, prompt: Prompt) -> Question:
    """What a critic is asked who only assesses."""
    principle = next(p for p in method.constitution.principles if p.assessable)
    messages = asked_of_assessor(prompt, _ANSWERS[1], principle, method, DEFAULT)
    return Question(messages=messages, labels=DEFAULT.names, answer_prefix=DEFAULT.answer_prefix)
