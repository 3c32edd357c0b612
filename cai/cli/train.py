"""`cai train`: sft, dpo, merge, show."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cai.cli.console import console, plain, show_error, stderr
from cai.cli.help import Verb, Verbs
from cai.cli.options import Config, Json, Set, argument, with_settings
from cai.errors import CaiError
from cai.train.config import TrainSettings, resolve_training
from cai.train.defaults import PAIR_KEYS, TrainMethod

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Data = Annotated[str, argument(TrainSettings, "data", "DATA")]
Launch = Annotated[
    str | None,
    typer.Option(metavar="HOW", help="Many GPUs: `ddp`, `fsdp2`, or a file of accelerate config."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read and filter the data, print the plan, train nothing.")
]


@app.command(cls=Verb)
@with_settings(TrainSettings, without={"method", "data", *PAIR_KEYS})
def sft(
    given: dict[str, Any],
    data: Data,
    config: Config = None,
    set_: Set = None,
    launch: Launch = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune on revised answers (Bai et al. 2022, section 3)."""
    _go("sft", {**given, "data": data}, config, set_, launch, resume, dry_run)


@app.command(cls=Verb)
@with_settings(TrainSettings, without={"method", "data"})
def dpo(
    given: dict[str, Any],
    data: Data,
    config: Config = None,
    set_: Set = None,
    launch: Launch = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Prefer the better answer of pairs: DPO on soft labels."""
    _go("dpo", {**given, "data": data}, config, set_, launch, resume, dry_run)


def _go(
    method: TrainMethod,
    given: dict[str, Any],
    config: Path | None,
    pairs: list[str] | None,
    launch: str | None,
    resume: bool,
    dry_run: bool,
) -> None:
    from cai.extras import require

    require("local", "cai train")
    require("train", "cai train")
    if "out" in given:
        given["out"] = str(Path(given["out"]))  # without a slash at its end
    settings = resolve_training(method, given, config, tuple(pairs or ()))
    if launch is not None and not dry_run:
        from cai.train.launching import launched

        raise typer.Exit(launched(launch, _without_launch(sys.argv[1:])))
    with _own_end():
        _plan(settings) if dry_run else _train(settings, resume)


def _train(settings: TrainSettings, resume: bool) -> None:
    from cai.train.ranks import is_main
    from cai.train.run import train

    folder = train(settings, resume=resume, console=stderr if is_main() else None)
    if is_main():
        console.print(plain(f"Model: {folder}"), soft_wrap=True)
        console.print(plain(f"Its curves and figures: cai train show {folder}"), soft_wrap=True)


@contextmanager
def _own_end() -> Iterator[None]:
    """Under a launcher, say what went wrong and leave at once, whatever else still runs.

    In about one of a hundred launches torch 2.13 aborts or hangs when Python takes its gloo group
    down, whose thread still runs: a training that is saved would end with an error, or never.
    """
    from cai.train.ranks import is_launched, leave, processes, rank

    if not is_launched():
        yield
        return
    code, is_bug = 1, True
    try:
        yield
        code, is_bug = 0, False
    except CaiError as error:
        show_error(error, f" (process {rank()} of {processes()})" if rank() else "")
        code, is_bug = error.code, False
    finally:
        if is_bug:
            traceback.print_exc()
        leave(code)


def _without_launch(arguments: list[str]) -> list[str]:
    rest: list[str] = []
    skip = False
    for word in arguments:
        if skip or word == "--launch":
            skip = not skip
        elif not word.startswith("--launch="):
            rest.append(word)
    return rest


def _plan(settings: TrainSettings) -> None:
    from cai.train.ranks import is_main
    from cai.train.run import plan

    for line in plan(settings):
        if is_main():
            console.print(plain(line), soft_wrap=True)


@app.command(cls=Verb)
def merge(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A training run, or a folder with an adapter.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where the whole model goes. [default: the run's folder]"
        ),
    ] = None,
) -> None:
    """Merge a trained adapter into its base model."""
    from cai.extras import require

    require("train", "cai train merge")
    from cai.train.merge import merge_run

    console.print(plain(f"Model: {merge_run(folder, out)}"), soft_wrap=True)


@app.command(cls=Verb)
def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A training run.")],
    as_json: Json = False,
) -> None:
    """Print what a training run was made of and how it went."""
    from rich.table import Table

    from cai.train.record import summary

    record, rows = summary(folder)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    table = Table(title="Training", show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, plain(value))
    console.print(table)
