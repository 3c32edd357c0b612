"""A run's Parquet files → the rows a trainer sees, and a report of every row that it does not."""

from __future__ import annotations

import hashlib
import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from cai.engines._chat import fold_system
from cai.errors import CaiError, InputError
from cai.records import (
    Message,
    Record,
    assistant,
    canonical_json,
    digest,
    encodable,
    messages_as_data,
    user,
)
from cai.train.config import DatasetName, TrainSettings

if TYPE_CHECKING:
    from datasets import Dataset

Reason = Literal["degenerate", "duplicate", "leak", "pair source", "margin", "template", "too long"]
SATURATED = 0.99  # a label above it is a hard one, whatever the loss

_ANSWERS: dict[DatasetName, tuple[str, ...]] = {
    "sft": ("completion",),
    "preferences": ("chosen", "rejected"),
}
_RUN_COLUMNS: dict[DatasetName, tuple[str, ...]] = {
    "sft": ("id",),
    "preferences": ("id", "chosen_probability", "pair_source"),
}
_EXTRA_COLUMNS = ("id", "chosen_probability", "pair_source")
_COLUMNS_HINT = (
    "sft learns from the columns prompt and completion, or messages; dpo from prompt, chosen and "
    "rejected. A column holds texts, or lists of {role, content}."
)
_AGAIN = "Run the same cai generate command again."
_HUB_HINT = (
    "Write hf:owner/name[@revision][:config][:split]. A gated dataset needs `hf auth login`; "
    "without a network, give the folder of a local copy: hf:/path."
)
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


class Example(Record):
    """A row to learn from: one answer to imitate, or two of which the first is preferred."""

    id: str
    origin: str
    prompt: tuple[Message, ...]
    answers: tuple[str, ...]
    probability: float = 1.0
    pair_source: str | None = None

    @property
    def content_digest(self) -> str:
        return digest([messages_as_data(self.prompt), *self.answers])

    @property
    def prompt_key(self) -> str:
        """The turns, so that a change of case, of white space or of the system text is none."""
        turns = [(m.role, _normalised(m.content)) for m in self.prompt if m.role != "system"]
        return digest(turns)

    def data(self) -> dict[str, Any]:
        """The columns that TRL reads."""
        names = _ANSWERS["sft" if len(self.answers) == 1 else "preferences"]
        row: dict[str, Any] = {"prompt": messages_as_data(self.prompt)}
        for name, answer in zip(names, self.answers, strict=True):
            row[name] = messages_as_data([assistant(answer)])
        return row if len(names) == 1 else {**row, "chosen_probability": self.probability}


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


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
    if settings.pair_source != "all" and not any("pair_source" in row for row in main.train):
        raise CaiError(
            f"{settings.data}: no column pair_source, so there are no {settings.pair_source} pairs",
            "Leave pair_source at all.",
        )
    held_out = {e.prompt_key for e in examples(main.test, main.origin) if e is not None}
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
    parsed = [e for e in examples(source.train, source.origin) if e is not None]
    filters: list[tuple[Reason, Callable[[Sequence[Example]], list[Example]]]] = [
        ("degenerate", without_degenerate),
        ("duplicate", lambda rows: without_duplicates(rows, seen)),
        ("leak", lambda rows: without_leaks(rows, held_out)),
        ("pair source", lambda rows: of_pair_source(rows, settings.pair_source)),
        ("margin", lambda rows: with_margin(rows, settings.min_margin)),
    ]
    dropped: Counter[Reason] = Counter({"degenerate": len(source.train) - len(parsed)})
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


# --- reading ----------------------------------------------------------------------------------


class Source(NamedTuple):
    """Rows as they stand in a file, split by split, and the digests of the files."""

    origin: str
    train: Sequence[Mapping[str, Any]]
    test: Sequence[Mapping[str, Any]]
    files: dict[str, str]


def examples(rows: Iterable[Mapping[str, Any]], origin: str) -> list[Example | None]:
    """A row each; None for one that is no conversation that ends with a user and an answer."""
    return [_example(row, origin) for row in rows]


