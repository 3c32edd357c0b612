"""A causal language model in memory, with what a caller must know before it sends tokens."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from cai.engines.gpus import model_is_gone, take_for_model
from cai.engines.local.architecture import explained, model_class, require_all
from cai.engines.local.chat_template import load_tokenizer
from cai.engines.local.quiet import quiet_libraries


class LocalModel:
    """The model, its tokenizer, its end tokens and its context length.

    Args:
        model: A transformers causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        gpu: The GPU that it has, by its name in the environment.
    """

    def __init__(self, model: Any, tokenizer: Any, gpu: str | None = None) -> None:
        self._gpu = gpu
        self.model = model
        self.tokenizer = tokenizer
        self.device: torch.device = model.device
        self.config = model.config.get_text_config()
        self.ends = _end_tokens(model, tokenizer)
        self.context = _context(self.config, tokenizer)
        self._accepted = set(inspect.signature(model.forward).parameters)
        self.splittable = _has_plain_cache(self.config)

    def let_go(self) -> None:
        """Leave the GPU to others: the model is gone from it."""
        gpu, self._gpu = self._gpu, None
        if gpu is not None:
            self.model = None
            torch.cuda.empty_cache()
            model_is_gone(gpu)

    def forward(
        self,
        ids: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        cache: Any = None,
        keep: int | torch.Tensor = 1,
    ) -> torch.Tensor:
        """Logits of the columns `keep` (a number of last ones, or indices), shape (rows, n, V)."""
        options: dict[str, Any] = {"position_ids": positions, "logits_to_keep": keep}
        options = {k: v for k, v in options.items() if k in self._accepted and v is not None}
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **options,
        )
        logits: torch.Tensor = output.logits
        if "logits_to_keep" not in options:
            logits = logits[:, -keep:] if isinstance(keep, int) else logits[:, keep]
        return logits

    def new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self.config)

    @torch.inference_mode()
    def cached_bytes(self, tokens: int) -> int:
        """Bytes that the cache of a row of so many tokens takes; a token is tried."""
        cache = self.new_cache()
        self.forward(self.tensor([[0]]), cache=cache)
        held = [layer for layer in cache.layers if layer.is_initialized]
        return sum(
            (layer.keys.nbytes + layer.values.nbytes)
            * min(tokens, getattr(layer, "sliding_window", tokens))
            for layer in held
        )

    def tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self.device)


def fastest_on_cpu() -> Literal["bfloat16", "float32"]:
    """bfloat16 where the processor computes in it; elsewhere float32 is about three times as fast.

    It is for those who choose: the number format is part of a model's identity, so that `auto` is
    the same on every machine.
    """
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("amx_bf16") or able.get("avx512_bf16") else "float32"


def load(
    folder: Path, name: str, *, dtype: str, device: str, trust_remote_code: bool
) -> LocalModel:
    """Read a model into memory.

    Raises:
        CaiError: It is no causal language model, needs its own code, its weights are incomplete, or
            the GPU is not free.
    """
    gpu = None
    if device.partition(":")[0] == "cuda":
        device, gpu = take_for_model(name, device, torch.cuda.device_count())
    try:
        return LocalModel(*_read(folder, name, dtype, device, trust_remote_code), gpu)
    except BaseException:
        if gpu is not None:
            model_is_gone(gpu)
        raise


def _read(
    folder: Path, name: str, dtype: str, device: str, trust_remote_code: bool
) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    with quiet_libraries(), explained(name):
        tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        # Where both exist, the causal class: it leaves a vision tower out and answers the same.
        architecture: Any = AutoModelForCausalLM
        if not trust_remote_code and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            architecture = model_class(config, name)
        model, report = architecture.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
        require_all(report, name)
        model.to(device).eval()
    return model, tokenizer


def pick_device(device: str) -> str:
    """The device to use: the one that is named, else CUDA, else Apple's, else the CPU."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends: set[int] = set()
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        ends.update(value if isinstance(value, (list, tuple)) else [] if value is None else [value])
    return frozenset(ends)


def _context(config: Any, tokenizer: Any) -> int | None:
    """The most tokens that prompt and answer may have together; `None` if nobody says."""
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(value := getattr(config, key, None), int) and value > 0:
            return value
    limit = tokenizer.model_max_length
    return int(limit) if limit < 10**9 else None


def _has_plain_cache(config: Any) -> bool:
    """Whether the cache is keys and values per position, which can be cut and joined by row."""
    from transformers import DynamicCache

    plain = {"DynamicLayer", "DynamicSlidingWindowLayer"}
    return {type(layer).__name__ for layer in DynamicCache(config=config).layers} <= plain
