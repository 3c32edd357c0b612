"""What is learnt of a row, in any of the forms that rows have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cai.dataset.schema import ANSWERS, text_key
from cai.errors import InputError
from cai.records import Message, Record, digest, encodable, messages_as_data
from cai.sources.bad_rows import MAX_BAD_ROWS, BadRows, Fault, RowError
from cai.sources.conversations import CONVERSATIONS, answered, check_answers, last_answered
from cai.sources.files import SourceRow
from cai.sources.wording import a_kind_of, listed
from cai.train.config import DatasetName
from cai.train.data.columns import CALIBRATED, COLUMNS_HINT, PROBABILITY, missing_column

_LABEL_HINT = (
    f"{PROBABILITY} is how sure it is that chosen is better: a number from 0 to 1 (80 per cent "
    "is 0.8), in every row. Without the column every label is sure."
)


class Example(Record):
    """A row to learn from: one answer to imitate, or two of which the first is preferred."""

    id: str
    origin: str
    prompt: tuple[Message, ...]
    answers: tuple[str, ...]
    probability: float = 1.0
    calibrated: bool = False
    pair_source: str | None = None
    prompt_kind: str | None = None

    @property
    def content_digest(self) -> str:
        return digest([messages_as_data(self.prompt), *self.answers])

    @property
    def prompt_key(self) -> str:
        """The turns, so that a change of case, of white space or of the system text is none."""
        turns = [(m.role, text_key(m.content)) for m in self.prompt if m.role != "system"]
        return digest(turns)


class Dropped(NamedTuple):
    """A row that nothing is learnt from: where it is, and why."""

    where: str
    fault: Fault
    prompt_key: str | None = None  # if its prompt can be told: a test row's must not be trained on


def examples(
    rows: Iterable[SourceRow], origin: str, dataset: DatasetName
) -> list[Example | Dropped]:
    """What is learnt of each row, in order.

    Raises:
        InputError: Too many rows are malformed; a label is no probability, or some rows lack one.
    """
    parsed: list[Example | Dropped] = []
    bad, labels = BadRows(), _Probabilities()
    for where, row in rows:
        bad.rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            probability = labels.read(row, where) if dataset == "preferences" else 1.0
            example = _example(row, where, origin, dataset, probability)
            useless = _useless(example, where)
            parsed.append(Dropped(where, useless, example.prompt_key) if useless else example)
        except RowError as error:
            parsed.append(Dropped(where, error.fault))
            if error.malformed:
                bad.add(error)
    bad.check(MAX_BAD_ROWS)
    return parsed


class _Probabilities:
    """Reads `chosen_probability`, which all rows have or none."""

    def __init__(self) -> None:
        self.first: dict[bool, str] = {}  # where the first row with, and without, a label is

    def read(self, row: Mapping[str, Any], where: str) -> float:
        """The label of a row; 1 where no row has one.

        Raises:
            InputError: It is no number from 0 to 1, or only some rows have one.
        """
        value = row.get(PROBABILITY)
        self.first.setdefault(value is not None, where)
        if len(self.first) == 2:
            other = self.first[True]
            message = f"no {PROBABILITY}, and {other} has one"
            raise InputError(self.first[False], message, _LABEL_HINT)
        if value is None:
            return 1.0
        place = f"{where}: {PROBABILITY}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            what = f"{a_kind_of(value)} ({listed([value])})"
            raise InputError(place, f"must be a number, not {what}", _LABEL_HINT)
        if not 0 <= value <= 1:
            raise InputError(place, f"{value:g} is not from 0 to 1", _LABEL_HINT)
        return float(value)


def _example(
    row: Mapping[str, Any], where: str, origin: str, dataset: DatasetName, probability: float
) -> Example:
    turns, answers = _conversation(row, where, dataset)
    names = ("id", "pair_source", "prompt_kind")
    identity, pair_source, kind = (_name(row, key, where) for key in names)
    if not encodable([turns, answers, identity, pair_source, kind]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    return Example(
        id=identity or digest([turns, *answers])[:16],
        origin=origin,
        prompt=tuple(Message.model_validate(turn) for turn in turns),
        answers=tuple(answers),
        probability=probability,
        calibrated=dataset == "preferences" and _calibrated(row, where),
        pair_source=pair_source,
        prompt_kind=kind,
    )


def _calibrated(row: Mapping[str, Any], where: str) -> bool:
    """Whether the label is that of a calibrated judge; a row that does not say so has none."""
    value = row.get(CALIBRATED)
    if value is None or isinstance(value, bool):
        return bool(value)
    message = f"must be true or false, not {a_kind_of(value)} ({listed([value])})"
    hint = "Say of each label whether its judge was calibrated, or give the column another name."
    raise RowError(f"{where}: {CALIBRATED}", "bad field", message, hint)


def _name(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value in (None, ""):
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    hint = "Write a text, or give the column another name."
    message = f"must be text, not {a_kind_of(value)}"
    raise RowError(f"{where}: {key}", "bad field", message, hint)


def _useless(example: Example, where: str) -> Fault | None:
    """Why nothing can be learnt of an example that is well formed, or None."""
    try:
        check_answers(example.answers, where)
    except RowError as error:
        return error.fault
    return "no preference" if example.probability <= 0.5 else None


def _conversation(
    row: Mapping[str, Any], where: str, dataset: DatasetName
) -> tuple[list[dict[str, str]], list[str]]:
    """Prompt and answers of a row; of demonstrations, a conversation may stand for both."""
    if dataset == "sft" and row.get("completion") is None:
        whole = [name for name in CONVERSATIONS if row.get(name) not in (None, "")]
        if whole:
            return last_answered(row[whole[0]], row, f"{where}: {whole[0]}")
    missing = missing_column(list(row), dataset)
    if missing is not None:
        message = f"no column {missing}; there are: {listed(row)}"
        raise RowError(where, "no column", message, COLUMNS_HINT)
    return answered(row, ANSWERS[dataset], where)
