"""The command line: `cai generate`, `cai show`, `cai judge-check`, `cai constitution`."""

from __future__ import annotations

import io
import os
import signal
import sys

import typer

from cai import __version__
from cai.cli import (
    constitution,
    constitution_test,
    doctor,
    generate,
    judge_check,
    merge,
    show,
    train,
)
from cai.cli.console import show_error, stderr
from cai.errors import CaiError

INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal: Ctrl-C (SIGINT), SIGTERM

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},  # of all verbs: they inherit it
    help="Constitutional AI as a tool: a YAML constitution and prompts in, revised data out.",
)
app.command()(generate.generate)
app.command()(show.show)
app.command()(merge.merge)
app.command()(doctor.doctor)
app.command()(judge_check.judge_check)
constitution.app.command("test")(constitution_test.run_tests)
app.add_typer(constitution.app, name="constitution")
app.add_typer(train.app, name="train")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"cai {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Take options that stand before the verb."""


def main() -> None:
    """Run the command line; a `CaiError` is printed with its hint and ends with code 1."""
    # Idle threads must not spin: a training step beside other work took 61 s instead of 4 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of ASCII ends no finished run
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: _end_as_by_ctrl_c(number, told))
    try:
        app()
    except CaiError as error:
        show_error(error)
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            stderr.print("\nStopped. What was done is kept: the same command goes on from here.")
            sys.exit(TERMINATED if told else INTERRUPTED)
        raise


def _end_as_by_ctrl_c(number: int, told: list[int]) -> None:
    """What `docker stop` and Slurm send ends a job as a person does: files closed, cursor shown."""
    told.append(number)
    signal.raise_signal(signal.SIGINT)
