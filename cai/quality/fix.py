"""A run without the rows that make its gates fail. Nothing is lost: what was dropped is listed."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.run import Run
from cai.dataset.schema import DATASETS, SPLITS, Manifest
from cai.dataset.traces import damaged
from cai.errors import CaiError
from cai.files import publish, replacing
from cai.quality.gates import OF_CHOSEN
from cai.quality.measure import Measured, measure
from cai.quality.phrases import SHARE, sample_key
from cai.quality.records import Quality
from cai.quality.rows import Item
from cai.quality.settings import Thresholds
from cai.quality.watch import Watch, unwatched

DROPPED = "dropped.jsonl"
_COPIED = ("config.yaml", "constitution.yaml", "failures.jsonl")
# Gates that rows can be dropped for, and the mark of these rows. For the first of them the further
# rows of a prompt go too: they were not compared, and have the same prompt.
_OF_PROMPTS = ("leak", "contamination", "near-duplicates")
_RULES = {
    "leak": "leak_train",
    "contamination": "contaminated",
    "near-duplicates": "near_duplicate",
    "incoherent": "incoherent",
    "repetition": "repetition",
    "leftovers": "leftover",
    "control tokens": "control_token",
    "personal data": "personal_data",
    "over-refusal": "over_refusal",
    "violations": "violation",
}
_CAPPED = "boilerplate"
Key = tuple[str, str]  # dataset and id of a row


class Fixed(NamedTuple):
    """What was done.

    Attributes:
        folder: The new run folder.
        record: The list of the rows that were dropped.
        dropped: How many, by rule.
        after: The quality of what is left.
    """

    folder: Path
    record: Path
    dropped: dict[str, int]
    after: Quality


def fix_run(
    measured: Measured,
    out: Path,
    quality: Quality,
    limits: Thresholds,
    against: Sequence[str] = (),
    watch: Watch = unwatched,
) -> Fixed:
    """Write a run again without the rows of the gates that failed, and measure it.

    Rows with a phrase of many answers are capped: as many stay, drawn by a hash of their ids, as
    keep every phrase below 15 %. Of a leak the train rows go. The traces keep everything, with the
    reason at each row that is none any more.

    Args:
        measured: The rows of the run folder.
        out: The new one; it must be empty, or not be there.
        quality: What was measured of it.
        limits: The thresholds that it was measured with.
        against: As in `measure`.
        watch: Shows how far it is.

    Raises:
        CaiError: It is no finished run, `out` holds something, or a file is damaged.
    """
    run = Run.load(measured.data.name)
    manifest = run.manifest
    if out.exists() and any(out.iterdir()):
        raise CaiError(f"{out}: not empty", "Choose a new folder for --out.")
    reasons = dict(_reasons(measured, {gate.name for gate in quality.failed}, watch))
    out.mkdir(parents=True, exist_ok=True)
    counts = _write_rows(run, out, {key: rule for key, (rule, _) in reasons.items()})
    for file in _COPIED:
        if (run.folder / file).is_file():
            shutil.copyfile(run.folder / file, out / file)
    with replacing(out / DROPPED) as lines:
        for (dataset, row), (rule, note) in reasons.items():
            record = {"dataset": dataset, "id": row, "rule": rule, "note": note}
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
    dropped = Counter(rule for rule, _ in reasons.values())
    _write_manifest(out, manifest, counts, dropped)
    return Fixed(
        out,
        out / DROPPED,
        dict(dropped.most_common()),
        measure(out, limits, against=against, watch=watch),
    )


def _reasons(
    measured: Measured, failed: set[str], watch: Watch
) -> Iterator[tuple[Key, tuple[str, str]]]:
    """The rows to drop, each with the rule and a note."""
    held: dict[str, list[tuple[int, Item, set[Any]]]] = {}
    kept: Counter[str] = Counter()
    starts = {name: OF_CHOSEN if i else "" for i, name in enumerate(measured.answers)}
    capped = {name for name, start in starts.items() if _gate(start, _CAPPED) in failed}
    first: tuple[str, str] | None = None
    for item in watch("looking for rows to drop", measured.data.items()):
        marks = measured.marks(item)
        rules = [r for r in _RULES if _gate(starts[item.dataset], r) in failed]
        rule = next((r for r in rules if _RULES[r] in marks), None)
        reason = None if rule is None else (rule, marks[_RULES[rule]])
        if not item.extra:
            first = reason
        elif reason is None and first is not None and first[0] in _OF_PROMPTS:
            reason = first
        if reason is not None:
            yield (item.dataset, item.id), reason
        elif item.dataset in capped and _CAPPED in marks:
            phrases = set(measured.answers[item.dataset].recurring.all_in(item.answer))
            held.setdefault(item.dataset, []).append((sample_key(item.id), item, phrases))
        else:
            kept[item.dataset] += 1
    for dataset, rows in held.items():
        for item in _surplus(rows, kept[dataset]):
            note = measured.answers[dataset].recurring.held(item.answer) or ""
            yield (dataset, item.id), (_CAPPED, note)


def _gate(start: str, rule: str) -> str:
    return f"chosen texts: {rule}" if start else rule


def _surplus(rows: list[tuple[int, Item, set[Any]]], others: int) -> Iterator[Item]:
    """The rows that would lift one of their phrases to 15 % of what is kept."""
    counts: Counter[Any] = Counter()
    kept = others
    for _, item, phrases in sorted(rows, key=lambda row: row[0]):
        if all(counts[phrase] + 1 < SHARE * (kept + 1) for phrase in phrases):
            counts.update(phrases)
            kept += 1
        else:
            yield item


def _write_rows(run: Run, out: Path, rules: Mapping[Key, str]) -> Counter[str]:
    """The datasets without the dropped rows, and the traces with the reasons; rows by file."""
    counts: Counter[str] = Counter()
    for dataset in DATASETS:
        for split in SPLITS:
            source = run.folder / dataset / f"{split}.parquet"
            if source.is_file():
                counts[f"{dataset}.{split}"] = _write(source, out / dataset, dataset, rules)
    return counts


def _write(source: Path, folder: Path, dataset: str, rules: Mapping[Key, str]) -> int:
    folder.mkdir(exist_ok=True)
    temporary = folder / f".{source.name}.tmp"
    rows = 0
    try:
        with (
            pq.ParquetFile(source) as file,
            pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer,
        ):
            for group in range(file.num_row_groups):
                kept = list(_kept(file.read_row_group(group).to_pylist(), dataset, rules))
                rows += len(kept)
                if kept:
                    writer.write_table(pa.Table.from_pylist(kept, schema=file.schema_arrow))
    except (pa.ArrowException, OSError) as error:
        raise damaged(source) from error
    if not rows:
        temporary.unlink()
        return 0
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    publish(temporary, folder / source.name)
    return rows


def _kept(
    table: list[dict[str, Any]], dataset: str, rules: Mapping[Key, str]
) -> Iterator[dict[str, Any]]:
    for row in table:
        if dataset == "traces":
            yield _with_reasons(row, rules)
        elif (dataset, row["id"]) not in rules:
            yield row


def _with_reasons(trace: dict[str, Any], rules: Mapping[Key, str]) -> dict[str, Any]:
    rule = rules.get(("sft", trace["id"]))
    if rule is not None and "not_in_sft" in trace:
        trace["not_in_sft"] = f"quality: {rule}"
    for pair in trace.get("pairs") or ():
        rule = rules.get(("preferences", f"{trace['id']}#{pair['source']}"))
        if rule is not None:
            pair["dropped"] = f"quality: {rule}"
    return trace


def _write_manifest(
    out: Path, manifest: Manifest, rows: Mapping[str, int], dropped: Mapping[str, int]
) -> None:
    """The run's manifest with the new counts of rows, and how many were dropped by which rule."""
    ours = {f"{dataset}.{split}" for dataset in DATASETS for split in SPLITS}
    counts = {key: n for key, n in manifest.counts.items() if key not in ours}
    counts |= {key: n for key, n in rows.items() if n}
    counts |= {f"dropped.{rule}": n for rule, n in dropped.items()}
    new = manifest.model_copy(update={"counts": counts})
    with replacing(out / "manifest.json") as file:
        file.write(json.dumps(new.model_dump(mode="json"), indent=2) + "\n")
