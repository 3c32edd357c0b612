"""The dataset card: what `load_dataset` and a reader need to know of a run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cai.config import Settings
from cai.constitution.records import Constitution
from cai.constitution.yaml_file import dumped
from cai.dataset.schema import Manifest, named
from cai.markdown import plain
from cai.records import JudgeFacts

_NAMES = {
    "sft": "training rows: a prompt and the text to learn",
    "preferences": "two answers and the probability that the chosen one is better",
    "traces": "whole chains and all judgements",
}


def dataset_card(
    folder: Path, settings: Settings, constitution: Constitution, manifest: Manifest
) -> str:
    """README.md of a run: a YAML header that declares its splits, and an account."""
    counts = manifest.counts
    header = dumped(_header(folder, constitution))
    tables = "\n".join(
        f"| `{name}` | {what} | {counts.get(f'{name}.train', 0):,} "
        f"| {counts.get(f'{name}.test', 0):,} |"
        for name, what in _NAMES.items()
    )
    return f"""---
{header}---

# {plain(constitution.name)}: revised by a constitution

Made with `cai` {manifest.packages["constitutional-ai"]}: a model answers a prompt, criticises its
answer by a principle drawn from the constitution, and rewrites it where a change is needed; a judge
labels pairs of answers by comparison principles, in both orders (Constitutional AI, Bai et al.
2022, arXiv:2212.08073).

| dataset | rows are | train | test |
|---|---|---:|---:|
{tables}

{counts.get("failures", 0):,} prompts gave no row; `failures.jsonl` says why for each.

## How it was made

{_facts(settings, constitution, manifest)}

`config.yaml` and `constitution.yaml` repeat the run; `manifest.json` has all digests and versions.
No prompt stands in two splits: the split is a hash of the prompt's group or first human turn.

## Limits

The texts are a language model's. Prompts of the kind `red-team` ask for harmful things, and first
answers in `traces`, and rejected ones in `preferences`, may give them. Nobody has checked the
rows one by one. Licences of prompts are in the column `licence` of `traces`, where they were given.
"""


_SPLITS = ("train", "test")


def _header(folder: Path, constitution: Constitution) -> dict[str, Any]:
    configs: list[dict[str, Any]] = []
    for name in _NAMES:
        files = [
            {"split": split, "path": f"{name}/{split}.parquet"}
            for split in _SPLITS
            if (folder / name / f"{split}.parquet").is_file()
        ]
        if files:
            # `datasets` keeps a copy by path and header; the digest makes it notice new content.
            contents = _digest([folder / file["path"] for file in files])
            described = f"{_NAMES[name]} (sha256 {contents[:16]})"
            configs.append({"config_name": name, "description": described, "data_files": files})
    if configs:
        configs[0]["default"] = True
    return {
        "pretty_name": constitution.name,
        "tags": ["constitutional-ai", "rlaif", "synthetic"],
        "task_categories": ["text-generation"],
        "configs": configs,
    }


def _digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _facts(settings: Settings, constitution: Constitution, manifest: Manifest) -> str:
    kinds: Mapping[str, int] = manifest.prompts.get("kinds", {})
    facts = {
        "Constitution": f"{constitution.name}, {len(constitution.principles)} principles, "
        f"sha256 {constitution.digest[:16]}",
        "Prompts": ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
        + f" from {settings.prompts}",
        "Model": "; ".join(
            sorted({named(manifest.names.get(r), i) for r, i in manifest.models.items()})
        ),
        "Chain": f"preset {settings.preset}, {settings.revisions} revision(s), "
        f"critique {'on' if settings.critique else 'off'}, "
        f"verdict {'on' if settings.verdict else 'off'}",
        "Seed": str(settings.seed),
        **_fed(manifest),
    }
    if "preferences" in settings.stages:
        facts["Labels"] = _labels(settings, manifest)
    return "\n".join(f"- {name}: {plain(value)}" for name, value in facts.items())


def _fed(manifest: Manifest) -> dict[str, str]:
    """What the models' templates add to the texts, each said once."""
    lines: dict[str, dict[str, str]] = {}
    for feeding in manifest.fed.values():
        for name, text in feeding.items():
            lines.setdefault(name.capitalize(), {})[text] = text
    return {name: "; ".join(texts) for name, texts in lines.items()}


def _labels(settings: Settings, manifest: Manifest) -> str:
    counts, judge = manifest.counts, JudgeFacts.model_validate(manifest.judge)
    rows = counts.get("preferences.train", 0) + counts.get("preferences.test", 0)
    pairs = {
        name.removeprefix("pairs."): n for name, n in counts.items() if name.startswith("pairs.")
    }
    dropped = {name: n for name, n in pairs.items() if not name.endswith(".labelled")}
    reasons = ", ".join(f"{n:,} {name.replace('.', ' ')}" for name, n in dropped.items())
    temperature = judge.temperature
    return (
        f"{settings.judge_principles} principle(s) per comparison, both orders"
        f"{', reasoning first' if settings.cot else ''}; judge: {judge.state}"
        f"{f'; temperature {temperature:.4g}' if temperature != 1 else ''}; "
        f"{rows:,} of {sum(pairs.values()):,} pairs kept"
        f"{f', dropped: {reasons}' if reasons else ''}"
    )
