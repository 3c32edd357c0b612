"""A tiny random Llama with a tokenizer of its own, saved as a model folder."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.engines.server import http
from cai.records import Message, Sampling
from cai.runtime import scheduler

pytest.importorskip("torch")
pytest.importorskip("transformers")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and then it rests.",
    "How do I write a letter to my neighbour? Please keep it short.",
    "def f(x):\n    return x + 1\n\nprint(f(2024))",
    "The answer is (A). The answer is (B).",
    "Human: user system assistant Assistant:",
]


def user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def drawn(seed: int, **more: Any) -> Sampling:
    return Sampling(**{"temperature": 1, "max_tokens": 24, "seed": seed, **more})


@pytest.fixture(autouse=True)
def _quiet_torch() -> Iterator[None]:
    """Torch and transformers warn about their own insides; ours stay errors."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"(torch|transformers)"
        )
        yield


def tiny_tokenizer(template: str | None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=template,
    )


def save_tiny(
    folder: Path, *, template: str | None = CHATML, weights: int = 0, **config: Any
) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(template)
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.3,
    }
    torch.manual_seed(weights)
    LlamaForCausalLM(LlamaConfig(**{**settings, **config})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def changed(tiny_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny model with another chat template or other keys in its config."""

    def change(template: str | None = CHATML, **config: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(tiny_folder, folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        tiny_tokenizer(template).save_pretrained(folder)
        if template is None:
            (folder / "chat_template.jinja").unlink(missing_ok=True)
        return folder

    return change


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(http, "REST", 0.05)
    for name in ("CAI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
