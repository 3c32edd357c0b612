"""A tiny model to train and pairs to train it on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from cai.engines.local.chat import Chat
from cai.train.config import resolve_training
from cai.train.data.load import TrainData, load_rows
from cai.train.encoding import Encoder
from tests.engines.conftest import TEXTS, save_tiny
from tests.train.data.rows import Load


@pytest.fixture(autouse=True)
def _quiet_libraries() -> Iterator[None]:
    """What transformers, TRL and torch warn of in their own code; ours stay errors."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(torch|transformers|trl)")
        warnings.filterwarnings("ignore", message=".*pin_memory.*", category=UserWarning)
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny-to-train"), hidden_size=32, intermediate_size=64)


@pytest.fixture(scope="session")
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture
def load(tokenizer: Any, tmp_path: Path) -> Load:
    encoder = Encoder(Chat(tokenizer), "<|im_end|>")

    def rows(method: Any, data: str, **given: Any) -> TrainData:
        settings = resolve_training(method, {"data": data, "max_length": 400, **given})
        return load_rows(settings, encoder, tmp_path / "cache")

    return rows


@pytest.fixture
def texts(tokenizer: Any) -> Callable[[TrainData], list[str]]:
    """The last user's texts of rows that `load` gave."""

    def of(found: TrainData) -> list[str]:
        rows = [row.get("prompt_ids") or row["input_ids"] for row in found.train]
        turns = [tokenizer.decode(ids).split("<|im_start|>user\n")[-1] for ids in rows]
        return [turn.split("<|im_end|>")[0] for turn in turns]

    return of


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


@pytest.fixture(scope="session")
def pairs() -> list[dict[str, Any]]:
    """Eight pairs, each with lengths and a label of its own."""
    words = TEXTS[0].split()
    return [
        {
            "prompt": said("user", " ".join(words[: 3 + i])),
            "chosen": said("assistant", " ".join(words[i : i + 1 + i % 4])),
            "rejected": said("assistant", " ".join(reversed(words[: 2 + (3 * i) % 8]))),
            "chosen_probability": (0.55, 0.98, 0.62, 1.0, 0.7, 0.51, 0.85, 0.91)[i],
        }
        for i in range(8)
    ]
