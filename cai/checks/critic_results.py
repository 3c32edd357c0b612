"""What a critic check found: its record, and where results are kept by what was asked of whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from cai.checks.results import Interval, JudgeVerdict
from cai.engines.local.fed import undated
from cai.errors import CaiError
from cai.files import cache_dir, replacing
from cai.method import Method
from cai.records import CriticFacts, Record, digest, messages_as_data
from cai.templates import VERDICT_TEMPLATES

Way = Literal["assessment", "verdict"]
WAYS: tuple[Way, ...] = ("assessment", "verdict")


class Part(Record):
    """The accuracy on some of the cases."""

    cases: int
    unscored: int
    accuracy: float | None
    interval: Interval | None


class CriticFigures(Record):
    """How often one kind of answer is right; undecided ones, whose orders disagree, count a half.

    `false_alarms` is the share of fine answers that both orders call a breach, `missed` that of
    breaches that both call fine. `key` names who was asked and how.
    """

    way: Way
    key: str
    cases: int
    scored: int
    unscored: int
    unscored_reasons: dict[str, int]
    accuracy: float | None
    accuracy_interval: Interval | None
    violates: Part
    fine: Part
    false_alarms: float | None
    missed: float | None
    consistency: float | None
    label_mass: dict[str, float]
    principles: dict[str, Part]
    verdict: JudgeVerdict
    words: str


class CriticResult(Record):
    """What `cai check critic` found of each kind of answer that a critic gives."""

    version: Literal[1] = 1
    critic: str
    model: str
    labels: tuple[str, ...]
    constitution: dict[str, str]
    cases: dict[str, str | int]
    assessment: CriticFigures
    verdict: CriticFigures

    def of(self, way: Way) -> CriticFigures:
        return self.assessment if way == "assessment" else self.verdict


def critic_key(way: Way, method: Method, identity: str) -> str:
    """What an answer of this kind depends on besides the case."""
    if way == "assessment":
        return method.critic_key(identity)
    words = {name: method.templates.texts[name] for name in VERDICT_TEMPLATES}
    cases = messages_as_data(method.few_shot)
    return digest([undated(identity), words, cases, method.constitution.digest])


def folder() -> Path:
    return cache_dir() / "critics"


def stored(key: str) -> CriticResult | None:
    """The last check under a key, or None.

    Raises:
        CaiError: What is stored is damaged.
    """
    path = folder() / f"{key}.json"
    if not path.is_file():
        return None
    try:
        return CriticResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        hint = "Delete the file and check the critic again."
        raise CaiError(f"{path}: {first}", hint) from None


def critic_usable(key: str) -> bool | None:
    """Whether the last check under a key found the critic usable; None where there was none.

    Raises:
        CaiError: What is stored is damaged.
    """
    result = stored(key)
    if result is None:
        return None
    return any(result.of(way).key == key and result.of(way).verdict == "usable" for way in WAYS)


def store(result: CriticResult) -> None:
    """Keep a result under the keys of both kinds of answer."""
    folder().mkdir(parents=True, exist_ok=True)
    for way in WAYS:
        with replacing(folder() / f"{result.of(way).key}.json", shared=True) as file:
            file.write(result.model_dump_json(indent=2) + "\n")


def with_critic(method: Method, identity: Callable[[], str | None]) -> Method:
    """The method with what is known of the assessments of the critic whose identity this is."""
    # A folder of version 0.1.0 has no words to assess by.
    if "critic" not in method.roles or not method.settings.assess:
        return method
    critic = identity()
    if critic is None:
        return method
    usable = critic_usable(critic_key("assessment", method, critic))
    return replace(method, critic=CriticFacts(usable=usable))
