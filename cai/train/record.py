"""training.json: what a training was made of, how far it is, and how it went."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cai.engines.local.weights import weights_identity
from cai.errors import CaiError
from cai.files import Lock, replacing
from cai.train.config import TrainSettings
from cai.train.data.report import DataReport
from cai.train.models import Outline
from cai.train.ranks import is_main

RECORD = "training.json"
VERSION = 1
_PACKAGES = ("constitutional-ai", "torch", "transformers", "trl", "peft", "accelerate", "datasets")


def new_record(
    settings: TrainSettings, base: Path, model: Outline, template: str, report: DataReport
) -> dict[str, Any]:
    """The record of a training that begins.

    Args:
        settings: As they are repeated by train.yaml.
        base: The folder of the model that is trained.
        model: What training does to it.
        template: The digest of the chat template.
        report: What the data was made of.
    """
    return {
        "version": VERSION,
        "state": "training",
        "method": settings.method,
        "settings": settings.as_data(),
        "base": {"name": settings.model, "identity": weights_identity(base, "as saved")},
        "model": model.model_dump(mode="json"),
        "template": template,
        "data": report.model_dump(mode="json"),
        "packages": {name: version(name) for name in _PACKAGES},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except OSError as error:
        raise CaiError(
            f"{folder}: not a training run ({error.strerror})", "Give the folder of cai train."
        ) from None
    except ValueError as error:
        raise CaiError(f"{folder / RECORD}: damaged: {error}", "Choose another --out.") from None
    if record.get("version") != VERSION:
        raise CaiError(
            f"{folder / RECORD}: a record of format {record.get('version')}, not {VERSION}",
            "Use the version of cai that wrote it.",
        )
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with replacing(folder / RECORD) as file:
        file.write(json.dumps(record, indent=2) + "\n")


def as_started(settings: TrainSettings, folder: Path) -> TrainSettings:
    """The settings, of which those of a loss are the standing training's where none are given.

    Defaults of them changed after version 0.1.0; a training goes on with those it was started with.
    """
    if settings.method == "sft" or not (folder / RECORD).is_file():
        return settings
    stood = read_record(folder)["settings"]
    names = {"loss", "min_margin"} & stood.keys() - settings.model_fields_set
    return settings.model_copy(update={name: stood[name] for name in names})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other trainings and merges out of a folder; only the first process does so."""
    if not is_main():
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise CaiError(f"{folder}: a file, not a folder", "Choose another --out.")
    lock = Lock(folder)
    try:
        yield
    finally:
        lock.release()


def standing(folder: Path, resume: bool) -> dict[str, Any] | None:
    """The record of a run to go on with; refuses to write over one."""
    names = [p.name for p in folder.iterdir() if p.name not in (".lock", ".data")]
    if not names:
        if resume:
            raise CaiError(f"{folder}: nothing to resume", "Leave --resume out.")
        return None
    if RECORD not in names:
        raise CaiError(
            f"{folder}: holds other files ({names[0]}) and is no training run",
            "Choose an empty or new folder for --out.",
        )
    record = read_record(folder)
    if record["state"] == "done":
        raise CaiError(
            f"{folder}: this training has come to its end",
            "Use the model, or choose another --out.",
        )
    return record if resume or last_checkpoint(folder) is not None else None


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint: one in which the trainer's state, written last, is there."""
    checkpoints = [
        path
        for path in (folder / "checkpoints").glob("checkpoint-*")
        if (path / "trainer_state.json").is_file()
    ]
    return max(checkpoints, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


# They may differ between a run and its resumption: what is learnt does not depend on them.
_FREE = frozenset(
    {"out", "report_to", "log_every", "save_every", "keep_checkpoints", "device", "gate"}
)


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The settings that what is learnt depends on and that differ, in words."""
    return [
        f"{key}: {old.get(key)} → {value}"
        for key, value in new.items()
        # A record of before a setting was there says nothing of it.
        if key not in _FREE and old.get(key, value) != value
    ]


def require_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings, other data or another model."""
    changes = changed_settings(old["settings"], new["settings"])
    if old["base"]["identity"] != new["base"]["identity"]:
        changes.append("the base model's files")
    if old["template"] != new["template"]:
        changes.append("the chat template")
    if old["data"]["rows_digest"] != new["data"]["rows_digest"]:
        changes.append("the data, or how it is tokenised")
    if changes:
        raise CaiError(
            f"cannot go on, this changed: {'; '.join(changes)}",
            "Put it back, or start anew with another --out.",
        )


def summary(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The record of a training run, and rows of words for people."""
    from cai.train.callbacks import read_metrics

    record, lines = read_record(folder), read_metrics(folder / "metrics.jsonl")
    settings = record["settings"]
    report = DataReport.model_validate(record["data"])
    rows = {
        "method": record["method"] + (f", {settings['loss']} loss" if settings.get("loss") else ""),
        "model": settings["model"],
        "data": "\n".join(report.lines()),
        "state": record["state"]
        if record["state"] == "done"
        else "not at its end: run the command again",
    }
    last = {name: value for line in lines for name, value in line.items()}
    first = {name: value for line in reversed(lines) for name, value in line.items()}
    if "model" in record:  # not in one of before 0.1.0's end
        rows["trained"] = "\n".join(Outline.model_validate(record["model"]).lines())
    if merged := record.get("merged"):
        rows["merged"] = (
            f"{merged['changed']} of {merged['layers']} layers changed, {merged['saved']} as saved"
        )
    if lines:
        rows["steps"] = f"{last['step']:,}"
    for name in _SHOWN:
        if name in last:
            rows[name] = f"{first[name]:.4g} → {last[name]:.4g}"
    for name in ("cpu_memory_mb", "gpu_memory_mb"):
        if name in last:
            rows[name.replace("_mb", "").replace("_", " ")] = f"{last[name]:,.0f} MB at most"
    if "seconds" in record:
        rows["time"] = f"{record['seconds']:,.0f} s"
    return record, rows


_SHOWN = (
    "loss",
    "eval_loss",
    "preference_loss",
    "rewards/margins",
    "rewards/accuracies",
    "eval_rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "grad_norm",
)
