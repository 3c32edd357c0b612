"""`cai evaluate`: is a model safer and still helpful, and by how much?"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, stderr
from cai.cli.options import SERVED, Config, Json, RetryFailed, Set, folder_of, with_settings
from cai.config import Settings, resolve
from cai.errors import CaiError, GateFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cai.evaluate.records import Measure
    from cai.evaluate.scorecard import Card

ASKED = ("constitution", "templates", "min_label_mass", "system")
_STYLES = {"passed": "green", "failed": "bold red", "undecided": "yellow"}

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="The model; with --replay, whose answers.", show_default=False
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Model to compare with, on the same prompts. [default: none]",
        rich_help_panel="Models",
    ),
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="Model that assesses answers and compares them; check it first. [default: none]",
        rich_help_panel="Models",
    ),
]
Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        metavar="SUITE",
        help="A file of prompts, hf:owner/name, or a shipped suite; may be repeated. "
        "[default: the shipped ones]",
        rich_help_panel="Input",
    ),
]
Replay = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Score recorded answers instead of asking a model. [default: none]",
        rich_help_panel="Input",
    ),
]
Relabel = Annotated[
    bool,
    typer.Option(
        "--relabel",
        help="With --replay: read the answers, and leave recorded labels aside.",
        rich_help_panel="Input",
    ),
]
Samples = Annotated[
    int,
    typer.Option(metavar="K", min=1, help="Answers to each prompt.", rich_help_panel="Sampling"),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        help="Temperature of answers. [default: 0, with --samples 1]",
        rich_help_panel="Sampling",
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Longest answer, in tokens. [default: 512]",
        rich_help_panel="Sampling",
    ),
]
Gates = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="YAML file of what the card must show. [default: four gates; docs/evaluate.md]",
        rich_help_panel="Gates",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="An undecided gate fails too.", rich_help_panel="Gates"),
]
ListSuites = Annotated[
    bool,
    typer.Option("--list", help="Say which suites there are, and where each is had; then stop."),
]
Out = Annotated[Path | None, folder_of("Folder of the scorecard.", "`outputs/evaluate/<model>`")]


@with_settings(Settings, only={*ASKED, *SERVED})
def evaluate(
    given: dict[str, Any],
    model: Model = None,
    baseline: Baseline = None,
    judge: JudgeOption = None,
    suite: Suites = None,
    replay: Replay = None,
    relabel: Relabel = False,
    samples: Samples = 1,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    gates: Gates = None,
    strict: Strict = False,
    list_suites: ListSuites = False,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
) -> None:
    """Ask a model and a baseline the same prompts, and measure harm, over-refusal and helpfulness.

    Each figure has its interval, and the card says who judged and how good that judge is. Running
    again goes on where it stopped.
    """
    from cai.evaluate import run
    from cai.evaluate.gates import read_gates
    from cai.report.page import write_report
    from cai.runtime.progress import Shown

    if list_suites:
        _print_suites()
        return
    drawn = {"policy_temperature": temperature, "policy_max_tokens": max_tokens}
    given |= {key: value for key, value in drawn.items() if value is not None}
    settings = resolve(given, config, tuple(set_ or ()))
    _check(model, replay, samples, settings)
    folder = out or run.default_folder(model or str(replay))
    with closing(Shown(stderr)) as progress:
        card = run.evaluate(
            model,
            settings,
            baseline=baseline,
            suites=tuple(suite or ()),
            judge=judge,
            samples=samples,
            replay=replay,
            recorded_labels=not relabel,
            gates=read_gates(gates) if gates else None,
            out=folder,
            retry_failed=retry_failed,
            progress=progress,
        )
        progress.phase("writing the page")
        page = write_report(folder)
    if as_json:
        typer.echo(json.dumps(card.model_dump(mode="json"), indent=2))
    else:
        print_card(card, folder, page)
    _stop_where_a_gate_fails(card, folder, strict=strict)


def _check(model: str | None, replay: Path | None, samples: int, settings: Settings) -> None:
    if model is None and replay is None:
        raise CaiError("no model is given", "cai evaluate outputs/default-dpo --baseline default")
    given = "policy_temperature" in settings.model_fields_set
    if samples > 1 and not (given and settings.policy_temperature):
        hint = "Several greedy answers are one answer: --temperature 0.7, for example."
        raise CaiError(f"--samples {samples} without --temperature", hint)


def _stop_where_a_gate_fails(card: Card, folder: Path, *, strict: bool) -> None:
    if bad := card.evaluation.failed(strict=strict):
        words = "\n".join(f"{gate.verdict}: {gate.words}" for gate in bad)
        count = "a gate is" if len(bad) == 1 else f"{len(bad)} gates are"
        raise GateFailed(f"{count} not passed\n{words}", f"The answers: {folder}")


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
    def number(value: float | None, sign: str = "") -> str:
        if value is None:
            return "-"
        return f"{100 * value + 0.0:{sign}.1f}" if percent else f"{value + 0.0:{sign}.3f} nats"

    def interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
        if value is None:
            return "-"
        if low is None or high is None:
            return f"{number(value, sign)} (no interval)"
        return f"{number(value, sign)} ({number(low, sign)} to {number(high, sign)})"

    count = f"{measure.n:,}" + (f" ({measure.unscored:,} unscored)" if measure.unscored else "")
    cells = [count, interval(measure.value, measure.low, measure.high)]
    if against:
        found = (measure.difference, measure.difference_low, measure.difference_high)
        cells += [number(measure.baseline), interval(*found, sign="+")]
    return cells


def _remarks(card: Card) -> Iterator[str]:
    """What a judge's figures are without its measured errors, and why a figure is missing."""
    by_note: dict[str, list[str]] = {}
    for name, measure in card.measures.items():
        if measure.corrected is not None:
            rate = measure.corrected
            value, low, high = (f"{100 * x:.1f}" for x in (rate.value, rate.low, rate.high))
            yield f"{name}: without the judge's measured errors {value} ({low} to {high})"
        elif measure.note:
            by_note.setdefault(measure.note, []).append(name)
    for note, names in by_note.items():
        yield f"{', '.join(names)}: {note}"


def _print_suites() -> None:
    from rich.table import Table

    from cai.evaluate.suites.known import KNOWN
    from cai.evaluate.suites.read import SHIPPED, read_suites

    ours = Table("shipped", "prompts", title="Suites that are here", title_justify="left")
    for name in SHIPPED:
        (suite,) = read_suites(name)
        ours.add_row(name, f"{len(suite.items):,}")
    console.print(ours)
    known = Table("suite", "measures", "where", "licence", title_justify="left")
    known.title = "Suites that are known by their columns: fetch one, and give its file"
    for suite_ in KNOWN:
        known.add_row(*map(plain, (suite_.name, suite_.measures, suite_.where, suite_.licence)))
    console.print(known)
