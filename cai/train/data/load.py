"""A run's Parquet files → the rows a trainer sees, and a report of every row that it does not."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from cai.errors import CaiError
from cai.records import canonical_json, digest
from cai.sources.bad_rows import Fault
from cai.train.config import DatasetName, TrainSettings
from cai.train.data.examples import Example
from cai.train.data.filters import Selection, select
from cai.train.data.report import SATURATED, DataReport, label_statistics, token_statistics
from cai.train.data.source import read_source
from cai.train.encoding import Encoder

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]
# "degenerate" stands in records of before: now each row's own fault is told.
Reason = Literal[
    Fault, "degenerate", "duplicate", "leak", "pair source", "margin", "template", "too long"
]

_IDS = pa.list_(pa.int32())
# What TRL's trainers take as it is: nothing is tokenised or cut after this step.
_SCHEMAS: dict[DatasetName, pa.Schema] = {
    "sft": pa.schema([("input_ids", _IDS), ("completion_mask", pa.list_(pa.int8()))]),
    "preferences": pa.schema(
        [
            ("prompt_ids", _IDS),
            ("chosen_ids", _IDS),
            ("rejected_ids", _IDS),
            ("chosen_probability", pa.float64()),
        ]
    ),
}


class TrainData(NamedTuple):
    """Datasets that are read from files; `eval` is None where the test split has no row."""

    train: Dataset
    eval: Dataset | None
    report: DataReport


def load_rows(settings: TrainSettings, encoder: Encoder, cache: Path) -> TrainData:
    """The rows that a training run learns from, filtered, mixed, encoded, written below `cache`.

    The same data, settings and tokenizer give the same rows in the same order. All of them are in
    memory until they are written (docs/training.md says how much).

    Args:
        settings: Where the data is and what to leave out.
        encoder: Turns rows into the ids that the model is trained on.
        cache: A folder for the files that the datasets read from.

    Raises:
        CaiError: Data that is missing, damaged or has other columns; too many rows that are too
            long; no row left; or labels without a doubt for a loss that learns from it.
    """
    main = read_source(settings.data, settings.dataset)
    if settings.pair_source != "all" and not any(
        e.pair_source is not None for e in main.train if isinstance(e, Example)
    ):
        raise CaiError(
            f"{settings.data}: no column pair_source, so there are no {settings.pair_source} pairs",
            "Leave pair_source at all.",
        )
    held_out = {e.prompt_key for e in main.test if e.prompt_key is not None}
    train = [select(main, settings, encoder, held_out)]
    files = dict(main.files)
    for mix in settings.mixes:
        other = read_source(mix.source, settings.dataset)
        files |= other.files
        seen = {e.content_digest for part in train for e in part.kept}
        wanted = None if mix.weight is None else round(mix.weight * len(train[0].kept))
        train.append(select(other, settings, encoder, held_out, seen, wanted))
    _check_lengths(train, settings)
    kept = [e for part in train for e in part.kept]
    if not train[0].kept:
        lines = [part.counts.line() for part in train]
        raise CaiError("no row is left to train on", "\n".join([*lines, *_refusals(encoder)]))
    _check_labels(kept, settings)
    test = select(main._replace(train=main.test), settings, encoder) if main.test else None
    tests = [test] if test else []
    digests = [rows_digest(train), rows_digest(tests)]
    report = DataReport(
        sources=tuple(part.counts for part in train),
        test=test.counts if test else None,
        tokens=token_statistics([row.length for part in train for row in part.encoded]),
        labels=label_statistics(kept) if settings.method == "dpo" else None,
        files=files,
        rows_digest=digest(digests),
        warnings=tuple(_warnings(settings, train, test, encoder)),
    )
    schema = _SCHEMAS[settings.dataset]
    return TrainData(
        _stored(train, schema, cache / f"train-{digests[0][:16]}.arrow"),
        _stored(tests, schema, cache / f"test-{digests[1][:16]}.arrow")
        if test and test.kept
        else None,
        report,
    )


# --- from a source, the rows that stay --------------------------------------------------------


def _check_lengths(train: Sequence[Selection], settings: TrainSettings) -> None:
    """Stop where too large a share of the train rows is longer than `max_length`."""
    over = sum(p.counts.dropped.get("too long", 0) + p.counts.cut for p in train)
    measured = sum(p.measured for p in train)
    if measured and over / measured > settings.max_too_long:
        longest = max(train, key=lambda p: p.longest)
        raise CaiError(
            f"{over} of {measured} rows ({over / measured:.1%}) have more than max_length = "
            f"{settings.max_length} tokens; the longest, of {longest.counts.origin}, has "
            f"{longest.longest}",
            f"Raise max_length, or let more be lost: max_too_long is {settings.max_too_long}.",
        )


# --- figures and warnings ---------------------------------------------------------------------


def _check_labels(kept: Sequence[Example], settings: TrainSettings) -> None:
    """Refuse labels that are all sure of themselves where the loss is to learn from their doubt."""
    soft = settings.method == "dpo" and settings.loss != "hard"
    if soft and all(e.probability > SATURATED for e in kept):
        raise CaiError(
            f"every chosen_probability is above {SATURATED}: the loss {settings.loss} has no doubt "
            "to learn from",
            "Calibrate the judge (cai generate --judge-calibration), or say that the labels are "
            "hard: --loss hard.",
        )


def _warnings(
    settings: TrainSettings, train: Sequence[Selection], test: Selection | None, encoder: Encoder
) -> Iterable[str]:
    kept = [e for part in train for e in part.kept]
    for mix, part in zip(settings.mixes, train[1:], strict=True):
        if part.counts.asked is not None and part.counts.kept < part.counts.asked:
            asked = f"{mix.weight:g} x {len(train[0].kept)} = {part.counts.asked}"
            yield f"{mix.source}: {part.counts.kept} rows, fewer than were asked for ({asked})"
    cut = sum(part.counts.cut for part in train)
    if cut:
        yield f"{cut} of {len(kept)} rows are cut: they do not teach where an answer ends"
    yield from _refusals(encoder)
    if encoder.moved:
        yield (
            f"the chat template has no place for a system text: in {encoder.moved} rows it stands "
            "at the head of the first user turn"
        )
    if settings.eval_every is not None and not (test and test.kept):
        yield "there are no test rows, so nothing is evaluated"


def _refusals(encoder: Encoder) -> Iterator[str]:
    for reason, count in encoder.refusals.most_common(3):
        yield f"{count} rows cannot be trained on: {reason}"


# --- writing ----------------------------------------------------------------------------------


def rows_digest(parts: Iterable[Selection]) -> str:
    """SHA-256 over the ids of each row and what is learnt of them, in order."""
    total = hashlib.sha256()
    for row in _rows(parts):
        plain = {k: v.tolist() if isinstance(v, array) else v for k, v in row.items()}
        total.update(canonical_json(plain) + b"\n")
    return total.hexdigest()


def _rows(parts: Iterable[Selection]) -> Iterator[Row]:
    return (row for part in parts for row in part.rows())


def _stored(parts: Sequence[Selection], schema: pa.Schema, path: Path) -> Dataset:
    """A dataset that is read from a file which its content names, and which is kept if it is there.

    So what is computed from the rows and cached beside the file stays valid with it.
    """
    from datasets import Dataset

    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            rows = _rows(parts)
            while batch := list(islice(rows, 1000)):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        temporary.replace(path)
    return Dataset.from_file(str(path))
