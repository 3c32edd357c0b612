"""`cai report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cai.cli.console import console, plain


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a run, a training or an evaluation."),
    ],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="LATER_RUN",
            help="A later run: show what is different in it.",
            show_default=False,
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The page. [default: `report.html` in RUN; of two runs `report-<LATER_RUN>.html`]",
        ),
    ] = None,
    no_chains: Annotated[
        bool,
        typer.Option(
            "--no-chains",
            help="Leave out what is not published: first answers, critiques, rejected answers.",
        ),
    ] = False,
) -> None:
    """The page is one file that needs no network: a verdict, figures, pictures, and every row."""
    from cai.report.page import write_report

    path = write_report(run, other=other, out=out, chains=not no_chains)
    size = path.stat().st_size / 1e6
    console.print(plain(f"{path} ({size:.1f} MB)"), soft_wrap=True)
    if open_:
        typer.launch(path.resolve().as_uri())
