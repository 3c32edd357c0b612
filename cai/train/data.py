"""A run's Parquet files → the rows a trainer sees, and a report of every row that it does not."""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from cai.errors import CaiError
from cai.records import Record, canonical_json, digest
from cai.sources.bad_rows import Fault
from cai.train.config import DatasetName, TrainSettings
from cai.train.encoding import Encoded, Encoder
from cai.train.source import Example, Source, read_source

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]
# "degenerate" stands in records of before: now each row's own fault is told.
Reason = Literal[
    Fault, "degenerate", "duplicate", "leak", "pair source", "margin", "template", "too long"
]
SATURATED = 0.99  # a label above it is a hard one, whatever the loss

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


class Tokens(Record):
    """Tokens per row as trained: the prompt with its answer, of a pair with the longer one."""

    mean: float
    p95: int
    max: int


class Labels(Record):
    """`chosen_probability` over the rows: the mean, and the share above 0.99."""

    mean: float
    saturated: float


class Counts(Record):
    """What became of the rows of one source: read = kept + dropped + unused.

    `cut` are among `kept`. Of a mix, `asked` is how many rows its weight wants; rows that were not
    needed for them are `unused`.
    """

    origin: str
    read: int
    dropped: dict[Reason, int]
    cut: int = 0
    kept: int
    asked: int | None = None
    unused: int = 0

    def line(self) -> str:
        """The counts on one line, for people."""
        parts = [f"{n} {reason}" for reason, n in self.dropped.items()]
        parts += [f"{self.unused} not needed"] if self.unused else []
        left_out = f"; left out: {', '.join(parts)}" if parts else ""
        cut = f" ({self.cut} cut)" if self.cut else ""
        return f"{self.origin}: {self.kept} of {self.read} rows{cut}{left_out}"


class DataReport(Record):
    """What the data was made of, so that every row is accounted for and a change is noticed.

    `sources` are the train split's, the main data first; `files` maps each source file to its
    SHA-256, or a dataset of the Hub to that of the rows that were read; `rows_digest` is over both
    splits as they are trained on.
    """

    sources: tuple[Counts, ...]
    test: Counts | None
    tokens: Tokens
    labels: Labels | None
    files: dict[str, str]
    rows_digest: str
    warnings: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        return sum(source.read for source in self.sources)

    @property
    def kept(self) -> int:
        return sum(source.kept for source in self.sources)

    @property
    def cut(self) -> int:
        return sum(source.cut for source in self.sources)

    @property
    def dropped(self) -> dict[Reason, int]:
        total: Counter[Reason] = Counter()
        for source in self.sources:
            total.update(source.dropped)
        return dict(total)

    def lines(self) -> list[str]:
        """The report for people, warnings aside."""
        lines = [f"train: {source.line()}" for source in self.sources]
        lines += [f"test: {self.test.line()}"] if self.test else []
        t = self.tokens
        lines.append(f"tokens per row: mean {t.mean:.0f}, 95 % up to {t.p95}, longest {t.max}")
        if self.labels:
            share = f"{self.labels.saturated:.0%} above {SATURATED}"
            lines.append(f"chosen_probability: mean {self.labels.mean:.3f}, {share}")
        return lines


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


class Selection(NamedTuple):
    """The examples of a source that stay, their ids, and what became of the rest."""

    kept: list[Example]
    encoded: list[Encoded]
    counts: Counts
    longest: int
    measured: int

    def rows(self) -> Iterator[Row]:
        """The columns that the trainers take."""
        for example, encoded in zip(self.kept, self.encoded, strict=True):
            yield columns(encoded, example.probability)


def columns(encoded: Encoded, probability: float) -> Row:
    """A row as the trainers take it."""
    prompt, answers = encoded.prompt, encoded.answers
    if len(answers) == 1:
        mask = array("b", [0]) * len(prompt) + array("b", [1]) * len(answers[0])
        return {"input_ids": prompt + answers[0], "completion_mask": mask}
    return {
        "prompt_ids": prompt,
        "chosen_ids": answers[0],
        "rejected_ids": answers[1],
        "chosen_probability": probability,
    }