def _example(row: Mapping[str, Any], origin: str) -> Example | None:
    prompt, answers = _conversation(row)
    if not prompt or prompt[-1].role != "user" or not prompt[-1].content.strip():
        return None
    identity = row.get("id")
    if None in answers or not encodable([messages_as_data(prompt), answers, identity]):
        return None
    p = row.get("chosen_probability", 1.0)
    number = isinstance(p, int | float) and not isinstance(p, bool)
    texts = tuple(a for a in answers if a is not None)
    pair_source = row.get("pair_source")
    return Example(
        id=digest([messages_as_data(prompt), *texts])[:16] if identity is None else str(identity),
        origin=origin,
        prompt=prompt,
        answers=texts,
        probability=float(p) if number else math.nan,
        pair_source=None if pair_source is None else str(pair_source),
    )


def _conversation(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], list[str | None]]:
    """Prompt and answers of a row; `messages` are split before the last."""
    if "chosen" not in row and "completion" not in row:
        turns = _turns(row["messages"])
        return turns[:-1], [_answer(row["messages"], turns[:-1])]
    prompt = _turns(row["prompt"])
    names = _ANSWERS["preferences" if "chosen" in row else "sft"]
    return prompt, [_answer(row[name], prompt) for name in names]


def _turns(value: Any) -> tuple[Message, ...]:
    """A text as a user's turn, or a list of turns; nothing if it is neither."""
    if isinstance(value, str):
        return (user(value),)
    try:
        return tuple(Message(role=turn["role"], content=turn["content"]) for turn in value)
    except (TypeError, KeyError, ValidationError):
        return ()


def _answer(value: Any, prompt: tuple[Message, ...]) -> str | None:
    """The answer's text, which may stand alone, as a turn, or at the end of the conversation."""
    if isinstance(value, str):
        return value
    turns = _turns(value)
    if not turns or turns[-1].role != "assistant" or turns[:-1] not in ((), prompt):
        return None
    return turns[-1].content


def read_source(name: str, dataset: DatasetName) -> Source:
    """The rows of a run folder, of a file (all of them train) or of a dataset on the Hub.

    Raises:
        CaiError: There is no such data, it is damaged, or its columns are others.
    """
    if name.startswith("hf:"):
        return _from_hub(name, dataset)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_run(path, name, dataset)
    if not path.is_file():
        raise InputError(name, "no such run or file", "Check the path; on the Hub: hf:owner/name.")
    if path.suffix == ".parquet":
        rows = _parquet(path, dataset)
    elif path.suffix in (".jsonl", ".ndjson"):
        rows = _jsonl(path, dataset)
    else:
        raise InputError(name, "unknown kind of file", "Give a run folder, .parquet or .jsonl.")
    return Source(name, rows, [], {name: _sha256(path)})


def _from_run(folder: Path, name: str, dataset: DatasetName) -> Source:
    kinds = ("sft", "preferences", "traces")
    finished = (folder / "manifest.json").is_file()
    if (folder / "calls.sqlite").is_file() and not finished:
        raise CaiError(f"{name}: this run has not come to its end", _AGAIN)
    if not finished and not any((folder / kind).is_dir() for kind in kinds):
        raise CaiError(f"{name}: not a run folder", "Give the folder that cai generate wrote.")
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    files = {}
    for split, rows in splits.items():
        path = folder / dataset / f"{split}.parquet"
        if path.is_file():
            rows += _parquet(path, dataset, _RUN_COLUMNS[dataset])
            files[str(Path(name) / dataset / path.name)] = _sha256(path)
    if not splits["train"]:
        if splits["test"]:
            message, hint = "has test rows only", "Generate from more prompts."
        else:
            message = "is empty or was not made"
            hint = f"See {folder / 'failures.jsonl'}, and stages in {folder / 'config.yaml'}."
        raise CaiError(f"{name}: the {dataset} dataset {message}", hint)
    return Source(name, splits["train"], splits["test"], files)


