"""A run's Parquet files → the rows a trainer sees, and a report of every row that it does not."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from cai.engines._chat import fold_system
from cai.errors import CaiError
from cai.records import (
    Message,
    Record,
    assistant,
    canonical_json,
    digest,
    messages_as_data,
)
from cai.sources.bad_rows import Fault
from cai.train.config import DatasetName, TrainSettings
from cai.train.source import Example, Source, read_source

if TYPE_CHECKING:
    from datasets import Dataset

Reason = Literal[
    Fault, "degenerate", "duplicate", "leak", "pair source", "margin", "template", "too long"
]
SATURATED = 0.99  # a label above it is a hard one, whatever the loss

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_SCHEMAS: dict[DatasetName, pa.Schema] = {
    "sft": pa.schema([("prompt", _MESSAGES), ("completion", _MESSAGES)]),
    "preferences": pa.schema(
        [
            ("prompt", _MESSAGES),
            ("chosen", _MESSAGES),
            ("rejected", _MESSAGES),
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


def load_rows(settings: TrainSettings, tokenizer: Any, cache: Path) -> TrainData:
    """The rows that a training run learns from, filtered, mixed and written below `cache`.

    The same data, settings and tokenizer give the same rows in the same order. Rows that are to be
    cut stay whole here: the trainer gets `max_length` and cuts their tokens at the end, so that no
    end token is taught where the text was cut.

    Args:
        settings: Where the data is and what to leave out.
        tokenizer: The tokenizer of the model, with the chat template that it is trained with.
        cache: A folder for the files that the datasets read from.

    Raises:
        CaiError: Data that is missing, damaged or has other columns; too many rows that are too
            long; no row left; or labels without a doubt for a loss that learns from it.
    """
    if not tokenizer.chat_template:
        raise CaiError(
            f"{settings.model}: the model has no chat template",
            "Give the file of one: --chat-template FILE.",
        )
    main = read_source(settings.data, settings.dataset)
    if settings.pair_source != "all" and not any(
        e.pair_source is not None for e in main.train if isinstance(e, Example)
    ):
        raise CaiError(
            f"{settings.data}: no column pair_source, so there are no {settings.pair_source} pairs",
            "Leave pair_source at all.",
        )
    held_out = {e.prompt_key for e in main.test if e.prompt_key is not None}
    ruler = Ruler(tokenizer)
    train = [select(main, settings, ruler, held_out)]
    files = dict(main.files)
    for mix in settings.mixes:
        other = read_source(mix.source, settings.dataset)
        files |= other.files
        seen = {e.content_digest for part in train for e in part.kept}
        wanted = None if mix.weight is None else round(mix.weight * len(train[0].kept))
        train.append(select(other, settings, ruler, held_out, seen, wanted))
    _check_lengths(train, settings)
    kept = [e for part in train for e in part.kept]
    if not train[0].kept:
        lines = [part.counts.line() for part in train]
        raise CaiError("no row is left to train on", "\n".join([*lines, ruler.refusal]).strip())
    _check_labels(kept, settings)
    test = select(main._replace(train=main.test), settings, ruler) if main.test else None
    digests = [rows_digest(kept), rows_digest(test.kept if test else [])]
    report = DataReport(
        sources=tuple(part.counts for part in train),
        test=test.counts if test else None,
        tokens=token_statistics([n for part in train for n in part.lengths]),
        labels=label_statistics(kept) if settings.method == "dpo" else None,
        files=files,
        rows_digest=digest(digests),
        warnings=tuple(_warnings(settings, train, test, ruler)),
    )
    schema = _SCHEMAS[settings.dataset]
    return TrainData(
        _stored(kept, schema, cache / f"train-{digests[0][:16]}.arrow"),
        _stored(test.kept, schema, cache / f"test-{digests[1][:16]}.arrow")
        if test and test.kept
        else None,
        report,
    )


# --- from a source, the rows that stay --------------------------------------------------------


class Selection(NamedTuple):
    """The examples of a source that stay, their lengths in tokens, and what became of the rest."""

    kept: list[Example]
    lengths: list[int]
    counts: Counts
    longest: int
    measured: int


def select(
    source: Source,
    settings: TrainSettings,
    ruler: Ruler,
    held_out: Collection[str] = (),
    seen: Collection[str] = (),
    wanted: int | None = None,
) -> Selection:
    """The train rows of a source after all filters, in file order, or `wanted` drawn ones.

    Args:
        source: Rows as they were read.
        settings: The filters' settings.
        ruler: Measures rows in tokens.
        held_out: Prompts of the test split; no row may have one.
        seen: Contents that other sources have given already.
        wanted: How many rows to take; None takes all.
    """
    parsed = [e for e in source.train if isinstance(e, Example)]
    filters: list[tuple[Reason, Callable[[Sequence[Example]], list[Example]]]] = [
        ("degenerate", without_degenerate),
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
    lengths: list[int] = []
    cut = longest = measured = 0
    for example in rows:
        if wanted is not None and len(kept) >= wanted:
            break
        measured += 1
        folded = ruler.folded(example)
        length = ruler.length(folded)
        if length is None:
            dropped["template"] += 1
            continue
        longest = max(longest, length.total)
        over = length.total > settings.max_length
        if over and (settings.too_long == "drop" or length.prompt >= settings.max_length):
            dropped["too long"] += 1
            continue
        cut += over
        kept.append(folded)
        lengths.append(min(length.total, settings.max_length))
    counts = Counts(
        origin=source.origin,
        read=len(source.train),
        dropped={reason: n for reason, n in dropped.items() if n},
        cut=cut,
        kept=len(kept),
        asked=wanted,
        unused=len(rows) - measured,
    )
    return Selection(kept, lengths, counts, longest, measured)


def without_degenerate(rows: Iterable[Example]) -> list[Example]:
    """Leave out empty answers, pairs of one text, and labels that prefer nothing or no number."""
    return [
        e
        for e in rows
        if all(a.strip() for a in e.answers)
        and len({a.strip() for a in e.answers}) == len(e.answers)
        and 0.5 < e.probability <= 1
    ]


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


# --- lengths ----------------------------------------------------------------------------------


class Length(NamedTuple):
    """Tokens of the prompt, and of the prompt with its answer (of two, the longer)."""

    prompt: int
    total: int


class Ruler:
    """Counts tokens as TRL will: by the chat template, with the end token that it writes."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._takes_system = self._renders_system()
        self.folds = 0  # system texts that were put into a user turn
        self.refusal = ""  # why the template refused the first row that it did
        written = tokenizer.chat_template
        self._control = [
            token.content
            for token in tokenizer.added_tokens_decoder.values()
            if token.special or (token.content in written and token.content.strip())
        ]

    def _renders_system(self) -> bool:
        from jinja2 import TemplateError

        turns = [{"role": "system", "content": "a6f1"}, {"role": "user", "content": "x"}]
        try:
            rendered = self._tokenizer.apply_chat_template(turns, tokenize=False)
        except TemplateError:
            return False
        return "a6f1" in rendered

    def folded(self, example: Example) -> Example:
        """The example as the template takes it: without system turns if that has none."""
        if self._takes_system or all(m.role != "system" for m in example.prompt):
            return example
        self.folds += 1
        turns = fold_system(messages_as_data(example.prompt))
        return example.model_copy(update={"prompt": tuple(Message(**t) for t in turns)})

    def length(self, example: Example) -> Length | None:
        """The lengths of an example; None if the template refuses it or an answer has no token."""
        from jinja2 import TemplateError

        prompt = messages_as_data(example.prompt)
        answers = [messages_as_data([assistant(text)]) for text in example.answers]
        try:
            asked = self._ids(prompt, add_generation_prompt=True)
            whole = [self._ids([*prompt, *answer]) for answer in answers]
        except TemplateError as error:
            self.refusal = self.refusal or f"the chat template refuses a conversation: {error}"
            return None
        # Some templates write the end of a prompt otherwise once an answer follows.
        shared = min(_shared(asked, ids) for ids in whole)
        if min(map(len, whole)) <= shared:
            self.refusal = self.refusal or "the chat template leaves nothing of an answer"
            return None
        return Length(shared, max(map(len, whole)))

    def _ids(self, turns: list[dict[str, str]], **options: Any) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            turns, tokenize=True, return_dict=True, **options
        )["input_ids"]
        return ids

    def control_tokens(self, example: Example) -> set[str]:
        """Names of control tokens that stand in the texts, where they are not text for TRL."""
        texts = [*(m.content for m in example.prompt), *example.answers]
        return {token for token in self._control if any(token in text for text in texts)}


