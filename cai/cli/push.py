"""`cai push`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli.console import console, plain, stderr
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.publish.content import Choice, Extra
    from cai.publish.push import Pushed

_WHAT, _WHERE, _CHECKS = "What is sent", "Repository", "Checks"


_Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A run folder, or the folder of a training.",
        show_default=False,
    ),
]
_Repo = Annotated[
    str,
    typer.Argument(
        metavar="REPO", help="The repository on the Hub: owner/name.", show_default=False
    ),
]
_Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="traces|failures|journal",
        help="Send this too; may be repeated.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
_Without = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="Leave out all rows of this prompt; may be repeated.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
_Licence = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Licence for the card, by the Hub's name of it, as cc-by-4.0.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
_DryRun = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write what would be sent into this folder, and send nothing.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
_Public = Annotated[
    bool | None,
    typer.Option(
        "--public/--private",
        help="Who can read a new repository. [default: private]",
        rich_help_panel=_WHERE,
        show_default=False,
    ),
]
_Revision = Annotated[
    str,
    typer.Option(
        metavar="BRANCH",
        help="Branch to write to; made if it is not there. [default: main]",
        rich_help_panel=_WHERE,
        show_default=False,
    ),
]
_Tag = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A name for the commit, as v1.",
        rich_help_panel=_WHERE,
        show_default=False,
    ),
]
_Message = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="The commit's message.",
        rich_help_panel=_WHERE,
        show_default=False,
    ),
]
_Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        help="Send to a public repository what may do harm.",
        rich_help_panel=_CHECKS,
    ),
]
_AllowPersonal = Annotated[
    bool,
    typer.Option(
        "--allow-personal", help="Send personal data that was found.", rich_help_panel=_CHECKS
    ),
]

_Region = Annotated[
    str | None,
    typer.Option(
        metavar="COUNTRY",
        help="Look for phone numbers of this country in national form too, as DE.",
        rich_help_panel=_CHECKS,
        show_default=False,
    ),
]


def push(
    source: _Source,
    repo: _Repo,
    include: _Include = None,
    without: _Without = None,
    licence: _Licence = None,
    dry_run: _DryRun = None,
    public: _Public = None,
    revision: _Revision = "main",
    tag: _Tag = None,
    message: _Message = None,
    yes: _Yes = False,
    allow_personal: _AllowPersonal = False,
    region: _Region = None,
) -> None:
    """A repository gets one commit; the same content again makes none."""
    from cai.publish.content import Choice
    from cai.publish.push import Order
    from cai.publish.push import dry_run as write_dry_run
    from cai.publish.push import push as send

    choice = Choice(repo, _extras(include or []), tuple(without or ()), licence)
    order = Order(public, revision, tag, message, yes, allow_personal, region)
    if dry_run is not None:
        content = write_dry_run(source, choice, dry_run, order, report=_report, tell=_tell)
        _print_files(content.folder, list(content.files))
        return
    _print_pushed(choice, send(source, choice, order, report=_report, tell=_tell))


def _extras(names: list[str]) -> tuple[Extra, ...]:
    from cai.publish.content import EXTRAS

    if unknown := [name for name in names if name not in EXTRAS]:
        raise CaiError(f"--include {unknown[0]}: no such part", f"One of: {', '.join(EXTRAS)}.")
    return tuple(name for name in EXTRAS if name in names)


def _report(run: Path, out: Path) -> Path:
    """The page of a run without its chains."""
    from cai.report.page import write_report

    return write_report(run, out=out, chains=False)


def _tell(words: str) -> None:
    stderr.print(plain(words), soft_wrap=True)


def _print_files(folder: Path, names: list[str]) -> None:
    console.print(plain(f"Nothing was sent. These files would be, as they stand in {folder}:"))
    for name in names:
        console.print(plain(f"  {name}"), soft_wrap=True)


def _print_pushed(choice: Choice, pushed: Pushed) -> None:
    who = "public" if pushed.public else "private"
    if not pushed.sent and not pushed.removed:
        words = f"{choice.repo} ({who}) has all of it already: no commit was made."
    else:
        words = f"{len(pushed.sent)} files to {choice.repo} ({who}) in one commit."
    console.print(plain(words), soft_wrap=True)
    if pushed.removed:
        names = ", ".join(pushed.removed)
        console.print(plain(f"Removed, as they are not in it any more: {names}"), soft_wrap=True)
    console.print(plain(pushed.url), soft_wrap=True)
