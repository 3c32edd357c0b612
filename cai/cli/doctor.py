"""`cai doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cai.cli.console import console, plain
from cai.cli.options import Json


def doctor(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="URL", help="Servers: http://host:8000/v1[#name]."),
    ] = None,
    json_: Json = False,
) -> None:
    """Of a server it says what that supports.

    Ends with code 1 if something that was asked about does not work.
    """
    from cai.doctor import examine

    findings = examine(names or [])
    if json_:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        marks = {True: ("ok", "green"), False: ("no", "bold red"), None: ("--", "dim")}
        for finding in findings:
            mark, style = marks[finding.ok]
            line = plain(f"{mark:3}", style) + plain(f"{finding.about}: {finding.what}")
            console.print(line, soft_wrap=True)
            if finding.mend and finding.ok is not True:
                console.print(plain(f"     {finding.mend}", "dim"), soft_wrap=True)
    if any(f.ok is False and "://" in f.about for f in findings):
        raise typer.Exit(1)
