"""Which settings decide what a run folder holds, and how they are compared."""

from __future__ import annotations

# What the folder holds does not depend on these: they may change between two runs into it.
EXECUTION_KEYS = frozenset(
    # A date that is fed to a model is part of the model's identity.
    {"batch_size", "device", "max_open_rows", "preset", "request_timeout", "concurrency", "date"}
    | {"tensor_parallel", "replicas", "distributed", "address", "gate", "gates"}
)
# These only say where prompts come from; the prompts themselves are compared.
PROMPT_KEYS = frozenset(
    {"prompts", "prompt_column", "ignore_columns", "max_bad_rows", "kind", "limit", "shard"}
)
# These are compared by content, not by name.
FILE_KEYS = frozenset(
    {"constitution", "templates", "dtype", "model", "critic", "reviser", "judge", "sampler"}
    | {"judge_calibration", "base_url", "vllm_args", "drop"}
)
