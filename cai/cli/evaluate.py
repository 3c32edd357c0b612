"""`cai evaluate`: is a model safer and still helpful, and by how much?"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, print_json, stderr
from cai.cli.options import SERVED, Config, Json, RetryFailed, Set, folder_of, with_settings
from cai.config import Settings, resolve
from cai.errors import CaiError, GateFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cai.evaluate.scorecard import Card

ASKED = ("constitution", "templates", "min_label_mass", "system")

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
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would ask; ask nobody, write nothing.")
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
    dry_run: DryRun = False,
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
    from cai.cli.scorecard import print_card
    from cai.evaluate import run
    from cai.evaluate.gates import read_gates
    from cai.report.page import write_report
    from cai.runtime.progress import Shown

    if list_suites:
        _print_suites()
        return
    settings = _settings(given, temperature, max_tokens, config, set_)
    _check(model, replay, samples, settings, dry_run=dry_run)
    if dry_run:
        _print_estimate(settings, suite or (), baseline, judge, samples, as_json=as_json)
        return
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
    print_json(card) if as_json else print_card(card, folder, page)
    _stop_where_a_gate_fails(card, folder, strict=strict)


def _settings(
    given: dict[str, Any],
    temperature: float | None,
    max_tokens: int | None,
    config: Path | None,
    set_: list[str] | None,
) -> Settings:
    """The settings, with how answers are drawn where it was said."""
    drawn = {"policy_temperature": temperature, "policy_max_tokens": max_tokens}
    said = {key: value for key, value in drawn.items() if value is not None}
    return resolve({**given, **said}, config, tuple(set_ or ()))


def _print_estimate(
    settings: Settings,
    suites: Sequence[str],
    baseline: str | None,
    judge: str | None,
    samples: int,
    *,
    as_json: bool,
) -> None:
    from cai.evaluate.run import planned

    sides, judged = 1 + (baseline is not None), judge is not None
    found = planned(settings, suites, sides=sides, samples=samples, judged=judged)
    if as_json:
        print_json(found)
        return
    for name, count in found.prompts.items():
        console.print(plain(f"{name}: {count:,} prompts"))
    console.print(plain(f"answers: {found.answers:,}"))
    if found.labels:
        console.print(plain(f"labels of the judge: {found.labels:,} at most"))


def _check(
    model: str | None, replay: Path | None, samples: int, settings: Settings, *, dry_run: bool
) -> None:
    if model is None and replay is None:
        raise CaiError("no model is given", "cai evaluate outputs/default-dpo --baseline default")
    given = "policy_temperature" in settings.model_fields_set
    if dry_run and replay is not None:
        raise CaiError("--dry-run: recorded answers ask no model", "Leave one of the two out.")
    if samples > 1 and not (given and settings.policy_temperature):
        hint = "Several greedy answers are one answer: --temperature 0.7, for example."
        raise CaiError(f"--samples {samples} without --temperature", hint)


def _stop_where_a_gate_fails(card: Card, folder: Path, *, strict: bool) -> None:
    if bad := card.evaluation.failed(strict=strict):
        words = "\n".join(f"{gate.verdict}: {gate.words}" for gate in bad)
        count = "a gate is" if len(bad) == 1 else f"{len(bad)} gates are"
        raise GateFailed(f"{count} not passed\n{words}", f"The answers: {folder}")


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
