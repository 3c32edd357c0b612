"""From settings to TRL's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl")

from cai.train.build import training_arguments
from cai.train.config import resolve_training


@pytest.mark.parametrize(("warmup", "name"), [(0.25, "constant_with_warmup"), (0.0, "constant")])
def test_a_constant_schedule_keeps_its_warm_up(tmp_path: Path, warmup: float, name: str) -> None:
    given = {"data": "x", "model": "y", "schedule": "constant", "warmup": warmup, "max_steps": 8}
    settings = resolve_training("sft", {**given, "device": "cpu"})
    arguments = training_arguments(settings, tmp_path, rows=64, evaluates=False)
    assert arguments.lr_scheduler_type == name
    assert arguments.warmup_steps == 8 * warmup
