"""How help looks: options in panels, and every word of it as it is written, in any width."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

WIDEST = 100  # longer lines are hard to read
NAMES = 30  # the widest column of names; a longer one takes two lines
DEFAULT = re.compile(r"\[(default: .*|required)\]$", re.DOTALL)


class Verb(TyperCommand):
    """A command with our help."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [p for p in self.get_params(ctx) if p.param_type_name == "argument"]
        return [
            "[OPTIONS]",
            *(n if p.required else f"[{n}]" for p in arguments if (n := name_of(p))),
        ]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_help(self, ctx, {}))


class Verbs(TyperGroup):
    """A group of commands with our help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_help(self, ctx, self.one_line_each(ctx)))

    def one_line_each(self, ctx: Any) -> dict[str, str]:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return {name: _paragraphs(c.help)[0] for name, c in commands.items() if c is not None}


def _help(command: Any, ctx: Any, verbs: Mapping[str, str]) -> str:
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    panels = dict(_panels(command, ctx))
    names = max(len(name) for rows in panels.values() for name, _ in rows)
    with console.capture() as shown:
        usage = " ".join(command.collect_usage_pieces(ctx))
        console.print(Text.assemble(("Usage: ", "bold"), f"{ctx.command_path} {usage}"))
        for paragraph in _paragraphs(command.help):
            console.print(Padding(Text(paragraph), (1, 2, 0, 2)))
        console.print()
        for title, rows in panels.items():
            console.print(_panel(title, rows, min(names, NAMES)))
        if verbs:
            rows = [(name, Text(text)) for name, text in verbs.items()]
            console.print(_panel("Commands", rows, max(map(len, verbs))))
    return "".join(f"{line.rstrip()}\n" for line in shown.get().splitlines())


def _panel(title: str, rows: list[tuple[str, Text]], names: int) -> Panel:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=names, overflow="fold", style="bold cyan")
    table.add_column(ratio=1, overflow="fold")
    for name, words in rows:
        table.add_row(Text(name), words)
    return Panel(table, title=Text(title), title_align="left", border_style="dim")


def _panels(command: Any, ctx: Any) -> Iterator[tuple[str, list[tuple[str, Text]]]]:
    """The rows of each panel, arguments first; what is in no panel comes last."""
    rows: dict[str, list[tuple[str, Text]]] = {"Arguments": []}
    late: list[tuple[str, Text]] = []
    for param in command.get_params(ctx):
        if not getattr(param, "hidden", False):
            row = (name_of(param), _words(param))
            panel = getattr(param, "rich_help_panel", None)
            if param.param_type_name == "argument":
                rows["Arguments"].append(row)
            else:
                (rows.setdefault(panel, []) if panel else late).append(row)
    last = "This run" if "This run" in rows else "Options"
    rows[last] = rows.pop(last, []) + late
    yield from ((title, held) for title, held in rows.items() if held)


def name_of(param: Any) -> str:
    """All names of an option and what stands for its value, as `-y, --yes` or `--limit N`."""
    if param.param_type_name == "argument":
        return f"{param.metavar}{' ...' if param.nargs == -1 else ''}"
    names = ", ".join(sorted([*param.opts, *param.secondary_opts], key=_short_first))
    return names if param.is_flag else f"{names} {param.metavar}"


def _short_first(name: str) -> tuple[bool, bool]:
    return name.startswith("--"), name.startswith("--no-")


def _words(param: Any) -> Text:
    text = (param.help or "").replace("`", "")
    if param.required and param.param_type_name == "option":
        text += " [required]"
    words = Text(text)
    words.highlight_regex(DEFAULT, "dim")
    return words


def _paragraphs(text: str | None) -> list[str]:
    parts = inspect.cleandoc(text or "").replace("`", "").split("\n\n")
    return [" ".join(part.split()) for part in parts]
