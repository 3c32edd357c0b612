"""The verdict of a page and its figures, of `quality.json` or of the run's own counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from cai.quality.glossary import Meaning, meaning_of
from cai.quality.records import QUALITY, Figure, Gate, Quality, read_quality, share
from cai.report.svg import line, rect, tag
from cai.report.tally import Tally
from cai.report.words import number, percent, plural

_RUN = "The run"
# Figures of the run's own counts; those of quality.json have their words there.
OWN_MEANINGS = {
    "in_sft_share": Meaning("In sft", "prompts that gave a row to learn from", _RUN),
    "failed_share": Meaning("Failed", "prompts whose answer or revision failed", _RUN),
    "revised_share": Meaning("Revised", "answers that were revised", _RUN),
    "unsure_label_share": Meaning(
        "Unsure labels", "labels that change with the order of the two answers", _RUN
    ),
    "kept_pair_share": Meaning("Kept pairs", "pairs that became rows of preferences", _RUN),
}


class Shown(NamedTuple):
    """A figure as the page shows it: name, meaning, value, its picture, how many."""

    name: str
    meaning: str
    value: str
    interval: str
    picture: Markup
    n: str


@dataclass(frozen=True)
class ShownGate:
    """A gate that names no rows."""

    name: str
    words: str
    advice: str = ""
    rows: tuple[()] = ()
    count: int = 0


class Verdict(NamedTuple):
    """What is said at the top: a state (`good`, `bad`, `none`), words, and gates to look at."""

    state: str
    words: str
    more: str
    failed: tuple[Gate | ShownGate, ...] = ()
    passed: tuple[Gate | ShownGate, ...] = ()


def measured(folder: Path) -> Quality | None:
    """The figures and gates of a run, or None where nobody measured it.

    Raises:
        CaiError: The file is damaged.
    """
    path = folder / QUALITY
    return read_quality(path) if path.is_file() else None


def verdict(quality: Quality | None, folder: Path) -> Verdict:
    """The first words of a page."""
    if quality is None:
        more = f"Measure it: cai quality {folder}. The figures below are counts of the run itself."
        return Verdict("none", "Not measured yet", more)
    failed, passed = quality.failed, quality.passed
    empty = ", ".join(gate.name for gate in quality.unmeasured)
    unseen = f" Nothing to measure for: {empty}." if empty else ""
    count = len(passed) + len(failed)
    if failed:
        names = ", ".join(gate.name for gate in failed)
        more = f"{len(failed)} of {plural(count, 'gate')} did not pass.{unseen}"
        return Verdict("bad", f"Look at this first: {names}", more, failed, passed)
    more = f"{count:,} of {plural(count, 'gate')} passed.{unseen}"
    if quality.is_small:
        return Verdict("none", "Too few rows to tell", more, (), passed)
    return Verdict("good", "Fit to train on", more, (), passed)


def own_figures(tally: Tally) -> dict[str, Figure]:
    """Figures of the run's own counts."""
    chains = tally.lengths["first answer"].n
    labels = tally.pairs_that_are("kept") + tally.pairs_that_are("inconsistent")
    figures = {
        "in_sft_share": share(tally.fate("in sft"), tally.prompts) if tally.sft else Figure(),
        "failed_share": share(tally.failed, tally.prompts),
        "revised_share": share(_revised(tally), chains),
        "unsure_verdict_share": share(
            tally.verdicts["orders disagree"],
            sum(
                tally.verdicts[v] for v in ("orders disagree", "change needed", "no change needed")
            ),
        ),
        "kept_pair_share": share(tally.pairs_that_are("kept"), tally.pairs.total()),
        "unsure_label_share": share(tally.pairs_that_are("inconsistent"), labels),
    }
    return {name: figure for name, figure in figures.items() if figure.n}


def _revised(tally: Tally) -> int:
    return sum(n for (_, done, _), n in tally.flow.items() if done == "revised")


# What a page shows at once; the others stand below, closed.
_FIRST = (
    *("in_sft_share", "failed_share", "revised_share", "unsure_verdict_share", "kept_pair_share"),
    *("unsure_label_share", "over_refusal_share", "near_duplicate_share", "boilerplate_share"),
    *("violation_share", "churn_share", "length_auc"),
)


def in_order(
    figures: Mapping[str, Figure], failed: Iterable[Gate]
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """The figures to show at once, those of gates that failed first, and the others."""
    names = dict.fromkeys([*(gate.measure for gate in failed), *_FIRST])
    first = {name: figures[name] for name in names if name in figures}
    return first, {name: f for name, f in figures.items() if name not in first}


def as_shown(figures: Mapping[str, Figure]) -> Iterator[Shown]:
    """Figures for people, those with a value."""
    for name, figure in figures.items():
        if figure.value is None:
            continue
        meaning = OWN_MEANINGS.get(name) or meaning_of(name)
        write = percent if meaning.percent else number
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f"{write(figure.low)} to {write(figure.high)}"
        words = f"{meaning.words} ({meaning.usual})" if meaning.usual else meaning.words
        picture = interval_picture(figure)
        yield Shown(meaning.title, words, write(figure.value), interval, picture, f"{figure.n:,}")


def interval_picture(figure: Figure) -> Markup:
    """The interval on a line from 0 to 1, or to what holds it."""
    value = figure.value or 0.0
    low, high = figure.low if figure.low is not None else value, figure.high or value
    least, most = min(0.0, low), max(1.0, high)
    width, middle = 120.0, 7.0

    def x(at: float) -> float:
        return 3 + (width - 6) * (at - least) / (most - least)

    parts = [
        line(3, middle, width - 3, middle, "axis"),
        rect(x(low), middle - 3, max(x(high) - x(low), 1.5), 6, "range"),
        tag("circle", cx=x(value), cy=middle, r=3.5, class_="dot"),
    ]
    return tag(
        "svg",
        Markup("").join(parts),
        viewBox=f"0 0 {width:.0f} 14",
        class_="interval",
        aria_hidden="true",
        preserveAspectRatio="xMinYMid",
    )
