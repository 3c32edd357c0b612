"""`cai train`: sft, dpo, merge, show."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, show_error, stderr
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.train.config import TrainMethod, TrainSettings

app = typer.Typer(
    help="Train a model on a run's data, or look at a training.", no_args_is_help=True
)

Data = Annotated[
    str,
    typer.Argument(
        help="A run folder, a .parquet or .jsonl file, or hf:owner/name[@revision][:config][:split]"
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Model to train: a Hub name or a folder. [default: SmolLM2-135M]")
]
Out = Annotated[Path | None, typer.Option(help="Folder. [default: outputs/<data>-sft or -dpo]")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings; train.yaml repeats one.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; docs/training.md lists them."),
]
Template = Annotated[
    str | None, typer.Option(help="File of a chat template that replaces the model's own.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of order, adapters, mixes. [default: 0]")]
Mixed = Annotated[
    list[str] | None,
    typer.Option(help="Other data, SOURCE=WEIGHT rows per row of the main data; may be repeated."),
]
Launch = Annotated[
    str | None, typer.Option(help="Many GPUs: ddp, fsdp2, or a file of accelerate config.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read and filter the data, print the plan, train nothing.")
]


@app.command()
def sft(
    data: Data,
    model: Model = None,
    out: Out = None,
    mix: Mixed = None,
    config: Config = None,
    set_: Set = None,
    seed: Seed = None,
    chat_template: Template = None,
    launch: Launch = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Supervised fine-tuning on revised answers (Bai et al. 2022, section 3).

    Settings: epochs, max_steps, batch_size, micro_batch_size, learning_rate, max_length, lora
    (null: all weights), dtype, device, … with --set; docs/training.md has all of them.
    """
    flags = {"model": model, "out": out, "mix": mix, "seed": seed, "chat_template": chat_template}
    _go("sft", data, flags, config, set_, launch, resume, dry_run)


@app.command()
def dpo(
    data: Data,
    model: Model = None,
    out: Out = None,
    loss: Annotated[
        str | None, typer.Option(help="hard, soft or geometric. [default: soft]")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Hold on the start model. [default: 0.1]")
    ] = None,
    min_margin: Annotated[float | None, typer.Option(help="Least 2p - 1 of a label.")] = None,
    pair_source: Annotated[
        str | None, typer.Option(help="revision, sampled or all. [default: all]")
    ] = None,
    mix: Mixed = None,
    config: Config = None,
    set_: Set = None,
    seed: Seed = None,
    chat_template: Template = None,
    launch: Launch = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Direct preference optimisation on soft labels.

    Settings: as for sft, and nll_weight, length_normalised, precompute_reference.
    """
    flags = {
        "model": model,
        "out": out,
        "loss": loss,
        "beta": beta,
        "min_margin": min_margin,
        "pair_source": pair_source,
        "mix": mix,
        "seed": seed,
        "chat_template": chat_template,
    }
    _go("dpo", data, flags, config, set_, launch, resume, dry_run)


def _go(
    method: TrainMethod,
    data: str,
    flags: dict[str, Any],
    config: Path | None,
    pairs: list[str] | None,
    launch: str | None,
    resume: bool,
    dry_run: bool,
) -> None:
    from cai.extras import require
    from cai.train.config import resolve_training

    require("local", "cai train")
    require("train", "cai train")
    given = {key: value for key, value in flags.items() if value is not None}
    if "out" in given:
        given["out"] = str(given["out"])
    settings = resolve_training(method, {**given, "data": data}, config, tuple(pairs or ()))
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
        is_bug = False
    finally:
        if is_bug:
            traceback.print_exc()
        leave(code)


def _without_launch(arguments: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument == "--launch":
            skip = not skip
        elif not argument.startswith("--launch="):
            kept.append(argument)
    return kept


def _plan(settings: TrainSettings) -> None:
    from cai.train.ranks import is_main
    from cai.train.run import plan

    for line in plan(settings):
        if is_main():
            console.print(plain(line), soft_wrap=True)


@app.command()
def merge(
    folder: Annotated[Path, typer.Argument(help="A training run, or a folder with an adapter.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the whole model goes. [default: the run's folder]")
    ] = None,
) -> None:
    """Merge a trained adapter into its base model; the result is a model like any other."""
    from cai.extras import require

    require("train", "cai train merge")
    from cai.train.merge import merge_run

    console.print(plain(f"Model: {merge_run(folder, out)}"), soft_wrap=True)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A training run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Print what a training run was made of and how it went."""
    import json

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
