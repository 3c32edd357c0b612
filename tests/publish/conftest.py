from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publish.stand_in_hub import TOKEN, StandInHub, running

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"


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
