from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publish.stand_in_hub import TOKEN, StandInHub, running

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "outputs" / "example"


@pytest.fixture
def stand_in() -> Iterator[StandInHub]:
    with running() as hub:
        yield hub


@pytest.fixture
def hub(stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch) -> StandInHub:
    """A stand-in of the Hub that this process talks to, by LFS and not by Xet."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return stand_in


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run that ships with the source."""
    folder = tmp_path / "run"
    shutil.copytree(EXAMPLE, folder)
    return folder


@pytest.fixture
def environment(stand_in: StandInHub, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": stand_in.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(tmp_path / "hf-home"),
        "CAI_CACHE": str(tmp_path / "cai-cache"),
        "HF_TOKEN": TOKEN,
        "COLUMNS": "200",
    }
