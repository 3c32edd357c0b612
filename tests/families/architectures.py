"""Tiny models of the families' architectures, made in memory from their configuration classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "initializer_range": 0.2,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
}
MLA: dict[str, Any] = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "head_dim": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 2,
}
VISION: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 16,
    "embed_dim": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "out_hidden_size": 16,
    "patch_size": 14,
    "image_size": 28,
    "deepstack_visual_indexes": [0],
    "fullatt_block_indexes": [0],
    "num_position_embeddings": 16,
}
# Model type → what its text part has besides SIZES.
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": EXPERTS,
    "qwen2_5_vl": {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
    "qwen3_vl": {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}},
    "qwen3_5": {"linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 8,
                "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
    "glm4_moe": EXPERTS,
    "seed_oss": {},
    "cohere": {},
    "cohere2": {"layer_types": ["sliding_attention", "full_attention"]},
    "phi3": {},
    "mistral3": {},
    "deepseek_v3": EXPERTS | MLA,
    "gpt_oss": EXPERTS | {"layer_types": ["sliding_attention", "full_attention"]},
    "gemma2": {"layer_types": ["sliding_attention", "full_attention"]},
    "gemma3": {"layer_types": ["sliding_attention", "full_attention"]},
    "gemma4_text": {"layer_types": ["sliding_attention", "full_attention"],
                    "hidden_size_per_layer_input": 4, "num_kv_shared_layers": 0},
    "idefics3": {"model_type": "llama"},
    "llava_next": {"model_type": "llama"},
    "smolvlm": {"model_type": "llama"},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"], "mamba_num_heads": 2,
                   "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8},
}  # fmt: skip


def save_model(name: str, tokenizer: Any, ends: list[int], folder: Path) -> type[Any]:
    """Save a random model of a type beside its tokenizer; returns its class."""
    import torch

    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id or tokenizer.eos_token_id,
    }
    text = {"vocab_size": len(tokenizer), **special, **SIZES, **MODELS[name]}
    if name == "gemma4_text":
        text["vocab_size_per_layer_input"] = len(tokenizer)
    kind = transformers.CONFIG_MAPPING[name]
    parts = getattr(kind, "sub_configs", {})
    if "text_config" in parts:
        if name == "mistral3":
            text["model_type"] = "mistral"
        config = kind(text_config=text, vision_config=_vision(name), **special)
        auto = transformers.AutoModelForImageTextToText
    else:
        config, auto = kind(**text), transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    model = auto.from_config(config)
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return type(model)


def _vision(name: str) -> dict[str, Any]:
    more = {"model_type": "pixtral"} if name == "mistral3" else {}
    if name == "gemma3":
        more["model_type"] = "siglip_vision_model"
    return VISION | more
