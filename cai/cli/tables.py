"""The tables of options in the docs, from the same fields as `--help`.

`python -m cai.cli.tables --check` fails where a page lags behind; `--write` writes it.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from cai.cli import load_verb
from cai.cli.help import DEFAULT, name_of

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
PAGES = {
    "generate.md": "generate",
    "training.md": "train dpo",  # dpo has all that sft has
    "quality.md": "quality",
    "publish.md": "push",
    "evaluate.md": "evaluate",
}


def page_with_tables(page: str, verb: str) -> str:
    """A page whose part between the markers is made anew.

    Raises:
        ValueError: The page has not both markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n{''.join(_tables(verb))}\n{END}{after}"


def _tables(verb: str) -> Iterator[str]:
    name, *under = verb.split()
    command = load_verb(name)
    for part in under:
        command = command.commands[part]
    panels: dict[str, list[Any]] = defaultdict(list)
    for param in command.params:
        if param.param_type_name == "option":
            panels[param.rich_help_panel].append(param)
    for panel, params in panels.items():
        yield f"\n### {panel}\n\n| option | meaning | default |\n|---|---|---|\n"
        yield from map(_row, params)


def _row(param: Any) -> str:
    meaning, _, default = DEFAULT.sub(r"\0\1", param.help).partition("\0default: ")
    meaning = meaning.strip().removesuffix(".")
    meaning = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", meaning)
    cells = (f"`{name_of(param)}`", meaning, default or ("no" if param.is_flag else "none"))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def main(arguments: list[str], docs: Path = Path("docs")) -> int:
    lagging = False
    for name, verb in PAGES.items():
        path = docs / name
        page = path.read_text(encoding="utf-8")
        target = page_with_tables(page, verb)
        if target == page:
            continue
        if arguments == ["--write"]:
            path.write_text(target, encoding="utf-8")
        else:
            typer.echo(
                f"{path} lags behind the settings: python -m cai.cli.tables --write", err=True
            )
            lagging = True
    return int(lagging)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
