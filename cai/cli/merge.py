"""`cai merge`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cai.cli.console import console, plain, stderr


def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARD", help="The folders of all shards of a run.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder of the whole run.")],
) -> None:
    """Shards are made by cai generate --shard i/n; the datasets are as one machine makes them."""
    from cai.generation.merge import merge_shards as run_job
    from cai.runtime.progress import Shown

    with closing(Shown(stderr)) as progress:
        run = run_job(shards, out, progress=progress)
    console.print(plain(f"Data: {run.folder}"), soft_wrap=True)
