from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cai.engines.local.transformers import TransformersEngine
from cai.engines.local.weights import resolve
from cai.errors import CaiError
from tests.engines.conftest import CHATML, save_tiny


def identity(folder: Path, dtype: Any = "float32") -> str:
    return TransformersEngine(str(folder), dtype=dtype).identity


def test_identity_follows_what_decides_the_output(
    tiny_folder: Path, tmp_path: Path, changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    copy = shutil.copytree(tiny_folder, tmp_path / "elsewhere")
    mine = identity(tiny_folder)
    assert identity(copy) == mine
    assert identity(tiny_folder, "bfloat16") != mine
    assert identity(changed(CHATML + " ")) != mine
    assert identity(save_tiny(tmp_path / "other", weights=1)) != mine
    (copy / "generation_config.json").write_text(
        json.dumps({"temperature": 0.1, "eos_token_id": 2})
    )
    assert identity(copy) == mine
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 2]}))
    assert identity(copy) != mine


def test_a_name_that_cannot_be_served_says_why(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CaiError, match="no such folder"):
        resolve("./nowhere")
    with pytest.raises(CaiError, match=r"no config\.json"):
        resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CaiError, match="no safetensors"):
        resolve(str(tmp_path))
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CaiError) as pickled:
        resolve(str(tmp_path))
    assert "pickled" in pickled.value.hint
    with pytest.raises(CaiError, match="Hub cannot be reached"):
        resolve("nobody/nothing-of-the-kind")
    with pytest.raises(CaiError, match="Hub"):
        resolve("nobody/nothing-of-the-kind@v2")
    assert resolve("nobody/nothing-of-the-kind", local_files_only=True) is None
    assert resolve(str(tiny_folder)) == tiny_folder


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"model_type": "t5"}, "cannot be loaded"),
        ({"model_type": "none-such"}, "cannot be loaded"),
        ({"num_hidden_layers": 3}, "weights lack"),
    ],
)
def test_a_model_that_is_no_language_model_is_refused(
    changed: Callable[..., Path], config: dict[str, Any], error: str
) -> None:
    folder = changed(**config)
    with pytest.raises(CaiError, match=error):
        asyncio.run(TransformersEngine(str(folder)).start())


def test_capacity_keeps_the_batch_full(tiny_folder: Path) -> None:
    assert asyncio.run(TransformersEngine(str(tiny_folder), batch_size=5).capacity()).slots == 10
