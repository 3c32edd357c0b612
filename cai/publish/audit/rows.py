"""Where each published row comes from: a line of ids and digests, without its text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.schema import ANSWERS, SPLITS
from cai.dataset.traces import rows_of, traces
from cai.files import replacing
from cai.personal import personal_spans
from cai.publish.audit.canonical import canonical
from cai.records import digest

BATCH = 200
NAMED = 100  # rows with personal data that the document names; the file of rows has all
UNKNOWN = "not given"
_KEPT = ("target", "step", "pair_source", "principle_ids", "verified", "violations", "judge")


class Origin(NamedTuple):
    """Where a prompt is from."""

    source: str | None
    licence: str | None
    digest: str


@dataclass
class Rows:
    """What was counted of the rows of a run.

    Attributes:
        counts: Rows by dataset and split.
        origins: Rows by dataset, source and licence.
        principles: Rows by dataset and principle.
        personal: Rows with personal data or secrets, by kind.
        named: The first rows with personal data, each with its kinds.
    """

    counts: Counter[str] = field(default_factory=Counter)
    origins: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    principles: Counter[tuple[str, str]] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    named: list[dict[str, Any]] = field(default_factory=list)


def write_rows(runs: Mapping[str, Path], path: Path) -> tuple[dict[str, Rows], str]:
    """Write a line of canonical JSON for each published row of the runs, in order, and count.

    Args:
        runs: Run folders by name.
        path: The file of lines.

    Returns:
        What was counted by run, and the SHA-256 of the file.

    Raises:
        CaiError: A file is damaged.
    """
    counted, sha = {name: Rows() for name in runs}, hashlib.sha256()
    with replacing(path) as file:
        for name, folder in runs.items():
            origins = _origins(folder)
            for dataset, split, row in _rows(folder):
                line = {"run": name, **_line(dataset, split, row, origins)}
                _count(counted[name], line)
                text = canonical(line).decode() + "\n"
                sha.update(text.encode())
                file.write(text)
    return counted, sha.hexdigest()


def _rows(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for dataset in ANSWERS:
        for split in SPLITS:
            for row in rows_of(folder / dataset / f"{split}.parquet"):
                yield dataset, split, row


def _origins(folder: Path) -> dict[str, Origin]:
    """By the id of a prompt where it is from; sources and licences are few, their texts shared."""
    shared: dict[str | None, str | None] = {}
    origins = {}
    for _, row in traces(folder, ["id", "prompt", "source", "licence"]):
        source, licence = (shared.setdefault(row[k], row[k]) for k in ("source", "licence"))
        origins[row["id"]] = Origin(source, licence, digest(row["prompt"]))
    return origins


def _line(
    dataset: str, split: str, row: dict[str, Any], origins: dict[str, Origin]
) -> dict[str, Any]:
    """The account of a row; its prompt is that of the trace with its id, or its id before a #.

    Where traces were not sent, the id of a pair tells its prompt by itself.
    """
    of_prompt = digest(row["prompt"])
    names = (row["id"], row["id"].rpartition("#")[0])
    name = next((n for n in names if n in origins and origins[n].digest == of_prompt), None)
    name = name or names[dataset == "preferences"] or names[0]
    origin = origins.get(name, Origin(None, None, of_prompt))
    texts = [m["content"] for key in ("prompt", *ANSWERS[dataset]) for m in row[key] or ()]
    kinds = Counter(span.kind for text in texts for span in personal_spans(text))
    return {
        "dataset": dataset,
        "split": split,
        "id": row["id"],
        "digest": digest(row),
        "prompt": {
            "id": name,
            "digest": of_prompt,
            "kind": row["prompt_kind"],
            "source": origin.source,
            "licence": origin.licence,
        },
        **{key: row[key] for key in _KEPT if row.get(key) is not None},
        **({"personal": dict(kinds)} if kinds else {}),
    }


def _count(counted: Rows, line: dict[str, Any]) -> None:
    dataset, prompt = line["dataset"], line["prompt"]
    counted.counts[f"{dataset}.{line['split']}"] += 1
    origin = (dataset, prompt["source"] or UNKNOWN, prompt["licence"] or UNKNOWN)
    counted.origins[origin] += 1
    for name in set(line.get("principle_ids", ())):
        counted.principles[dataset, name] += 1
    kinds = line.get("personal", {})
    counted.personal.update(kinds.keys())
    if kinds and len(counted.named) < NAMED:
        counted.named.append({"dataset": dataset, "id": line["id"], "kinds": sorted(kinds)})
