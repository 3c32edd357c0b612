"""A run's Parquet files → the rows a trainer sees, and a report of every row that it does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cai.errors import CaiError
from cai.records import digest
from cai.train.config import TrainSettings
from cai.train.data.arrow import TokenRow, rows_digest, stored
from cai.train.data.examples import Example
from cai.train.data.filters import has_margin, least_margin, with_margin
from cai.train.data.report import SATURATED, DataReport, label_statistics, token_statistics
from cai.train.data.selection import Selection, select
from cai.train.data.source import Source, read_source
from cai.train.encoding import Encoder

if TYPE_CHECKING:
    from datasets import Dataset


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
    _require_pair_source(main, settings)
    train, files = _with_mixes(main, settings, encoder)
    _check_lengths(train, settings)
    examples = [e for part in train for e in part.kept]
    if not train[0].kept:
        raise _nothing_left(train, settings, encoder)
    _check_labels(examples, settings)
    test = select(main._replace(train=main.test), settings, encoder) if main.test else None
    tests = [test] if test else []
    digests = [rows_digest(_rows(train)), rows_digest(_rows(tests))]
    report = DataReport(
        sources=tuple(part.counts for part in train),
        test=test.counts if test else None,
        tokens=token_statistics([row.length for part in train for row in part.encoded]),
        labels=label_statistics(examples, settings.loss) if settings.method == "dpo" else None,
        files=files,
        rows_digest=digest(digests),
        warnings=tuple(_warnings(settings, train, test, encoder)),
    )
    return TrainData(
        stored(_rows(train), settings.dataset, cache / f"train-{digests[0][:16]}.arrow"),
        stored(_rows(tests), settings.dataset, cache / f"test-{digests[1][:16]}.arrow")
        if test and test.kept
        else None,
        report,
    )


def _with_mixes(
    main: Source, settings: TrainSettings, encoder: Encoder
) -> tuple[list[Selection], dict[str, str]]:
    """The train rows of the main data and of each mix, and the digests of all files."""
    held_out = {e.prompt_key for e in main.test if e.prompt_key is not None}
    train = [select(main, settings, encoder, held_out)]
    files = dict(main.files)
    for mix in settings.mixes:
        other = read_source(mix.source, settings.dataset)
        files |= other.files
        seen = {e.content_digest for part in train for e in part.kept}
        count = None if mix.weight is None else round(mix.weight * len(train[0].kept))
        train.append(select(other, settings, encoder, held_out, seen, count))
    return train, files


def _rows(parts: Iterable[Selection]) -> Iterator[TokenRow]:
    return (row for part in parts for row in part.rows())


# --- what stops a training before it begins ---------------------------------------------------


def _require_pair_source(main: Source, settings: TrainSettings) -> None:
    """Refuse to choose pairs by their source where none names one."""
    if settings.pair_source != "all" and not any(
        e.pair_source is not None for e in main.train if isinstance(e, Example)
    ):
        raise CaiError(
            f"{settings.data}: no column pair_source, so there are no {settings.pair_source} pairs",
            "Leave pair_source at all.",
        )


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


def _nothing_left(
    train: Sequence[Selection], settings: TrainSettings, encoder: Encoder
) -> CaiError:
    """Why there is no row; where it is for the margin, with how many a lower one would leave."""
    lines = [part.counts.line() for part in train]
    before = train[0].before_margin
    if settings.method == "dpo" and before and not with_margin(before, settings):
        least = max(least_margin(e, settings) for e in before)
        counts = ", ".join(
            f"{sum(has_margin(e, m) for e in before)} at {m:g}" for m in (0.0, 0.05, 0.1)
        )
        lines.append(
            f"Labels that would be left by min_margin: {counts}. Lower it (--min-margin), make "
            "labels with a better judge (cai check judge), or calibrate it (--judge-calibration)."
        )
        message = f"no label has a margin 2p - 1 of {least:g}, so no row is left to train on"
        return CaiError(message, "\n".join(lines))
    return CaiError("no row is left to train on", "\n".join([*lines, *_refusals(encoder)]))


def _check_labels(examples: Sequence[Example], settings: TrainSettings) -> None:
    """Refuse labels that are all sure of themselves where the loss is to learn from their doubt."""
    soft = settings.method == "dpo" and settings.loss in ("soft", "geometric")
    if soft and all(e.probability > SATURATED for e in examples):
        raise CaiError(
            f"every chosen_probability is above {SATURATED}: the loss {settings.loss} has no doubt "
            "to learn from",
            "Calibrate the judge (cai generate --judge-calibration), or say that the labels are "
            "hard: --loss hard.",
        )


# --- what is warned of ------------------------------------------------------------------------


def _too_few_helpful(examples: Sequence[Example]) -> Iterable[str]:
    """Where rows tell their kind: less than a third of help teaches a model to decline."""
    kinds = [e.prompt_kind for e in examples if e.prompt_kind is not None]
    helpful = kinds.count("helpful")
    if kinds and 3 * helpful < len(kinds):
        yield (
            f"{helpful} of {len(kinds)} rows answer helpful prompts, less than a third: a model "
            "that learns from them may become less helpful. Give cai generate more helpful prompts "
            "(seeds:helpful), or add answers of other data: --mix SOURCE=WEIGHT"
        )


def _warnings(
    settings: TrainSettings, train: Sequence[Selection], test: Selection | None, encoder: Encoder
) -> Iterable[str]:
    examples = [e for part in train for e in part.kept]
    for mix, part in zip(settings.mixes, train[1:], strict=True):
        if part.counts.asked is not None and part.counts.kept < part.counts.asked:
            product = f"{mix.weight:g} x {len(train[0].kept)} = {part.counts.asked}"
            yield f"{mix.source}: {part.counts.kept} rows, fewer than were asked for ({product})"
    if settings.method == "sft":
        yield from _too_few_helpful(examples)
    cut = sum(part.counts.cut for part in train)
    if cut:
        yield f"{cut} of {len(examples)} rows are cut: they do not teach where an answer ends"
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
