"""A training run: data, trainer, checkpoints, and a folder that is a model when it is done."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cai.constitution.yaml_file import dumped
from cai.engines.local.weights import default_model, resolve
from cai.errors import CaiError
from cai.files import replacing
from cai.train.build import ADAPTER, dtype_of, make_trainer, updates
from cai.train.config import TrainSettings
from cai.train.data.load import TrainData
from cai.train.data.report import DataReport
from cai.train.data.shown import write_examples
from cai.train.gate import gate_warnings
from cai.train.merge import merge_adapter
from cai.train.models import Outline, outline
from cai.train.prepare import load_tokenizer, on_its_day, rows_of
from cai.train.quiet import quiet
from cai.train.ranks import Word, is_main, rank
from cai.train.record import (
    RECORD,
    as_started,
    changed_settings,
    last_checkpoint,
    locked,
    new_record,
    read_record,
    require_same,
    standing,
    write_record,
)
from cai.train.saving import gathered, release, save_adapter, write


def train(settings: TrainSettings, *, resume: bool = False, console: Console | None = None) -> Path:
    """Train a model on a run's data and return the folder that holds it.

    Args:
        settings: What to train, on what, how.
        resume: Refuse to begin: there must be a training to go on with.
        console: Where progress and warnings go; nowhere by default.

    Raises:
        CaiError: Bad data or settings, a folder that holds something else, settings or data that
            changed since the training stopped that is gone on with, or a guard that stopped it.
    """
    console = console or Console(quiet=True)
    folder = Path(settings.out) if settings.out is not None else default_out(settings)
    settings = as_started(settings, folder)
    if _is_done(settings, folder):
        console.print(f"{folder}: this training has come to its end.", markup=False)
        return folder
    with locked(folder), quiet():
        return _train(settings, folder, resume, console)


def _is_done(settings: TrainSettings, folder: Path) -> bool:
    """Whether the same training stands in the folder, whole."""
    if not (folder / RECORD).is_file() or (record := read_record(folder))["state"] != "done":
        return False
    dated = on_its_day(settings, record["settings"].get("date"))
    return not changed_settings(record["settings"], dated.as_data())


def default_out(settings: TrainSettings) -> Path:
    """`outputs/<run>-sft` or `-dpo`, beside the data."""
    name = Path(settings.data.removeprefix("hf:")).name.partition("@")[0]
    return Path("outputs") / f"{name}-{settings.method}"


def model_folder(settings: TrainSettings) -> Path:
    name = default_model() if settings.model == "default" else settings.model
    if (Path(name) / "adapter_config.json").is_file():
        raise CaiError(
            f"{name}: an adapter, not a whole model", f"Merge it first: cai train merge {name}"
        )
    folder = resolve(name)
    if folder is None:
        raise CaiError(f"{name}: not found", "Give a folder, or a name on the Hub.")
    return folder


def _train(settings: TrainSettings, folder: Path, resume: bool, console: Console) -> Path:
    word = Word()  # kept until the end: it may be the server that the others ask
    record: dict[str, Any] = {}
    if is_main():
        warnings = gate_warnings(settings)
        data, tokenizer, record = _prepare(settings, folder, resume)
        rows = (data.train, data.eval)
        newest = last_checkpoint(folder)
        checkpoint = str(newest) if newest else None
        places = [part and part.cache_files[0]["filename"] for part in rows]
        word.give({"rows": places, "checkpoint": checkpoint})
        _say(data.report, Outline.model_validate(record["model"]), console)
        _warn(warnings, console)
    else:
        answer = word.wait()
        rows, checkpoint = _rows_of(answer["rows"]), answer["checkpoint"]
        base = model_folder(settings)
        tokenizer, _ = load_tokenizer(settings, base, _trained_with(base))
    trainer = make_trainer(settings, model_folder(settings), folder, tokenizer, rows, console)
    began = time.monotonic()
    result = _run(trainer, settings, folder, checkpoint, console)
    # All processes give their part of the weights; what follows takes no other than the first.
    state = gathered(trainer, adapter=settings.lora is not None)
    if not is_main():
        return folder
    record |= {
        "metrics": {k: v for k, v in result.metrics.items() if isinstance(v, int | float)},
        "steps": trainer.state.global_step,
    }
    if settings.lora is not None:
        trained = trainer.accelerator.unwrap_model(trainer.model)
        save_adapter(trained, state, tokenizer, folder / ADAPTER)
        state = {}
    release(trainer)
    del trainer
    gc.collect()
    merged = _save(settings, state, folder, tokenizer)
    record |= {"merged": merged} if merged else {}
    record |= {"state": "done", "seconds": round(time.monotonic() - began, 1)}
    finish(folder, record)
    return folder


def _prepare(
    settings: TrainSettings, folder: Path, resume: bool
) -> tuple[TrainData, Any, dict[str, Any]]:
    """The data, the tokenizer and the record of a training that begins or goes on."""
    stood = standing(folder, resume)
    settings = on_its_day(settings, stood["settings"].get("date") if stood else None)
    base = model_folder(settings)
    model = outline(base, settings.model, settings)  # before the data: it takes a second
    tokenizer, chat_format = load_tokenizer(settings, base, _trained_with(base))
    data = rows_of(settings, chat_format, folder / ".data")
    record = new_record(settings, base, model, chat_format.digest, data.report)
    if stood is not None:
        require_same(stood, record)
    write_record(folder, record)
    write_examples(folder, data.train, tokenizer)
    with replacing(folder / "train.yaml") as file:
        file.write(dumped(settings.as_data()))
    return data, tokenizer, record


def _rows_of(places: Sequence[str | None]) -> tuple[Any, Any]:
    """The rows that the first process has written; every process reads the same files.

    So they have one fingerprint, under which TRL's processes find what one of them computes.
    """
    from datasets import Dataset

    for place in places:
        if place is not None and not Path(place).is_file():
            raise CaiError(
                f"{place}: written by the first process, and not seen by process {rank()}",
                "--out must lie where the processes of all machines see it.",
            )
    train, test = (place and Dataset.from_file(place) for place in places)
    return train, test


def _run(
    trainer: Any, settings: TrainSettings, folder: Path, checkpoint: str | None, console: Console
) -> Any:
    """Train, with metrics, guards and a bar."""
    from transformers import PrinterCallback

    from cai.train.callbacks import Bars, Guards, Metrics, first_preference

    if settings.method == "dpo" and checkpoint is None:
        trainer.check_first_preference = first_preference(dtype_of(settings))
    bars = Bars(console, f"{settings.method} {folder.name}")
    trainer.remove_callback(PrinterCallback)
    for callback in (Metrics(folder / "metrics.jsonl"), Guards(console, settings.beta), bars):
        trainer.add_callback(callback)
    try:
        return trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        bars.close()


def _save(
    settings: TrainSettings, state: dict[str, Any], folder: Path, tokenizer: Any
) -> dict[str, int] | None:
    """Write the whole model; of an adapter that was merged, what it changed."""
    import torch

    base = model_folder(settings)
    if settings.lora is None:
        write(state, base, folder, tokenizer, getattr(torch, dtype_of(settings)))
    elif settings.merge:
        return merge_adapter(folder / ADAPTER, base, folder, tokenizer)._asdict()
    return None


def _say(report: DataReport, model: Outline, console: Console) -> None:
    for line in (*report.lines(), *model.lines()):
        console.print(line, markup=False, soft_wrap=True)
    _warn(report.warnings, console)


def _warn(warnings: Sequence[str], console: Console) -> None:
    for warning in warnings:
        console.print(f"WARNING: {warning}", style="bold yellow", markup=False, soft_wrap=True)


def finish(folder: Path, record: Mapping[str, Any]) -> None:
    """Plot, card and record of a run that is done; the temporary data goes."""
    from cai.plots import training_curves
    from cai.train.callbacks import read_metrics
    from cai.train.card import model_card

    training_curves(read_metrics(folder / "metrics.jsonl"), folder / "training.png")
    with replacing(folder / "README.md") as file:
        file.write(model_card(record))
    write_record(folder, record)
    shutil.rmtree(folder / ".data", ignore_errors=True)


def plan(settings: TrainSettings) -> list[str]:
    """What training would do, in lines: the rows, the updates, the folder; nothing is trained."""
    import tempfile

    from cai.engines.local.quiet import quiet_libraries
    from cai.train.build import training_arguments

    settings = on_its_day(settings)
    base = model_folder(settings)
    model = outline(base, settings.model, settings)
    with quiet_libraries():
        _, chat_format = load_tokenizer(settings, base, _trained_with(base))
    with tempfile.TemporaryDirectory() as scratch:
        data = rows_of(settings, chat_format, Path(scratch))
        rows, folder = len(data.train), Path(settings.out or default_out(settings))
        training_arguments(settings, Path(scratch), rows, data.eval is not None)
    steps = updates(settings, rows)
    return [
        *data.report.lines(),
        *(f"WARNING: {warning}" for warning in (*data.report.warnings, *gate_warnings(settings))),
        *model.lines(),
        f"{steps:,} updates of {settings.batch_size} rows, learning rate {settings.learning_rate}",
        f"model {settings.model} ({dtype_of(settings)}) to {folder}",
    ]


def _trained_with(base: Path) -> str | None:
    """The chat template that a model of ours was trained with, as a digest."""
    return str(read_record(base)["template"]) if (base / RECORD).is_file() else None
