"""`cai forget`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli.console import confirmed, console, plain
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.generation.forget.erasure import Erasure

SHOWN = 5  # ids


def forget(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The run folder; a shard, or what --fix wrote, too."),
    ],
    name: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The prompt with this id.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="All prompts of this `source`.")
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="All prompts in which a text stands, or in what came of them; case and white "
            "space do not matter.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
) -> None:
    """The journal is written anew without it, and so are datasets, figures, card, page, exports.

    A digest of the text keeps it out when prompts are read again. What was pushed, and models that
    were trained, are told and not changed.
    """
    from cai.generation.forget import job as forgetting
    from cai.generation.forget.plan import Wanted

    wanted = Wanted(name, source, match)
    if dry_run:
        _print(forgetting.plan_forgetting(run, wanted), "would go")
        return
    done = forgetting.forget(run, wanted, lambda plan: yes or _approved(plan))
    if done is None:
        raise CaiError(f"{run}: nothing was taken out", "Say --yes to do it without a question.")
    _print(done, "taken out")


def _approved(plan: Erasure) -> bool:
    _print(plan, "would go")
    return sys.stdin.isatty() and confirmed("Take all this out, for good?")


def _print(plan: Erasure, done: str) -> None:
    counts = ", ".join(f"{n:,} {what}" for what, n in plan.counts.items() if n)
    console.print(plain(f"{done}: {counts or 'nothing'}", "bold"), soft_wrap=True)
    ids = [*plan.ids, *plan.failed]
    more = f" … and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
    console.print(plain(f"prompts: {', '.join(ids[:SHOWN])}{more}"), soft_wrap=True)
    for export in plan.exports:
        console.print(plain(f"export written anew from the run: {export}"), soft_wrap=True)
    holders = plan.holders
    for copy in holders.copies:
        words = f"may still hold it: {copy.path}: {copy.why}"
        console.print(plain(words, "yellow"), soft_wrap=True)
    for folder in holders.gone:
        words = f"not where it was; look whether it was moved: {folder}"
        console.print(plain(words, "yellow"), soft_wrap=True)
    for push in holders.pushes:
        where = " ".join(value for value in push.values() if value)
        console.print(plain(f"pushed, and still there: {where}", "yellow"), soft_wrap=True)
    for model in holders.models:
        console.print(plain(f"a model was trained on it: {model}", "yellow"), soft_wrap=True)
    for other in holders.runs:
        words = f"another run has it: cai forget {other}"
        console.print(plain(words, "yellow"), soft_wrap=True)
