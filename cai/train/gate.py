"""The gates that the data of a training did not pass, as its quality.json says."""

from __future__ import annotations

from pathlib import Path

from cai.errors import GateFailed
from cai.quality.records import QUALITY, read_quality
from cai.train.config import TrainSettings


def gate_warnings(settings: TrainSettings) -> list[str]:
    """What is wrong with the data, a line a gate; nothing where it was not measured.

    Raises:
        GateFailed: A gate failed, and the settings say that it has to stop the training.
        CaiError: quality.json is damaged.
    """
    path = Path(settings.data) / QUALITY
    if settings.gate == "none" or not path.is_file():
        return []
    lines = [f"{gate.name}: {gate.words}" for gate in read_quality(path).failed]
    if lines and settings.gate == "fail":
        hint = f"Fix the data (cai quality {settings.data}), or train with --gate warn."
        message = f"{settings.data}: not fit to train on\n" + "\n".join(lines)
        raise GateFailed(message, hint)
    return [f"{path}: {line}" for line in lines]
