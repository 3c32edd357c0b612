"""A scorecard on the terminal: its measures by subject, its gates, and what to know of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cai.cli.console import console, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cai.evaluate.records import Measure
    from cai.evaluate.scorecard import Card

_STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow"}


def print_card(card: Card, folder: Path, page: Path) -> None:
    """Print the measures by subject, the gates, and what to know before they are believed."""
    from rich.table import Table

    from cai.evaluate.glossary import meaning
    from cai.evaluate.scorecard import cautions, names_by_subject

    facts = card.evaluation
    title = facts.model.name + (f" against {facts.baseline.name}" if facts.baseline else "")
    table = Table(title=plain(title), title_justify="left")
    table.add_column("measure, in %", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("value (95 %)")
    if facts.baseline:
        table.add_column("baseline", justify="right")
        table.add_column("difference (95 %)")
    for subject, names in names_by_subject(list(card.measures)).items():
        table.add_section()
        table.add_row(plain(subject, "bold"))
        for name in names:
            measure = card.measures[name]
            cells = _cells(measure, percent=meaning(name).percent, against=bool(facts.baseline))
            mark = "*" if measure.judge is not None else ""
            table.add_row(plain(name + mark), *map(plain, cells))
    console.print(table)
    if facts.judge is not None:
        console.print(plain(f"* by the judge, {facts.judge.name}"))
    for words in _remarks(card):
        console.print(plain(words), soft_wrap=True)
    for gate in facts.gates:
        console.print(
            plain(f"{gate.verdict}: ", _STYLES[gate.verdict]) + plain(gate.words), soft_wrap=True
        )
    for caution in cautions(card):
        console.print(plain(caution, "yellow"), soft_wrap=True)
    console.print(plain(f"Scorecard and answers: {folder}"), soft_wrap=True)
    console.print(plain(f"A page to look at: {page}"), soft_wrap=True)


def _cells(measure: Measure, *, percent: bool, against: bool) -> list[str]:
    from cai.evaluate.wording import with_interval

    def number(value: float | None, sign: str = "") -> str:
        if value is None:
            return "-"
        return f"{100 * value + 0.0:{sign}.1f}" if percent else f"{value + 0.0:{sign}.3f} nats"

    def interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
        return with_interval(value, low, high, lambda x: number(x, sign), none="-")

    count = f"{measure.n:,}" + (f" ({measure.unscored:,} unscored)" if measure.unscored else "")
    cells = [count, interval(measure.value, measure.low, measure.high)]
    if against:
        found = (measure.difference, measure.difference_low, measure.difference_high)
        cells += [number(measure.baseline), interval(*found, sign="+")]
    return cells


def _remarks(card: Card) -> Iterator[str]:
    """What a judge's figures are without its measured errors, and why a figure is missing."""
    from cai.evaluate.glossary import meaning

    by_note: dict[str, list[str]] = {}
    for name, measure in card.measures.items():
        if measure.corrected is not None:
            rate = measure.corrected
            value, low, high = (f"{100 * x:.1f}" for x in (rate.value, rate.low, rate.high))
            yield f"{name}: without the judge's measured errors {value} ({low} to {high})"
        if measure.note:
            by_note.setdefault(measure.note, []).append(name)
        if measure.spread is not None:
            style = "{:.1%}" if meaning(name).percent else "{:.3f}"
            least, most = map(style.format, measure.spread)
            yield f"{name}: single samples from {least} to {most}"
    for note, names in by_note.items():
        yield f"{', '.join(names)}: {note}"
