"""What a judge check found: its record, and where results are kept by the judge's identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from cai.calibration import Bin
from cai.engines.local.fed import undated
from cai.errors import CaiError
from cai.files import cache_dir, replacing
from cai.method import Method
from cai.records import JudgeFacts, Record, digest
from cai.templates import JUDGE_TEMPLATES

JudgeVerdict = Literal["usable", "weak", "no better than chance"]
Interval = tuple[float, float]


class Group(Record):
    """The figures of the pairs of one kind, or of one difficulty."""

    pairs: int
    unscored: int
    accuracy: float | None
    interval: Interval | None


class Calibration(Record):
    """A temperature fitted on one half of the pairs, and what it does to the other half."""

    temperature: float
    fitted_on: int
    reported_on: int
    nll: tuple[float, float]
    brier: tuple[float, float]
    ece: tuple[float, float] | None


class JudgeResult(Record):
    """What `cai check judge` found. Shares are of the scored pairs; ties count a half.

    `key` names the judge and how it was asked: model, words of the judge's templates, reasoning or
    not; then principles per comparison and constitution. Pairs of figures in `calibration` are
    before and after.
    """

    version: Literal[1] = 1
    key: str
    judge: str
    model: str
    labels: tuple[str, ...]
    cot: bool
    principles: int
    constitution: dict[str, str]
    pairs: dict[str, str | int]
    scored: int
    unscored: int
    unscored_reasons: dict[str, int]
    accuracy: float | None
    accuracy_interval: Interval | None
    accuracy_right_first: float | None
    accuracy_right_second: float | None
    consistency: float | None
    first_position_rate: float | None
    longer_wins_rate: float | None
    shorter_is_right: float | None
    over_shorter: Interval | None
    brier: float | None
    ece: float | None
    bins: tuple[Bin, ...]
    label_mass: dict[str, float]
    kinds: dict[str, Group]
    difficulties: dict[str, Group]
    calibration: Calibration | None
    verdict: JudgeVerdict
    words: str


def judge_key(method: Method, identity: str) -> str:
    """What a judge's labels depend on besides the pair: itself, K, and what it is asked by.

    A temperature that fits the mean of 4 principles is wrong by far for that of 1 or 16, and
    other principles are other questions. In a folder of version 0.1.0 the judge itself is the key,
    as it was there.
    """
    if method.version == 1:
        return judge_itself(method, identity)
    asked = [method.settings.judge_principles, method.constitution.digest]
    return f"{judge_itself(method, identity)}-{digest(asked)}"


def judge_itself(method: Method, identity: str) -> str:
    """The beginning of a judge's keys: the model, the words around a question, reasoning."""
    words = {name: method.templates.texts[name] for name in JUDGE_TEMPLATES}
    return digest([undated(identity), words, method.settings.cot])


def folder() -> Path:
    return cache_dir() / "judges"


def _path(key: str) -> Path:
    return folder() / f"{key}.json"


def stored(key: str) -> JudgeResult | None:
    """The last check of the judge with this key, or None."""
    path = _path(key)
    if not path.is_file():
        return None
    try:
        return read(path)
    except CaiError as error:
        hint = "Delete the file and check the judge again."
        raise CaiError(error.message, hint) from None


def checked_otherwise(method: Method, identity: str) -> bool:
    """Whether the judge has a stored check, but none with the K and the constitution of a method.

    One of version 0.1.0 is no other: its name told neither.
    """
    checks = folder().glob(f"{judge_itself(method, identity)}*.json")
    return any(checks) and not _path(judge_key(method, identity)).is_file()


def store(result: JudgeResult) -> Path:
    path = _path(result.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, shared=True) as file:
        file.write(result.model_dump_json(indent=2) + "\n")
    return path


def read(path: Path) -> JudgeResult:
    """A result from a file.

    Raises:
        CaiError: The file cannot be read, or is no result of this version.
    """
    hint = "It is the result.json that cai check judge wrote."
    try:
        return JudgeResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CaiError(f"{path}: {error.strerror}", hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CaiError(f"{path}: {where + ': ' if where else ''}{first['msg']}", hint) from None


def calibration(path: Path, method: Method, identity: str) -> float:
    """The temperature that a check fitted for a judge, by the K and the constitution of a method.

    Raises:
        CaiError: The file is no result, another judge's, of another K or constitution, or has no
            temperature.
    """
    result = read(path)
    if not result.key.startswith(judge_itself(method, identity)):
        raise CaiError(
            f"{path}: the check of another judge ({result.model}), or of other words for it",
            "Run cai check judge with the judge, --templates and cot of this run.",
        )
    if result.key != judge_key(method, identity):
        name, short = result.constitution["name"], result.constitution["digest"][:16]
        raise CaiError(
            f"{path}: a temperature for K = {result.principles} and the constitution {name} "
            f"({short}), or of a check of before that belongs to no K; this run has "
            f"{_asked_by(method)}",
            "Run cai check judge with the --judge-principles and the constitution of this run.",
        )
    if result.calibration is None:
        raise CaiError(f"{path}: the check fitted no temperature", "It takes 20 scored pairs.")
    return result.calibration.temperature


def with_judge(method: Method, identity: Callable[[], str | None]) -> Method:
    """The method with what is known of the judge whose identity this is, if it has a judge.

    Raises:
        CaiError: The calibration is not a judge check's result, or it is another judge's.
    """
    if not method.sources:
        return method
    judge, path = identity(), method.settings.judge_calibration
    if judge is None:
        return method
    key = judge_key(method, judge)
    result = stored(key)
    temperature = calibration(Path(path), method, judge) if path is not None else 1.0
    usable = None if result is None else result.verdict == "usable"
    return replace(method, judge=JudgeFacts(usable=usable, temperature=temperature))


def _asked_by(method: Method) -> str:
    constitution = method.constitution
    short = constitution.digest[:16]
    return f"K = {method.settings.judge_principles} and {constitution.name} ({short})"


def judge_warning(method: Method, identity: str | None) -> str | None:
    """What to say of a judge whose labels may be worth nothing; None of one that is usable.

    Args:
        method: With what is known of its judge.
        identity: Which model the judge is, if that is known.
    """
    if not method.sources or method.judge.usable:
        return None
    name = method.settings.model_of("judge")
    filtered = "No revision is filtered by it."
    if method.judge.usable is not None:
        what = f"{method.judge.state}: its labels may be no better than chance"
        return f"The judge {name} {what}. {filtered} Choose another one with --judge."
    options = " --cot" if method.settings.cot else ""
    if method.settings.templates is not None:
        options += f" --templates {method.settings.templates}"
    state = method.judge.state
    if identity is not None and checked_otherwise(method, identity):
        state = f"checked, but not with {_asked_by(method)}"
    return (
        f"The judge {name} was {state}: nobody knows whether its labels are better "
        f"than chance. {filtered} Check it: cai check judge --judge {name}{options} "
        f"--judge-principles {method.settings.judge_principles} "
        f"--constitution {method.settings.constitution}"
    )
