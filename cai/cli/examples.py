"""`cai constitution test`: the examples of its principles, put to a critic and a judge."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, print_json, stderr
from cai.cli.options import (
    SERVED,
    Config,
    Json,
    RetryFailed,
    Set,
    argument,
    folder_of,
    with_settings,
)
from cai.config import Settings, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cai.checks.examples import (
        AssessmentExample,
        CriticExample,
        Example,
        ExampleReport,
        JudgeExample,
        RuleExample,
    )

ASKED = ("cot", "judge_temperature", "judge_max_tokens", "min_label_mass")

Conflicts = Annotated[
    bool,
    typer.Option("--conflicts", help="Try principles that pull apart, instead of examples."),
]
Between = Annotated[
    list[str] | None,
    typer.Option(
        metavar="IDS",
        help="Two ids with a comma: let the model write prompts where these principles pull apart, "
        "and try them; may be repeated.",
    ),
]
Write = Annotated[
    int, typer.Option(metavar="N", min=1, help="Prompts to write for each --between.")
]

Out = Annotated[
    Path | None,
    folder_of(
        "Folder of the calls.",
        "`outputs/constitution-test/<name>`, for conflicts `outputs/conflicts/<name>`",
    ),
]
MinPass = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        min=0,
        max=1,
        show_default=False,
        help="Share of tests that must pass for exit code 0. [default: 1]",
    ),
]


@with_settings(Settings, only={"model", "critic", "judge", "templates", *ASKED, *SERVED})
def run_examples(
    given: dict[str, Any],
    file: Annotated[str, argument(Settings, "constitution", "FILE")],
    principle: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Test this principle only; may be repeated."),
    ] = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    min_pass: MinPass = 1.0,
    retry_failed: RetryFailed = False,
    conflicts: Conflicts = False,
    between: Between = None,
    write: Write = 3,
    as_json: Json = False,
) -> None:
    """Run the examples of the principles as tests of critic and judge.

    With --conflicts: the prompts of the file's `conflicts` are answered and revised by each of the
    two principles, and each revision is assessed by the other.

    The critic passes where its verdict, and its assessment without a critique, are the example's;
    the judge where it prefers the example's revision to its response, in both orders. Rules (check)
    are tested without a model. Exit code 1 if fewer than --min-pass pass.
    """
    from cai.checks.examples import check_examples
    from cai.runtime.progress import Shown

    settings = resolve({**given, "constitution": file}, config, tuple(set_ or ()))
    if conflicts or between:
        _conflicts(settings, between or [], write, out, retry_failed, as_json)
        return
    with closing(Shown(stderr)) as progress:
        report = check_examples(
            settings,
            principles=principle or (),
            out=out,
            retry_failed=retry_failed,
            progress=progress,
        )
    if as_json:
        counts = {"passed": report.passed, "total": report.total}
        typer.echo(json.dumps({**report.model_dump(mode="json"), **counts}, indent=2))
    else:
        _print(report)
    if report.passed / report.total < min_pass:
        raise typer.Exit(1)


def _conflicts(
    settings: Settings,
    between: Sequence[str],
    write: int,
    out: Path | None,
    retry_failed: bool,
    as_json: bool,
) -> None:
    from rich.table import Table

    from cai.checks.conflicts import check_conflicts
    from cai.runtime.progress import Shown

    pairs = [tuple(part.strip() for part in pair.split(",")) for pair in between]
    with closing(Shown(stderr)) as progress:
        report = check_conflicts(
            settings,
            between=pairs,
            write=write,
            out=out,
            retry_failed=retry_failed,
            progress=progress,
        )
    if as_json:
        print_json(report)
        return
    table = Table("between", "prompts", "disagree", "95 % interval", "a breaks b", "b breaks a")
    for row in report.pairs:
        interval = f"{row.low:.0%} - {row.high:.0%}" if row.prompts else "-"
        table.add_row(
            plain(" / ".join(row.between)),
            f"{row.prompts} ({row.failed} failed)",
            f"{row.disagree:.0%}" if row.prompts else "-",
            interval,
            str(row.first_breaks_second),
            str(row.second_breaks_first),
        )
    console.print(table)


def _print(report: ExampleReport) -> None:
    from rich.table import Table

    heads = ("principle", "rule", "critic", "assessed", "judge", "not passed")
    table = Table(*heads, title_justify="left")
    for name in dict.fromkeys(test.principle for test in report.tests):
        rules = [test for test in report.rules if test.principle == name]
        critic = [test for test in report.critic if test.principle == name]
        assessed = [test for test in report.assessments if test.principle == name]
        judge = [test for test in report.judge if test.principle == name]
        failed = [_ruled(t) for t in rules if not t.passed]
        failed += [_said(t) for t in critic if not t.passed]
        failed += [_assessed(t) for t in assessed if not t.passed]
        failed += [_preferred(t) for t in judge if not t.passed]
        shares = (_share(rules), _share(critic), _share(assessed), _share(judge))
        table.add_row(plain(name), *shares, plain("\n".join(failed)))
    console.print(table)
    console.print(plain(f"{report.constitution}: {report.passed} of {report.total} tests pass"))


def _share(tests: Sequence[Example]) -> str:
    return f"{sum(t.passed for t in tests)}/{len(tests)}" if tests else "-"


def _ruled(test: RuleExample) -> str:
    return f"{test.example}: {test.expected}, but found: {test.finding or 'nothing'}"


def _said(test: CriticExample) -> str:
    if test.p_change is None:
        return f"{test.example}: critic failed: {test.error}"
    return f"{test.example}: {test.expected}, but p(change) = {test.p_change:.2f}"


def _assessed(test: AssessmentExample) -> str:
    if test.p_violates is None:
        return f"{test.example}: assessment failed: {test.error}"
    order = "" if test.consistent else ", the orders disagree"
    return f"{test.example}: {test.expected}, but p(violates) = {test.p_violates:.2f}{order}"


def _preferred(test: JudgeExample) -> str:
    if test.p_revision is None:
        return f"{test.example}: judge failed: {test.error}"
    order = "" if test.consistent else ", the orders disagree"
    return f"{test.example}: p(revision) = {test.p_revision:.2f}{order}"
