"""`cai export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.cli.console import console, plain, stderr

if TYPE_CHECKING:
    from cai.publish.export import Export

FORMATS = (
    *("axolotl", "alignment-handbook", "llama-factory", "openrlhf", "nemo-rl"),
    *("kto", "trl", "jsonl", "parquet"),
)


def export(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder.", show_default=False),
    ],
    form: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help=f"{', '.join(FORMATS)}.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="A new or empty folder.", show_default=False),
    ],
    split: Annotated[
        Literal["train", "test", "all"],
        typer.Option(metavar="train|test|all", help="The splits to write."),
    ] = "all",
    min_margin: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            min=0,
            max=1,
            help="Leave out pairs whose label has a margin 2p - 1 below this; most trainers take "
            "every label as certain.",
        ),
    ] = 0.0,
) -> None:
    """The README.md beside the data says what the format does not hold, and how to train on it."""
    from cai.dataset.schema import SPLITS
    from cai.publish.export import export_run

    splits = SPLITS if split == "all" else (split,)
    _print_export(export_run(folder, form, out, splits=splits, min_margin=min_margin))


def _print_export(result: Export) -> None:
    for table in result.tables:
        words = f"{result.folder / table.path}: {table.rows:,} rows ({table.dataset})"
        console.print(plain(words), soft_wrap=True)
    stderr.print(plain("Not in it:", "bold"))
    for sentence in result.lost:
        stderr.print(plain(f"  {sentence}"), soft_wrap=True)
    if not result.noted:
        words = "The run cannot be written to and has no note of it: cai forget will not find it."
        stderr.print(plain(words, "yellow"), soft_wrap=True)
    console.print(plain(f"How to train on it: {result.folder / 'README.md'}"), soft_wrap=True)
