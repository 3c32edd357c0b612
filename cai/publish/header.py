"""The YAML header of a dataset card: what the Hub and `load_dataset` read of it."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cai.dataset.schema import ANSWERS, SPLITS
from cai.markdown import visible
from cai.quality.diversity import languages

ROWS_ARE = {
    "sft": "training rows: a prompt and the text to learn",
    "preferences": "two answers and the probability that the chosen one is better",
    "traces": "whole chains and all judgements",
}
SAMPLE = 200  # texts of a dataset whose language is told
_ENOUGH = 2000  # characters of a text by which it is
FEWEST = 0.05  # share of the sample from which on a language is named
PACKAGED = {"SmolLM2-135M-Instruct, packaged": "HuggingFaceTB/SmolLM2-135M-Instruct"}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))


def header(
    folder: Path,
    title: str,
    models: Sequence[str],
    configs: Sequence[str],
    licence: str | None = None,
) -> dict[str, Any]:
    """The header for the datasets that stand in a folder.

    Args:
        folder: Where `sft/train.parquet` and the others are.
        title: The name of the constitution.
        models: Names of the models that wrote the texts; those of the Hub are linked.
        configs: The datasets that are declared, as far as they have rows.
        licence: The Hub's name of a licence.
    """
    declared = [entry for name in configs if (entry := _config(folder, name))]
    if declared:
        declared[0]["default"] = True
    bases = sorted({name for model in models if (name := hub_name(model))})
    spoken = common_languages(folder, configs)
    return {
        "pretty_name": " ".join(visible(title).split())[:200],
        **({"license": licence} if licence else {}),
        **({"language": spoken} if spoken else {}),
        # The Hub's words for texts that a model wrote.
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "size_categories": [_size(sum(rows_of(folder, configs).values()))],
        "tags": ["constitutional-ai", "rlaif", "synthetic"],
        "task_categories": ["text-generation"],
        **({"base_model": bases} if bases else {}),
        "configs": declared,
    }


def hub_name(model: str) -> str | None:
    """The name of a model on the Hub, where it has one."""
    name = PACKAGED.get(model, model).partition("@")[0]
    return name if _HUB_NAME.fullmatch(name) else None


def rows_of(folder: Path, configs: Sequence[str]) -> dict[str, int]:
    """Rows of each dataset and split that is there, as `sft.train`."""
    return {
        f"{name}.{split}": pq.ParquetFile(path).metadata.num_rows
        for name in configs
        for split, path in _files(folder, name)
    }


def common_languages(folder: Path, configs: Sequence[str]) -> list[str]:
    """The languages of the first answers, by py3langid, commonest first; seldom ones left out."""
    counts = languages(itertools.islice(_answers(folder, configs), SAMPLE))
    counts.pop("?", None)
    total = sum(counts.values())
    return [code for code, n in counts.items() if len(code) == 2 and n >= FEWEST * total]


def _answers(folder: Path, configs: Sequence[str]) -> Iterator[str]:
    for name in configs:
        for column in ANSWERS.get(name, ())[:1]:
            for _, path in _files(folder, name):
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(SAMPLE, columns=[column]):
                        for turns in batch.column(0).to_pylist():
                            yield turns[-1]["content"][:_ENOUGH]


def _files(folder: Path, name: str) -> list[tuple[str, Path]]:
    paths = ((split, folder / name / f"{split}.parquet") for split in SPLITS)
    return [(split, path) for split, path in paths if path.is_file()]


def _config(folder: Path, name: str) -> dict[str, Any] | None:
    files = _files(folder, name)
    if not files:
        return None
    # `datasets` keeps a copy by path and header; the digest makes it notice new content.
    contents = _digest([path for _, path in files])
    data_files = [{"split": split, "path": f"{name}/{split}.parquet"} for split, _ in files]
    words = f"{ROWS_ARE[name]} (sha256 {contents[:16]})"
    return {"config_name": name, "description": words, "data_files": data_files}


def _digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _size(rows: int) -> str:
    return next((words for limit, words in _SIZES if rows < limit), "n>1M")


def split_header(card: str) -> tuple[dict[str, Any], str]:
    """The header of a card as data, and the text after it; no header is an empty one."""
    import yaml

    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    if found is None:
        return {}, card
    data: Mapping[str, Any] | None = yaml.safe_load(found[1])
    return dict(data or {}), card[found.end() :]
