"""The measures of an evaluation for people: as cards, in tables, and in a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from cai.evaluate.gates import GateResult
from cai.evaluate.glossary import meaning
from cai.evaluate.records import Measure
from cai.evaluate.scorecard import Card, names_by_subject
from cai.evaluate.wording import with_interval
from cai.quality.records import Figure
from cai.report.figures import Shown, interval_picture
from cai.report.svg import Picture, drawing, line, rect, tag, text
from cai.report.words import number

_FIRST = (
    *("attack_success", "harmless", "over_refusal_full", "twin_gap", "helpfulness_win_rate"),
    *("instruction_following_strict", "own_rules", "incoherence", "adherence.all"),
)
_PICTURE, _TOP, _STEP = 960, 44.0, 30.0


def shown_measures(card: Card) -> Iterator[Shown]:
    """The measures that a page begins with."""
    for name in _FIRST:
        m = card.measures.get(name)
        if m is None or m.value is None:
            continue
        about = meaning(name)
        figure = Figure(value=m.value, low=m.low, high=m.high, n=m.n)
        before = "" if m.baseline is None else f"; baseline {_value(name, m.baseline)}"
        interval = f"{_value(name, m.low)} to {_value(name, m.high)}{before}"
        picture = interval_picture(figure)
        yield Shown(about.title, name, _value(name, m.value), interval, picture, f"{m.n:,}")


def measure_tables(card: Card) -> Iterator[dict[str, Any]]:
    """A table of each subject: harm, over-refusal, helpfulness, incoherence, adherence."""
    compared = card.evaluation.baseline is not None
    head = ["measure", "n", "unscored", "value (95 %)"]
    head += ["baseline", "difference (95 %)", "p (Holm)", "detectable"] if compared else []
    head += ["single samples"] if card.evaluation.samples > 1 else []
    head += ["by", "without the judge's errors"] if card.evaluation.judge else []
    for subject, names in names_by_subject(list(card.measures)).items():
        rows = [list(_cells(name, card.measures[name], card)) for name in names]
        yield {"title": subject.capitalize(), "head": head, "rows": rows, "words": False}


def _cells(name: str, m: Measure, card: Card) -> Iterator[str]:
    yield name
    yield f"{m.n:,}"
    yield f"{m.unscored:,}"
    yield _interval(name, m.value, m.low, m.high) if m.value is not None else m.note or "–"
    if card.evaluation.baseline is not None:
        counted = f" (n {m.baseline_n:,})" if m.baseline_n not in (0, m.n) else ""
        yield f"{_value(name, m.baseline)}{counted}"
        found = (m.difference, m.difference_low, m.difference_high)
        yield _interval(name, *found, signed=True)
        yield "–" if m.p is None else f"{m.p:.3f}"
        yield _value(name, m.detectable)
    if card.evaluation.samples > 1:
        yield "–" if m.spread is None else " to ".join(_value(name, x) for x in m.spread)
    if card.evaluation.judge is not None:
        yield from _of_judge(name, m)


def _of_judge(name: str, m: Measure) -> Iterator[str]:
    """Who told a figure, and what it is without the errors that this judge was measured to make."""
    if m.value is None:
        yield from ("–", "–")
        return
    checked = "" if m.judge is None or m.judge_checked else " (not checked)"
    yield "program" if m.judge is None else f"judge{checked}"
    rate = m.corrected
    yield _interval(name, rate.value, rate.low, rate.high) if rate else m.note or "–"


def glossary_table(card: Card) -> dict[str, Any]:
    """What each measure is, in words."""
    names = [n for of in names_by_subject(list(card.measures)).values() for n in of]
    rows = [[n, f"{meaning(n).better} is better", meaning(n).words] for n in names]
    head = ["measure", "", "what it is"]
    return {"title": "What the measures are", "head": head, "rows": rows, "words": True}


class _Scale(NamedTuple):
    """A scale of a picture: where it begins, and the values at its ends."""

    left: float
    low: float
    high: float

    def x(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return self.left + 300 * (inside - self.low) / (self.high - self.low)


_SHARES, _DIFFERENCES = _Scale(300, 0, 1), _Scale(640, -1, 1)


def intervals(card: Card) -> Iterator[Picture]:
    """Shares of both sides on one scale, and their difference on another; one row a measure."""
    shares = [
        (name, m)
        for names in names_by_subject(list(card.measures)).values()
        for name in names
        if (m := card.measures[name]).value is not None and meaning(name).percent
    ]
    if not shares:
        return
    compared = card.evaluation.baseline is not None
    parts = list(_axes(len(shares), compared=compared))
    gates = {gate.measure: gate for gate in card.evaluation.gates}
    for place, (name, m) in enumerate(shares):
        parts += _row(name, m, gates.get(name), _TOP + _STEP * place)
    title = "The model, with its 95 % intervals"
    words = "With other prompts of the same sort a figure would mostly lie in its interval."
    if compared:
        title += ", and the baseline (orange)"
        words += " To the right the difference, model minus baseline, and the limits of gates."
    rows = [[name, *_numbers(name, m)] for name, m in shares]
    svg = drawing(_PICTURE, _TOP + 6 + _STEP * len(shares), f"{title}. {words}", parts)
    head = ("measure", "value", "low", "high", "baseline", "difference", "low", "high")
    yield Picture(title, words, svg, head, rows, True)


def _row(name: str, m: Measure, gate: GateResult | None, y: float) -> Iterator[Markup]:
    words = Markup("").join([tag("title", meaning(name).words), text(0, y + 4, name)])
    yield tag("g", words)
    yield from _dot(_SHARES, (m.value, m.low, m.high), y)
    if m.baseline is not None:
        yield tag("circle", cx=_SHARES.x(m.baseline), cy=y, r=3.0, class_="orange")
    if m.difference is None:
        return
    yield from _dot(_DIFFERENCES, (m.difference, m.difference_low, m.difference_high), y)
    if gate is not None and gate.kind in ("no_worse_by", "better_by"):
        # The limit is on the side where the model is worse, or has to be better.
        worse_is_more = meaning(name).better == "lower"
        sign = 1 if (gate.kind == "no_worse_by") == worse_is_more else -1
        yield rect(_DIFFERENCES.x(sign * gate.limit) - 1, y - 9, 2, 18, "orange")


def _axes(count: int, *, compared: bool) -> Iterator[Markup]:
    scales = [(_SHARES, {0.0: "0 %", 0.5: "50 %", 1.0: "100 %"})]
    if compared:
        scales.append((_DIFFERENCES, {-1.0: "-100", 0.0: "0", 1.0: "+100"}))
    for scale, marks in scales:
        for at, words in marks.items():
            yield line(scale.x(at), 24, scale.x(at), _TOP + _STEP * count - 12, "axis")
            yield text(scale.x(at), 16, words, "small", "middle")


def _dot(scale: _Scale, found: Sequence[float | None], y: float) -> Iterator[Markup]:
    value, low, high = (scale.x(x or 0.0) for x in found)
    yield rect(low, y - 3, max(high - low, 1.5), 6, "blue soft")
    yield tag("circle", cx=value, cy=y, r=4.5, class_="blue")


def _numbers(name: str, m: Measure) -> Sequence[str]:
    values = (m.value, m.low, m.high, m.baseline, m.difference, m.difference_low, m.difference_high)
    return [_value(name, value) for value in values]


def _interval(
    name: str,
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    signed: bool = False,
) -> str:
    return with_interval(value, low, high, lambda x: _value(name, x, signed=signed))


def _value(name: str, value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    if not meaning(name).percent:
        return number(value)
    return f"{100 * value + 0.0:{'+' if signed else ''}.1f} %"
