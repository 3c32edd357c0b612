"""Is a judge worth its labels? It labels pairs of which people say which answer is better."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cai import judge_results, servers, statistics
from cai.assets import pairs_file
from cai.checks import call_all
from cai.config import Settings, resolve
from cai.dataset import replacing
from cai.engines.base import Engine
from cai.engines.labels import DEFAULT
from cai.errors import CaiError
from cai.feedback import judge
from cai.inputs import load_method, make_engines, on_its_day
from cai.judge_results import Calibration, Group, Interval, JudgeResult, JudgeVerdict
from cai.method import Method
from cai.pairs import LabelledPair, Skipped, read_pairs
from cai.plots import reliability_diagram
from cai.records import Comparison, PreferenceLabel, digest
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress, Quiet
from cai.sources.files import file_digest

ECE_FROM = 200  # scored pairs: with fewer, ten bins hold too few each
CALIBRATE_FROM = 20  # scored pairs
ENOUGH = 50  # scored pairs for a judge to be called usable: fewer cannot tell 0.5 from 0.75 or so


@dataclass(frozen=True)
class Scored:
    """A pair and its label (response_a is the right answer), or why it has none."""

    pair: LabelledPair
    label: PreferenceLabel | None
    error: str | None = None
    message: str | None = None

    @cached_property
    def p_right(self) -> float:
        assert self.label is not None
        return self.label.p_a


def judge_check(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    pairs: str | Path | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
    **given: Any,
) -> JudgeResult:
    """Let a judge label pairs, measure it, and keep the result under the judge's identity.

    Args:
        settings: `Settings` or their values; those that concern the judge count.
        pairs: A file of labelled pairs; the shipped ones by default.
        limit: Take this many pairs, drawn by a hash of their ids.
        out: The folder of the calls and the result.
        retry_failed: Ask again where the judge could not answer.
        progress: Shows how far the job is.
        engine: A judge that is there already.
        **given: Single settings (`judge="…"`), which win over `settings`.

    Raises:
        CaiError: Bad settings or pairs, a folder in use, a judge that does not load or answer.
    """
    if isinstance(settings, Settings):
        settings = settings.model_dump(exclude_unset=True)
    settings = resolve({**(settings or {}), **given, "stages": ("preferences",)})
    if limit is not None and limit < 1:
        raise CaiError(f"limit is {limit}", "Take at least one pair.")
    method = load_method(settings)
    path = Path(pairs) if pairs is not None else pairs_file()
    labelled, skipped = read_pairs(path)
    usable = _usable(labelled, method)
    taken = _taken(usable, limit)
    progress = progress or Quiet()
    folder = Path(out) if out is not None else default_folder(settings)
    settings = on_its_day(settings, folder)
    engine = make_engines(settings, engine)["judge"]
    servers.expect({"judge": engine}, method)

    async def one(pair: LabelledPair, calls: RowCalls) -> Scored:
        return await _score(pair, method, calls)

    progress.phase("judging", len(taken))
    scored, labels = call_all(
        folder,
        {"judge": engine},
        [(pair.prompt.id, pair) for pair in taken],
        one,
        seed=settings.seed,
        at_once=settings.max_open_rows,
        retry_failed=retry_failed,
        progress=progress,
        day=settings.date,
    )
    facts: dict[str, Any] = {
        "key": method.judge_key(engine.identity),
        "judge": engine.identity,
        "model": settings.model_of("judge"),
        "labels": labels.get(engine.identity, DEFAULT),
        "cot": settings.cot,
        "principles": settings.judge_principles,
        "constitution": {
            "name": method.constitution.name,
            "digest": method.constitution.digest,
        },
        "pairs": {
            "file": path.name if pairs is None else str(path),
            "sha256": file_digest(path),
            "used": len(taken),
            "skipped": len(skipped),
            "without a principle": len(labelled) - len(usable),
        },
    }
    result = measure(scored, facts)
    try:
        _write(folder, result, scored, skipped)
        judge_results.store(result)
    except OSError as error:
        raise CaiError(
            f"{error.filename or folder}: {error.strerror or error}",
            "The judge's answers are in the journal: mend it and run the same command again.",
        ) from error
    return result


def default_folder(settings: Settings) -> Path:
    name = "".join(c if c.isalnum() or c in "-._" else "-" for c in settings.model_of("judge"))
    return Path("outputs") / "judge-check" / name.strip("-.")[:80]


def _usable(pairs: Sequence[LabelledPair], method: Method) -> list[LabelledPair]:
    """The pairs that a principle of the constitution is for."""
    usable = [pair for pair in pairs if method.constitution.for_comparison(pair.prompt)]
    if not usable:
        raise CaiError(
            f"{method.settings.constitution}: no principle with `compare` is for any of the pairs",
            "Give pairs a prompt_kind, or choose another constitution.",
        )
    return usable


def _taken(pairs: Sequence[LabelledPair], limit: int | None) -> list[LabelledPair]:
    """The first `limit` pairs by a hash of their ids, in their own order."""
    ranked = sorted(pairs, key=lambda pair: digest(pair.prompt.id))
    taken = {pair.prompt.id for pair in ranked[:limit]}
    return [pair for pair in pairs if pair.prompt.id in taken]


async def _score(pair: LabelledPair, method: Method, calls: RowCalls) -> Scored:
    principles = method.compared_by(pair.prompt, "check")
    comparison = Comparison(prompt=pair.prompt, response_a=pair.chosen, response_b=pair.rejected)
    try:
        return Scored(pair, await judge(comparison, principles, method, calls))
    except Rejected as reason:
        return Scored(pair, None, reason.error, reason.message)


def measure(scored: Sequence[Scored], facts: Mapping[str, Any]) -> JudgeResult:
    """All figures of a check; `facts` are the fields that say what was checked."""
    labelled = [s for s in scored if s.label is not None]
    rights = [_half(s.p_right, 0.5) for s in labelled]
    shorter = [_half(len(s.pair.rejected), len(s.pair.chosen)) for s in labelled]
    p_right = [s.p_right for s in labelled]
    interval = statistics.wilson(math.fsum(rights), len(rights)) if rights else None
    over_shorter = statistics.paired_difference(rights, shorter) if rights else None
    bins = statistics.calibration_bins(p_right)
    masses = [s.label.label_mass for s in labelled if s.label is not None]
    verdict, words = _verdict(len(scored), rights, interval, over_shorter)
    return JudgeResult(
        **facts,
        scored=len(labelled),
        unscored=len(scored) - len(labelled),
        unscored_reasons=dict(sorted(Counter(s.error for s in scored if s.error).items())),
        accuracy=_mean(rights),
        accuracy_interval=interval,
        **_by_order(labelled),
        longer_wins_rate=_mean(
            [
                _half(right, 0.5) if short == 0 else 1 - _half(right, 0.5)
                for right, short in zip(p_right, shorter, strict=True)
                if short != 0.5
            ]
        ),
        shorter_is_right=_mean(shorter),
        over_shorter=over_shorter,
        brier=statistics.brier(p_right) if p_right else None,
        ece=statistics.ece(bins) if len(p_right) >= ECE_FROM else None,
        bins=tuple(bins),
        label_mass={"mean": _mean(masses) or 0.0, "least": min(masses, default=0.0)},
        kinds=_groups(scored, lambda pair: pair.kind),
        difficulties=_groups(scored, lambda pair: pair.difficulty),
        calibration=_calibration(labelled),
        verdict=verdict,
        words=words,
    )


def _half(value: float, against: float) -> float:
    """1 if the value is greater, 0 if it is less, 0.5 if they are equal."""
    return 0.5 if value == against else float(value > against)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _by_order(labelled: Sequence[Scored]) -> dict[str, float | None]:
    """What the single orders say; p is the mean over the principles."""
    firsts = [s.label.first_probabilities for s in labelled if s.label is not None]
    right_first = [_half(p, 0.5) for p, _ in firsts]
    wrong_first = [_half(p, 0.5) for _, p in firsts]
    return {
        "accuracy_right_first": _mean(right_first),
        "accuracy_right_second": _mean([1 - w for w in wrong_first]),
        "first_position_rate": _mean([*right_first, *wrong_first]),
        "consistency": _mean([float(s.label.consistent) for s in labelled if s.label]),
    }


def _groups(
    scored: Sequence[Scored], name: Callable[[LabelledPair], str | None]
) -> dict[str, Group]:
    members: defaultdict[str, list[Scored]] = defaultdict(list)
    for one in scored:
        key = name(one.pair)
        if key is not None:
            members[key].append(one)
    groups = {}
    for key, some in sorted(members.items()):
        rights = [_half(s.p_right, 0.5) for s in some if s.label is not None]
        groups[key] = Group(
            pairs=len(some),
            unscored=len(some) - len(rights),
            accuracy=_mean(rights),
            interval=statistics.wilson(math.fsum(rights), len(rights)) if rights else None,
        )
    return groups


def _calibration(labelled: Sequence[Scored]) -> Calibration | None:
    """A temperature from one half of the pairs (by a hash of the id), measured on the other."""
    if len(labelled) < CALIBRATE_FROM:
        return None
    ranked = sorted(labelled, key=lambda s: digest(["half", s.pair.prompt.id]))
    fitted, reported = ([s.p_right for s in ranked[part::2]] for part in (0, 1))
    temperature = statistics.fit_temperature(fitted)
    after = [statistics.tempered(p, temperature) for p in reported]
    both = (reported, after)

    def ece(p_right: Sequence[float]) -> float:
        return statistics.ece(statistics.calibration_bins(p_right))

    return Calibration(
        temperature=temperature,
        fitted_on=len(fitted),
        reported_on=len(reported),
        nll=(statistics.nll(reported), statistics.nll(after)),
        brier=(statistics.brier(reported), statistics.brier(after)),
        ece=(ece(both[0]), ece(both[1])) if len(reported) >= ECE_FROM else None,
    )


def _verdict(
    asked: int,
    rights: Sequence[float],
    interval: Interval | None,
    over_shorter: Interval | None,
) -> tuple[JudgeVerdict, str]:
    """In words: better than chance, and better than picking the shorter answer, or not."""
    if interval is None or over_shorter is None:
        return "no better than chance", f"It gave no label for any of the {asked} pairs."
    accuracy = _mean(rights) or 0.0
    said = (
        f"Right in {accuracy:.1%} of {len(rights)} pairs (95 % interval {interval[0]:.1%} to "
        f"{interval[1]:.1%}; {over_shorter[0]:+.1%} to {over_shorter[1]:+.1%} against picking the "
        "shorter answer)"
    )
    if interval[0] <= 0.5:
        return "no better than chance", f"{said}: a coin may do as well."
    if over_shorter[0] <= 0:
        return "weak", f"{said}: better than a coin, not shown to be better than length alone."
    if len(rights) < ENOUGH:
        return "weak", f"{said}: promising, but from fewer than {ENOUGH} pairs."
    if len(rights) < asked / 2:
        return "weak", f"{said}; but it gave no label for {asked - len(rights)} of {asked} pairs."
    return "usable", f"{said}: better than a coin and than length alone."


def _write(
    folder: Path, result: JudgeResult, scored: Sequence[Scored], skipped: Sequence[Skipped]
) -> None:
    with replacing(folder / "pairs.jsonl") as file:
        for one in scored:
            row: dict[str, Any] = {"id": one.pair.prompt.id, "kind": one.pair.kind}
            if one.label is not None:
                row |= {
                    "p_right": one.label.p_a,
                    "order_gap": one.label.order_gap,
                    "consistent": one.label.consistent,
                    "label_mass": one.label.label_mass,
                    "judgements": [j.model_dump(mode="json") for j in one.label.judgements],
                }
            else:
                row |= {"error": one.error, "message": one.message}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for none in skipped:
            file.write(json.dumps({"where": none.where, "skipped": none.why}) + "\n")
    reliability_diagram(
        result.bins, folder / "reliability", f"Reliability of {result.model}", result.words
    )
    with replacing(folder / "result.json") as file:
        file.write(result.model_dump_json(indent=2) + "\n")