def select(
    source: Source,
    settings: TrainSettings,
    encoder: Encoder,
    held_out: Collection[str] = (),
    seen: Collection[str] = (),
    wanted: int | None = None,
) -> Selection:
    """The train rows of a source after all filters, in file order, or `wanted` drawn ones.

    Args:
        source: Rows as they were read.
        settings: The filters' settings.
        encoder: Turns rows into ids.
        held_out: Prompts of the test split; no row may have one.
        seen: Contents that other sources have given already.
        wanted: How many rows to take; None takes all.
    """
    parsed = [e for e in source.train if isinstance(e, Example)]
    filters: list[tuple[Reason, Callable[[Sequence[Example]], list[Example]]]] = [
        ("duplicate", lambda rows: without_duplicates(rows, seen)),
        ("leak", lambda rows: without_leaks(rows, held_out)),
        ("pair source", lambda rows: of_pair_source(rows, settings.pair_source)),
        ("margin", lambda rows: with_margin(rows, settings.min_margin)),
    ]
    dropped: Counter[Reason] = Counter(e.fault for e in source.train if not isinstance(e, Example))
    rows = parsed
    for reason, keep in filters:
        before, rows = len(rows), keep(rows)
        dropped[reason] += before - len(rows)
    if wanted is not None:
        rows = drawn(rows, settings.seed)
    kept: list[Example] = []
    encoded: list[Encoded] = []
    cut = longest = measured = 0
    for example in rows:
        if wanted is not None and len(kept) >= wanted:
            break
        measured += 1
        row = encoder.encode(example)
        if row is None:
            dropped["template"] += 1
            continue
        longest = max(longest, row.length)
        over = row.length > settings.max_length
        if over and (settings.too_long == "drop" or len(row.prompt) >= settings.max_length):
            dropped["too long"] += 1
            continue
        cut += over
        kept.append(example)
        encoded.append(row.cut(settings.max_length) if over else row)
    counts = Counts(
        origin=source.origin,
        read=len(source.train),
        dropped={reason: n for reason, n in dropped.items() if n},
        cut=cut,
        kept=len(kept),
        asked=wanted,
        unused=len(rows) - measured,
    )
    return Selection(kept, encoded, counts, longest, measured)


def without_duplicates(rows: Iterable[Example], seen: Collection[str] = ()) -> list[Example]:
    """Keep the first row of each prompt with its answers, and none that was `seen`."""
    known, kept = set(seen), []
    for example in rows:
        key = example.content_digest
        if key not in known:
            known.add(key)
            kept.append(example)
    return kept


def without_leaks(rows: Iterable[Example], held_out: Collection[str]) -> list[Example]:
    """Leave out rows whose prompt, normalised, is one of the test split's."""
    return [e for e in rows if e.prompt_key not in held_out]


def of_pair_source(rows: Iterable[Example], wanted: str) -> list[Example]:
    """Keep pairs of the wanted source, and rows that name none."""
    return [e for e in rows if wanted == "all" or e.pair_source in (None, wanted)]


ROUNDING = 1e-9  # 2 x 0.7 - 1 is a little less than 0.4 in floating point


def with_margin(rows: Iterable[Example], least: float) -> list[Example]:
    """Keep labels with 2p - 1 of at least `least`."""
    return [e for e in rows if 2 * e.probability - 1 >= least - ROUNDING]


def drawn(rows: Iterable[Example], seed: int) -> list[Example]:
    """The rows in the order of a hash of seed and id: a larger draw only adds to a smaller one."""
    return sorted(rows, key=lambda e: hashlib.sha256(f"{seed} {e.id}".encode()).digest())


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


def token_statistics(lengths: Sequence[int]) -> Tokens:
    """Mean, 95th percentile (nearest rank) and maximum of at least one length."""
    ordered = sorted(lengths)
    rank = math.ceil(0.95 * len(ordered))
    return Tokens(mean=sum(ordered) / len(ordered), p95=ordered[rank - 1], max=ordered[-1])


def label_statistics(rows: Sequence[Example]) -> Labels:
    """The mean of `chosen_probability` and its share above 0.99, over at least one row."""
    return Labels(
        mean=math.fsum(e.probability for e in rows) / len(rows),
        saturated=sum(e.probability > SATURATED for e in rows) / len(rows),
    )


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