def _shared(some: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their start."""
    pairs = zip(some, others, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(some), len(others)))


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
    settings: TrainSettings, train: Sequence[Selection], test: Selection | None, ruler: Ruler
) -> Iterable[str]:
    kept = [e for part in train for e in part.kept]
    for mix, part in zip(settings.mixes, train[1:], strict=True):
        if part.counts.asked is not None and part.counts.kept < part.counts.asked:
            asked = f"{mix.weight:g} x {len(train[0].kept)} = {part.counts.asked}"
            yield f"{mix.source}: {part.counts.kept} rows, fewer than were asked for ({asked})"
    cut = sum(part.counts.cut for part in train)
    if cut:
        yield f"{cut} of {len(kept)} rows are cut: they do not teach where an answer ends"
    if ruler.refusal:
        yield f"rows were dropped: {ruler.refusal}"
    if ruler.folds:
        yield (
            f"the chat template has no system role: in {ruler.folds} rows the system text stands "
            "at the head of the first user turn"
        )
    found = [tokens for e in kept if (tokens := ruler.control_tokens(e))]
    if found:
        names = ", ".join(sorted(set().union(*found)))
        yield f"{len(found)} rows have control tokens in their texts, read as such: {names}"
    if settings.eval_every is not None and not (test and test.kept):
        yield "there are no test rows, so nothing is evaluated"


# --- writing ----------------------------------------------------------------------------------


def rows_digest(rows: Iterable[Example]) -> str:
    """SHA-256 over what is learnt of each row, in order."""
    total = hashlib.sha256()
    for example in rows:
        total.update(canonical_json(example.data()) + b"\n")
    return total.hexdigest()


def _stored(rows: Sequence[Example], schema: pa.Schema, path: Path) -> Dataset:
    """A dataset that is read from a file which its content names, and which is kept if it is there.

    So what is computed from the rows and cached beside the file stays valid with it.
    """
    from datasets import Dataset

    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        table = pa.Table.from_pylist([e.data() for e in rows], schema=schema)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file, pa.ipc.new_stream(file, schema) as writer:
            writer.write_table(table)
        temporary.replace(path)
    return Dataset.from_file(str(path))
