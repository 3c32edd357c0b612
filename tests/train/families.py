"""Tiny models of the families whose weights, classes or parts differ most, made in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.engines.conftest import CHATML, tiny_tokenizer

MARKS = {"vision_start_token_id": 5, "vision_end_token_id": 6}
IMAGE = {"image_token_id": 7, "video_token_id": 8}
VISION = {"hidden_size": 32, "intermediate_size": 32}
QWEN_VISION = {**VISION, "depth": 2, "num_heads": 2, "out_hidden_size": 32}


def _text(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "initializer_range": 0.2,
    }


def _rope(**more: Any) -> dict[str, Any]:
    plain = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    return {"rope_parameters": {**plain, **more}}


def llama(text: dict[str, Any]) -> Any:
    import transformers as t

    return t.LlamaForCausalLM(t.LlamaConfig(**text))


def qwen3_moe(text: dict[str, Any]) -> Any:
    """Experts lie one by one in the files and as one tensor in memory."""
    import transformers as t

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = t.Qwen3MoeConfig(**text, **experts, decoder_sparse_step=1, tie_word_embeddings=False)
    return t.Qwen3MoeForCausalLM(config)


def qwen2_5_vl(text: dict[str, Any]) -> Any:
    """The names of its tensors differ between files and memory."""
    import transformers as t

    vision = {**QWEN_VISION, "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 28}
    config = t.Qwen2_5_VLConfig(
        text_config={**text, **_rope()}, vision_config=vision, **MARKS, **IMAGE
    )
    return t.Qwen2_5_VLForConditionalGeneration(config)


def qwen3_5(text: dict[str, Any]) -> Any:
    """It has a causal class too, without the vision tower and with other names."""
    import transformers as t

    linear = {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        **_rope(mrope_section=[1, 1, 0], partial_rotary_factor=0.5, mrope_interleaved=True),
    }
    vision = {**QWEN_VISION, "patch_size": 16, "num_position_embeddings": 16}
    config = t.Qwen3_5Config(text_config={**text, **linear}, vision_config=vision, **MARKS, **IMAGE)
    return t.Qwen3_5ForConditionalGeneration(config)


def mistral3(text: dict[str, Any]) -> Any:
    """No causal class, tied embeddings, names that differ between files and memory."""
    import transformers as t

    vision = {
        **VISION,
        "model_type": "pixtral",
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
        "head_dim": 16,
    }
    config = t.Mistral3Config(
        text_config={**text, "model_type": "mistral"}, vision_config=vision, image_token_index=7
    )
    return t.Mistral3ForConditionalGeneration(config)


def gemma3(text: dict[str, Any]) -> Any:
    import transformers as t

    layers = {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
    vision = {**VISION, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = t.Gemma3Config(
        text_config={**text, **layers},
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=7,
        boi_token_index=5,
        eoi_token_index=6,
    )
    return t.Gemma3ForConditionalGeneration(config)


def glm4v(text: dict[str, Any]) -> Any:
    import transformers as t

    config = t.Glm4vConfig(
        text_config={**text, **_rope(partial_rotary_factor=1.0)},
        vision_config={**QWEN_VISION, "patch_size": 14, "image_size": 28},
        image_start_token_id=5,
        image_end_token_id=6,
        video_start_token_id=9,
        video_end_token_id=10,
        **IMAGE,
    )
    return t.Glm4vForConditionalGeneration(config)


FAMILIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    make.__name__: make for make in (llama, qwen3_moe, qwen2_5_vl, qwen3_5, mistral3, gemma3, glm4v)
}


def save_family(name: str, folder: Path, dtype: str = "float32") -> Path:
    """A model of a family with random weights, its tokenizer and a file of a processor."""
    import torch

    tokenizer = tiny_tokenizer(CHATML)
    torch.manual_seed(0)
    model = FAMILIES[name](_text(tokenizer)).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "of the base"}\n')
    return folder
