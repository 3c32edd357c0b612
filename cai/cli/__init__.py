"""The command line. A verb is loaded when it is asked for, so that help comes at once."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from typing import Any

import typer

from cai import __version__
from cai.cli.console import show_error, stderr
from cai.cli.help import Verb, Verbs
from cai.errors import CaiError

INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal: Ctrl-C (SIGINT), SIGTERM

# Each verb with its first line of help; the module of its name has it, or has an app of verbs.
VERBS = {
    "demo": "See the small model learn rules from a YAML file, in minutes.",
    "generate": "Answer prompts, revise the answers, label pairs of answers.",
    "show": "Print the chain of one prompt, or what a run holds.",
    "report": "Make a page of a run or a training to look at.",
    "merge": "Put the shards of a run together; no model is asked.",
    "doctor": "Say which models can run here, and how to get what is missing.",
    "check": "Measure a judge or a critic before it is trusted.",
    "assess": "Say which principles answers break, of any data.",
    "quality": "Say whether data is fit to train on, and why.",
    "constitution": "Check a constitution, look at one, see what an edit changed.",
    "prompts": "Write prompts for a constitution, or check a file of prompts.",
    "forget": "Take a prompt and all that came of it out of a run.",
    "export": "Write a run's data as other trainers read it.",
    "train": "Train a model on a run's data, or look at a training.",
    "evaluate": "Say if a model is safer and still helpful, and by how much.",
    "push": "Send a run or a model to the Hub, as one commit.",
    "audit": "Say where the rows of a run, and a trained model, come from.",
}
ALIASES = {"judge-check": ("check", "judge")}  # names of before that still do


class _Root(Verbs):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: dict[str, Any] = dict.fromkeys(VERBS)  # their names, to suggest near ones

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in ALIASES:
            group, verb = ALIASES[cmd_name]
            return self.get_command(ctx, group).commands[verb]
        if cmd_name in VERBS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = load_verb(cmd_name)
        return self.commands.get(cmd_name)

    def one_line_each(self, ctx: Any) -> dict[str, str]:
        return VERBS


def load_verb(name: str) -> Any:
    """The command of a verb, or the group of its verbs."""
    word = name.replace("-", "_")
    module = importlib.import_module(f"cai.cli.{word}")
    verbs: typer.Typer | None = getattr(module, "app", None)
    if verbs is None:
        verbs = typer.Typer(add_completion=False, rich_markup_mode=None)
        verbs.command(cls=Verb)(getattr(module, word))
    command = typer.main.get_command(verbs)
    command.name = name
    command.help = f"{VERBS[name]}\n\n{command.help or ''}".rstrip()
    return command


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # errors are plain lines; cai.cli.help has the help
    context_settings={"help_option_names": ["-h", "--help"]},  # of all verbs: they inherit it
    help="Constitutional AI as a tool: a YAML constitution and prompts in, revised data out.",
)


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
    """Run the command line; a `CaiError` is printed with its hint and ends with code 1, or 3."""
    # Idle threads must not spin: a training step beside other work took 61 s instead of 4 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal of ASCII ends no finished run
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's job in the background: Ctrl-C is not for it, but its own end goes the same way.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: _end_as_by_ctrl_c(number, signals))
    try:
        app()
    except CaiError as error:
        show_error(error)
        sys.exit(error.code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            stderr.print("\nStopped. What was done is kept: the same command goes on from here.")
            sys.exit(TERMINATED if signals else INTERRUPTED)
        raise


def _end_as_by_ctrl_c(number: int, signals: list[int]) -> None:
    """What `docker stop` and Slurm send ends a job as a person does: files closed, cursor shown."""
    signals.append(number)
    waits = signal.SIGINT in signal.sigpending()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if not waits:
        signal.raise_signal(signal.SIGINT)
