"""`cai generate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli import summary
from cai.cli.console import confirmed, console, plain, stderr
from cai.cli.options import Config, Set, with_settings
from cai.config import Settings, resolve

if TYPE_CHECKING:
    from cai.dataset.run import Run
    from cai.generation.plan import Plan
    from cai.method import Method


@with_settings(Settings)
def generate(
    given: dict[str, Any],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The run folder. [default: `outputs/<name of the constitution>`]",
            rich_help_panel="Output",
        ),
    ] = None,
    config: Config = None,
    set_: Set = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="A run folder whose calls are used where they fit; may be repeated.",
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Make again what failed before: calls, texts, labels of too little probability.",
        ),
    ] = False,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="PRICE",
            help="What the model costs: `IN,OUT` per million tokens, or `N/h`; shown and kept.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; load no model, write nothing.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Replace rows that stand in the folder without asking."),
    ] = False,
) -> None:
    """Running again into the same folder goes on where the last run stopped.

    After an edit of the constitution only the calls whose input changed are made. Settings come
    from, later ones winning: defaults, the preset, --config, --set, options.
    """
    settings = resolve(given, config, tuple(set_ or ()))
    if dry_run:
        _dry_run(settings, out, reuse or [], retry_failed)
        return
    _run(settings, out, reuse or [], retry_failed, yes, price)


def _run(
    settings: Settings,
    out: Path | None,
    reuse: list[Path],
    retry_failed: bool,
    yes: bool,
    price: str | None,
) -> None:
    from cai.generation.job import generate as run_job
    from cai.runtime.price import Price
    from cai.runtime.progress import Shown

    progress = Shown(stderr, Price.parse(price) if price is not None else None)

    def approve(plan: Plan) -> bool:
        progress.close()
        summary.print_changes(plan)
        if not plan.needs_consent or yes:
            return True
        return sys.stdin.isatty() and confirmed("Replace them?")

    try:
        run = run_job(
            settings,
            out=out,
            reuse=reuse,
            retry_failed=retry_failed,
            approve=approve,
            progress=progress,
            price=price,
        )
    finally:
        progress.close()
    summary.print_summary(run)
    summary.refuse_nothing(run)
    end_by_gates(run, settings)


def end_by_gates(run: Run, settings: Settings) -> None:
    """Say whether the data is fit to train on; end with code 3 where a gate has to stop it."""
    from cai.cli.quality import tell_gates
    from cai.quality.records import QUALITY, read_quality

    if (run.folder / QUALITY).is_file():
        tell_gates(read_quality(run.folder / QUALITY), settings.gate)


def _dry_run(settings: Settings, out: Path | None, reuse: list[Path], retry_failed: bool) -> None:
    from cai.checks.results import judge_warning
    from cai.generation.going_on import method_of_run
    from cai.generation.plan import make_plan
    from cai.roles import make_engines
    from cai.runtime.progress import Shown

    method, folder = method_of_run(settings, out)
    engines = make_engines(method.settings)
    progress = Shown(stderr)
    progress.phase("reading prompts")
    try:
        plan, method = make_plan(
            method,
            folder,
            reuse=reuse,
            engines=engines,
            retry_failed=retry_failed,
            progress=progress,
        )
    finally:
        progress.close()
    if plan.changes:
        summary.print_changes(plan)
    roles: dict[str, list[str]] = {}
    for role in method.roles:
        identity = engines[role].known_identity() or "not on this machine yet: no call is reused"
        roles.setdefault(identity, []).append(role)
    for identity, names in roles.items():
        console.print(plain(f"Model ({', '.join(names)}): {identity}"), soft_wrap=True)
        if not identity.startswith("not on"):
            for name, text in engines[names[0]].feeding().items():
                console.print(plain(f"  {name}: {text}"), soft_wrap=True)
    warning = judge_warning(method, engines["judge"].known_identity())
    if warning is not None:
        stderr.print(plain("WARNING", "bold white on red"), plain(warning), soft_wrap=True)
    console.print(f"Rows: {plan.rows:,}, of which {plan.complete:,} are whole in the journal")
    console.print(f"Calls to reuse: {plan.reused:,}")
    console.print(f"Calls to make: {plan.at_least:,} to {plan.at_most:,}, and second draws")
    _print_first(plan, method)


def _print_first(plan: Plan, method: Method) -> None:
    for prompt in plan.first:
        console.print(plain(f"\nPrompt {prompt.id} ({prompt.kind})", "bold"))
        for message in prompt.with_system(method.settings.system).messages:
            console.print(plain(f"{message.role}: ", "bold") + plain(message.content))
        if method.revises and method.rounds(prompt):
            principle = method.principle_of_round(prompt, 1)
            name = "critique" if method.settings.critique else "revise"
            console.print(plain(f"then, by principle {principle.id}:", "bold"))
            console.print(plain(method.request(name, principle)))
