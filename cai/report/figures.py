"""The verdict of a page and its figures, of `quality.json` or of the run's own counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from pydantic import ValidationError

from cai.errors import CaiError
from cai.quality.records import Figure, Gate, share
from cai.report.svg import line, rect, tag
from cai.report.tally import Tally
from cai.report.words import number, percent, plural

_OWN = ("version", "data", "rows", "gates")
# What a figure is, in one line. One that has no line here is shown by its name.
MEANINGS = {
    "boilerplate_share": "answers with a phrase that many answers share",
    "refusal_share": "answers that decline, in full or in part",
    "over_refusal_share": "answers that decline although the prompt is harmless",
    "incoherent_share": "answers that are empty, babble or stuck",
    "repetition_share": "answers that repeat the same words again and again",
    "near_duplicate_share": "answers that nearly repeat an earlier one",
    "leak_share": "test rows that nearly repeat a train row",
    "contaminated_share": "rows that stand in a set for evaluation",
    "leftover_share": "answers that speak of their own revision",
    "control_token_share": "answers with tokens of a chat template",
    "personal_data_share": "rows with an address, a number or a key of somebody",
    "sycophancy_share": "answers that open with praise",
    "apology_share": "answers that open with an apology",
    "closer_share": "answers that close with an offer of more help",
    "emoji_share": "answers with emojis",
    "first_person_share": "answers that speak of themselves",
    "markdown_share": "answers with lists, headings or bold type",
    "helpful_share": "prompts that ask for nothing harmful",
    "words": "words of an answer, in the mean",
    "changed_share": "answers that the chain changed",
    "churn_share": "edits of answers in which nothing wrong was found",
    "unsure_verdict_share": "verdicts that change with the order of the options",
    "edit_distance": "how much of an answer was changed: 0 nothing, 1 all",
    "violation_share": "final texts that were found to break a principle",
    "length_auc": "how well length alone tells the label: 0.5 not at all, 1 always",
    "length_ratio_chosen": "length of the chosen text, of the rejected one",
    "length_ratio_revision": "length of the revision, of the first answer",
    "compression_ratio": "how often the answers repeat themselves: higher is more",
    "self_bleu": "how alike the answers are: 0 not at all, 1 the same",
    "failed_share": "prompts whose answer or revision failed",
    "in_sft_share": "prompts that gave a row to learn from",
    "revised_share": "answers that were revised",
    "unsure_label_share": "labels that change with the order of the two answers",
    "kept_pair_share": "pairs that became rows of preferences",
}


class Shown(NamedTuple):
    """A figure as the page shows it: name, meaning, value, its picture, how many."""

    name: str
    meaning: str
    value: str
    interval: str
    picture: Markup
    n: str


class Verdict(NamedTuple):
    """What is said at the top: a state (`good`, `bad`, `none`), words, and gates to look at."""

    state: str
    words: str
    more: str
    failed: tuple[Gate, ...] = ()
    passed: tuple[Gate, ...] = ()


class Measured(NamedTuple):
    """What `quality.json` holds: figures, gates, and what stands behind them."""

    figures: dict[str, Figure]
    gates: tuple[Gate, ...]
    details: dict[str, Any]


def measured(folder: Path) -> Measured | None:
    """The figures and gates of a run, or None where nobody measured it.

    Raises:
        CaiError: The file is damaged.
    """
    path = folder / "quality.json"
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        gates = tuple(Gate.model_validate(gate) for gate in data["gates"])
        figures, details = {}, {}
        for name, value in data.items():
            if isinstance(value, dict) and value.keys() == Figure.model_fields.keys():
                figures[name] = Figure.model_validate(value)
            elif name not in _OWN:
                details[name] = value
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise CaiError(
            f"{path}: damaged: {error}", "Delete it and measure the run again."
        ) from None
    return Measured(figures, gates, details)


def verdict(quality: Measured | None, folder: Path) -> Verdict:
    """The first words of a page."""
    if quality is None:
        more = f"Measure it: cai quality {folder}. The figures below are counts of the run itself."
        return Verdict("none", "Not measured yet", more)
    failed = tuple(gate for gate in quality.gates if not gate.passed)
    passed = tuple(gate for gate in quality.gates if gate.passed)
    if failed:
        names = ", ".join(gate.name for gate in failed)
        more = f"{plural(len(failed), 'gate')} of {len(quality.gates)} did not pass."
        return Verdict("bad", f"Look at this first: {names}", more, failed, passed)
    more = f"All {plural(len(passed), 'gate')} passed."
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
        plain = name.removeprefix("chosen_") if name not in MEANINGS else name
        meaning = MEANINGS.get(plain, "")
        if plain != name and meaning:
            meaning = f"{meaning} (chosen texts)"
        is_share = name.endswith("_share")
        write = percent if is_share else number
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f"{write(figure.low)} to {write(figure.high)}"
        words = name.removesuffix("_share").replace("_", " ")
        picture = _interval(figure)
        yield Shown(words, meaning, write(figure.value), interval, picture, f"{figure.n:,}")


def _interval(figure: Figure) -> Markup:
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
