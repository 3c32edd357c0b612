"""From settings to TRL's settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("trl")

import torch

from cai.errors import CaiError
from cai.train.build import as_one, dtype_of, training_arguments
from cai.train.config import resolve_training


@pytest.mark.parametrize(("warmup", "name"), [(0.25, "constant_with_warmup"), (0.0, "constant")])
def test_a_constant_schedule_keeps_its_warm_up(tmp_path: Path, warmup: float, name: str) -> None:
    given = {"data": "x", "model": "y", "schedule": "constant", "warmup": warmup, "max_steps": 8}
    settings = resolve_training("sft", {**given, "device": "cpu"})
    arguments = training_arguments(settings, tmp_path, rows=64, evaluates=False)
    assert arguments.lr_scheduler_type == name
    assert arguments.warmup_steps == 8 * warmup


@pytest.mark.parametrize(
    ("device", "gpu", "capability", "expected"),
    [
        ("auto", True, (8, 0), "bfloat16"),  # A100
        ("auto", True, (7, 5), "float32"),  # T4
        ("cuda", True, (7, 0), "float32"),  # V100
        ("cpu", True, (8, 0), "float32"),
        ("auto", False, (8, 0), "float32"),
    ],
)
def test_bfloat16_only_where_the_gpu_has_it(
    device: str,
    gpu: bool,
    capability: tuple[int, int],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What torch itself says for a GPU, of which only the capability is made up."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    properties = type("Properties", (), {"major": capability[0], "minor": capability[1]})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
    settings = resolve_training("sft", {"data": "x", "model": "y", "device": device})
    assert dtype_of(settings) == expected


@pytest.mark.parametrize(
    ("device", "fault"), [("cuda", "torch does not see it"), ("gpu", "no such device")]
)
def test_a_device_that_is_not_there_is_refused(device: str, fault: str, tmp_path: Path) -> None:
    """Transformers would train on the CPU without a word."""
    settings = resolve_training("sft", {"data": "x", "model": "y", "device": device})
    with pytest.raises(CaiError, match=f"device {device}: {fault}"):
        training_arguments(settings, tmp_path, rows=64, evaluates=False)


def test_processes_that_would_each_train_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As transformers' are where it makes no group of them: they would write into one folder."""
    alone = SimpleNamespace(world_size=1)
    assert as_one(alone) is alone
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(CaiError, match="2 processes, of which 1 would train together"):
        as_one(alone)
