from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from cai.checks import critic_results, results

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A busy machine is no fault: hypothesis would fail an example that takes 200 ms.
settings.register_profile("any pace", deadline=None)
settings.load_profile("any pace")


@pytest.fixture(scope="session", autouse=True)
def _no_checks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made once for several tests knows nothing of checks that this machine has stored."""
    folder = tmp_path_factory.mktemp("checks")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(results, "folder", lambda: folder / "judges")
        patched.setattr(critic_results, "folder", lambda: folder / "critics")
        yield


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, with a cache of its own for datasets."""
    monkeypatch.chdir(tmp_path)
    # Not all of the cache: the small model's files stay where they are.
    monkeypatch.setattr(results, "folder", lambda: tmp_path / "judges")
    monkeypatch.setattr(critic_results, "folder", lambda: tmp_path / "critics")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")


@pytest.fixture
def prompts_file(tmp_path: Path) -> Callable[..., str]:
    """Writes a file of `n` borderline prompts, which are revised, and returns its path."""
    import json

    def write(n: int = 20, name: str = "prompts.jsonl", **fields: Any) -> str:
        path = tmp_path / name
        about = {"kind": "borderline", **fields}
        rows = [{"prompt": f"Question number {i}, please answer it.", **about} for i in range(n)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write