def _parquet(path: Path, dataset: DatasetName, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            columns = needed_columns(file.schema_arrow, str(path), dataset, more)
            rows: list[dict[str, Any]] = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"not Parquet that can be read: {_first_line(error)}"
        raise InputError(str(path), message, f"It may be cut or damaged. {_AGAIN}") from None
    return rows


def _jsonl(path: Path, dataset: DatasetName) -> list[dict[str, Any]]:
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                hint = "Write one JSON object a line, in UTF-8."
                raise InputError(where, f"not JSON: {_first_line(error)}", hint) from None
            if not isinstance(row, dict):
                raise InputError(where, "no JSON object", _COLUMNS_HINT)
            rows.append({name: row[name] for name in _present(list(row), where, dataset)})
    return rows


def _from_hub(name: str, dataset: DatasetName) -> Source:
    repository, _, rest = name.removeprefix("hf:").partition(":")
    config, _, asked = rest.partition(":")
    revision = ""
    if not Path(repository).is_dir():
        repository, _, revision = repository.partition("@")
    splits = _hub_splits(name, repository, revision or None, config, dataset)
    if (asked or "train") not in splits:
        there = ", ".join(splits)
        raise CaiError(f"{name}: no split {asked or 'train'}; there are: {there}", _HUB_HINT)
    found: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    files = {}
    for split in [asked] if asked else [split for split in found if split in splits]:
        data = splits[split]
        where = f"{name} {split}"
        columns = needed_columns(data.features.arrow_schema, where, dataset)
        rows = data.select_columns(columns).to_list()
        found["train" if asked else split] = rows
        files[where] = digest(rows)
    return Source(name, found["train"], found["test"], files)


def _hub_splits(
    name: str, repository: str, revision: str | None, config: str, dataset: DatasetName
) -> Mapping[str, Any]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its client

    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    known = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError, HTTPError)
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if not config and dataset in datasets.get_dataset_config_names(
            repository, revision=revision
        ):
            config = dataset
        loaded: Mapping[str, Any] = datasets.load_dataset(
            repository, config or None, revision=revision
        )
    except known as error:
        raise CaiError(f"{name}: {_first_line(error)}", _HUB_HINT) from error
    finally:
        if bars:
            datasets.enable_progress_bars()
    return loaded


def needed_columns(
    schema: pa.Schema, where: str, dataset: DatasetName, more: Sequence[str] = ()
) -> list[str]:
    """The columns to read.

    Raises:
        InputError: One is missing or holds something else.
    """
    names = _present(schema.names, where, dataset, more)
    for name in names:
        kind = schema.field(name).type
        if name == "chosen_probability":
            right, wanted = pa.types.is_floating(kind) or pa.types.is_integer(kind), "numbers"
        elif name in ("id", "pair_source"):
            right, wanted = _is_text(kind) or pa.types.is_integer(kind), "texts"
        else:
            right, wanted = _holds_turns(kind), "texts or lists of {role, content}"
        if not right:
            raise InputError(where, f"column {name} holds {kind}, not {wanted}", _COLUMNS_HINT)
    return names


def _holds_turns(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        fields = {field.name: field.type for field in kind.value_type}
        return all(_is_text(fields.get(name)) for name in ("role", "content"))
    return _is_text(kind)


def _is_text(kind: pa.DataType | None) -> bool:
    return kind in (pa.string(), pa.large_string())


def _present(
    columns: Sequence[str], where: str, dataset: DatasetName, more: Sequence[str] = ()
) -> list[str]:
    """The columns of those that are there which are read."""
    wanted = ["prompt", *_ANSWERS[dataset]]
    if dataset == "sft" and "completion" not in columns and "messages" in columns:
        wanted = ["messages"]
    missing = [name for name in (*wanted, *more) if name not in columns]
    if missing:
        there = ", ".join(columns)
        raise InputError(where, f"no column {missing[0]}; there are: {there}", _COLUMNS_HINT)
    return wanted + [name for name in _EXTRA_COLUMNS if name in columns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
