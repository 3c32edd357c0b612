"""What of a trained model is sent: weights, tokenizer, card and record, without local paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cai.constitution.yaml_file import dumped
from cai.errors import CaiError
from cai.evaluate.scorecard import EVALUATION, Card
from cai.files import without_folders
from cai.publish.evaluation import evaluation_of, model_index, section
from cai.publish.header import split_header
from cai.publish.history import PUSHES, pushes
from cai.publish.rows import link

_SENT = (
    *("*.safetensors", "*.safetensors.index.json", "*config.json", "tokenizer*", "*.jinja"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    *("training.json", "train.yaml", "training.png", "metrics.jsonl", EVALUATION),
)
# They may say where on this machine a model or data lies.
_WITH_PATHS = ("training.json", "train.yaml", "config.json", "adapter_config.json", EVALUATION)


def place_model(source: Path, folder: Path, licence: str | None = None) -> None:
    """Put the files of a model that are sent into a folder; checkpoints are not among them.

    Raises:
        CaiError: The training has not come to its end, or has no weights.
    """
    record = json.loads((source / "training.json").read_text(encoding="utf-8"))
    if record.get("state") != "done":
        raise CaiError(
            f"{source}: this training has not come to its end",
            "Run the same cai train command again: it goes on where it stopped.",
        )
    paths = {path for sign in _SENT for path in source.glob(sign) if path.is_file()}
    if not any(path.suffix == ".safetensors" for path in paths):
        raise CaiError(f"{source}: no weights", "Give the folder that cai train wrote (--out).")
    for path in sorted(paths):
        target = folder / path.name
        if path.name in (*_WITH_PATHS, "tokenizer_config.json"):
            _place_without_paths(path, target)
        else:
            link(path, target)
    card = (source / "README.md").read_text(encoding="utf-8")
    target = folder / "README.md"
    text = published_card(card, record, licence, evaluation_of(source), source.resolve().name)
    target.write_text(text, encoding="utf-8")


def published_card(
    card: str,
    record: dict[str, Any],
    licence: str | None = None,
    evaluation: Card | None = None,
    name: str = "model",
) -> str:
    """The card of a model with its licence, its evaluation, and a link to its dataset.

    Args:
        card: As the training wrote it.
        record: Of the training.
        licence: The Hub's name of one.
        evaluation: Of the model, if there was one.
        name: Of the model.
    """
    header, text = split_header(card)
    if evaluation is not None:
        header["model-index"] = model_index(evaluation, name)
        text = f"{text.rstrip(chr(10))}\n\n{section(evaluation)}\n"
    if licence:
        header["license"] = licence
    if repo := dataset_of(str(record["settings"]["data"])):
        header["datasets"] = [repo]
        text = text.rstrip("\n") + (
            f"\n\n## Dataset and constitution\n\nTrained on "
            f"[{repo}](https://huggingface.co/datasets/{repo}); its `constitution.yaml` is there.\n"
        )
    return f"---\n{dumped(header)}---\n{text}"


def dataset_of(data: str) -> str | None:
    """Where the data of a training stands on the Hub: it was read from there, or pushed to it."""
    if data.startswith("hf:"):
        name = data.removeprefix("hf:").partition(":")[0].partition("@")[0]
        return None if name.startswith(("/", ".", "~")) else name
    if not (Path(data) / PUSHES).is_file():
        return None
    return next(
        (push.repo for push in reversed(pushes(Path(data))) if push.type == "dataset"), None
    )


def _place_without_paths(path: Path, target: Path) -> None:
    text = path.read_text(encoding="utf-8")
    is_yaml = path.suffix == ".yaml"
    data = yaml.safe_load(text) if is_yaml else json.loads(text)
    cleaned = _without_paths(data)
    if cleaned == data:
        link(path, target)
    elif is_yaml:
        target.write_text(dumped(cleaned, 100), encoding="utf-8")
    else:
        written = json.dumps(cleaned, indent=2, ensure_ascii=False) + "\n"
        target.write_text(written, encoding="utf-8")


def _without_paths(value: Any) -> Any:
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, dict):
        return {_without_paths(key): _without_paths(item) for key, item in value.items()}
    return value
