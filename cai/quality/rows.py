"""The rows of any data as they are measured: a prompt and an answer, or two to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.run import Run
from cai.dataset.schema import ANSWERS, SPLITS
from cai.errors import InputError
from cai.files import JOURNAL
from cai.records import KINDS, Kind, Prompt, encodable
from cai.records.prompt import Message
from cai.sources.answers import ANSWERS as ANSWER_NAMES
from cai.sources.bad_rows import MAX_BAD_ROWS, BadRows, RowError
from cai.sources.conversations import CONVERSATIONS, SYSTEM, answered, check_answers, last_answered
from cai.sources.files import TABLES, SourceRow, file_rows
from cai.sources.hub import hub_rows, hub_spec, hub_splits
from cai.sources.wording import listed

SIDES = ANSWERS["preferences"]
_SHAPE = (
    f"Each row has `prompt` and one of {listed(ANSWER_NAMES)}, `chosen` and `rejected`, or a whole "
    "conversation in `messages`."
)
_HELD_OUT = ("test", "valid", "val", "dev", "eval")  # how the name of a test split begins
_KEYS = ("id", "split", "kind", "prompt_kind", "pair_source", "step", "violations")
_COLUMNS = (*CONVERSATIONS, "prompt", *ANSWER_NAMES, "rejected", *SYSTEM, *_KEYS)


class Item(NamedTuple):
    """A row: what was asked, and the answer that is learnt.

    Attributes:
        dataset: `sft`, or `preferences` where there is a rejected answer.
        split: train or test.
        id: The row's own, else where it stands.
        prompt_id: The same for all rows of one prompt.
        kind: Of the prompt.
        prompt: Its last human turn.
        conversation: All its turns.
        answer: The completion, or the chosen one.
        rejected: The other one of a pair.
        violations: Principles that its answer was found to break.
        number: Where it stands among all rows, from 0.
        extra: A further row of the same prompt: another step of a chain, another pair.
    """

    dataset: str
    split: str
    id: str
    prompt_id: str
    kind: Kind
    prompt: str
    conversation: str
    answer: str
    rejected: str | None
    violations: tuple[str, ...] = ()
    number: int = 0
    extra: bool = False


class Data:
    """A run folder, a file or a dataset on the Hub, which can be read more than once.

    Raises:
        CaiError: There is no such data, or its columns are others.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad = BadRows()
        self.other_kinds: Counter[str] = Counter()
        path = Path(name).expanduser()
        self.folder = path if not name.startswith("hf:") and path.is_dir() else None
        self._files = list(_files(name, path))
        # A run's rows stand in folders of their own; it is measured before it has a manifest.
        inside = (file.parent != self.folder for _, file in self._files)
        self._is_run = self.folder is not None and any(inside)

    def items(self) -> Iterator[Item]:
        """Every row that can be used, those of `sft` first; bad ones are counted in `bad`.

        A kind that is none of ours counts as `unknown`, and in `other_kinds`.

        Raises:
            CaiError: A file cannot be read, or more than 5 % of the rows cannot be used.
        """
        self.bad, self.other_kinds = BadRows(), Counter()
        number = 0
        before: Item | None = None
        for split, rows in self._sources():
            for where, row in rows:
                self.bad.rows += 1
                try:
                    if isinstance(row, RowError):
                        raise row
                    item = _item(row, where, split, is_run=self._is_run)
                except RowError as error:
                    self.bad.add(error)
                    continue
                kind = _kind(row)
                if kind not in (None, "", *KINDS):
                    self.other_kinds[str(kind)] += 1
                yield item._replace(number=number, extra=_is_further(item, before))
                number, before = number + 1, item
        self.bad.check(MAX_BAD_ROWS)

    def _sources(self) -> Iterator[tuple[str, Iterable[SourceRow]]]:
        if not self._files:
            yield from _hub_splits(self.name)
        for split, path in self._files:
            yield split, file_rows(path, _columns)


def _files(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    """The files of a run or of one file, each with its split; none for the Hub's."""
    if name.startswith("hf:"):
        return
    if path.is_file():
        yield "train", path
        return
    if not path.is_dir():
        raise InputError(name, "no such file or folder", "Give a run folder, a file, or hf:NAME.")
    if (path / "manifest.json").is_file():
        Run.load(path).check_files()
    there = [
        (split, path / dataset / f"{split}.parquet") for dataset in ANSWERS for split in SPLITS
    ]
    files: list[tuple[str, Path]] = [entry for entry in there if entry[1].is_file()]
    if not files:
        starts = ("train", "test", "validation")
        named = (file for start in starts for file in sorted(path.glob(f"{start}*")))
        files = [(_split(file.name), file) for file in named if _is_table(file)]
    if not files and (path / JOURNAL).is_file() and not (path / "manifest.json").is_file():
        raise InputError(
            name, "this run has not come to its end", f"See it so far: cai report {name}"
        )
    if not files:
        message = "no rows of sft or preferences, and no train.parquet or train.jsonl"
        raise InputError(name, message, "Give a run folder, a file, or hf:NAME.")
    yield from files


def _is_table(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((*TABLES, ".parquet"))


def _hub_splits(name: str) -> Iterator[tuple[str, Iterable[SourceRow]]]:
    if hub_spec(name).split is not None:
        yield "train", hub_rows(name, _columns)
        return
    splits = hub_splits(name, "sft")
    for split, rows in splits.items():
        where = f"{name} {split}"
        rows = rows.select_columns(_columns(rows.column_names, where))
        placed = ((f"{where}: row {n}", row) for n, row in enumerate(rows, 1))
        yield _split(split), placed


def _split(name: str) -> str:
    """Whether the rows of a split are learnt: what is held out has many names."""
    return "test" if name.lower().startswith(_HELD_OUT) else "train"


def _columns(names: Sequence[str], where: str) -> list[str]:
    if not {*CONVERSATIONS, *ANSWER_NAMES} & set(names):
        raise InputError(where, f"no column of answers; there are: {listed(names)}", _SHAPE)
    return [name for name in names if name in _COLUMNS]


def _is_further(item: Item, before: Item | None) -> bool:
    """Whether a row is another step or pair of the prompt before it, and not a copy of that row."""
    if before is None or not item.extra:
        return False
    same_prompt = (item.dataset, item.prompt_id) == (before.dataset, before.prompt_id)
    return same_prompt and (item.answer, item.rejected) != (before.answer, before.rejected)


def _kind(row: dict[str, Any]) -> Any:
    """What a row says of the kind of its prompt."""
    return row.get("prompt_kind") or row.get("kind")


def _item(row: dict[str, Any], where: str, split: str, *, is_run: bool) -> Item:
    column = next((name for name in ANSWER_NAMES if row.get(name) not in (None, "")), None)
    talk = next((name for name in CONVERSATIONS if row.get(name)), None)
    rejected = None
    if row.get("rejected") is not None:
        turns, (answer, rejected) = answered(row, SIDES, where)
    elif column is not None:
        turns, (answer,) = answered(row, (column,), where)
    elif talk is not None:
        turns, (answer,) = last_answered(row[talk], row, f"{where}: {talk}")
    else:
        raise RowError(where, "no column", "no answer", _SHAPE)
    if not answer.strip() or rejected is not None:
        check_answers([answer] if rejected is None else [answer, rejected], where)
    if not encodable([turns, answer, rejected]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    name = str(row.get("id") or where)
    mark = row.get("pair_source") or row.get("step")
    # An `id` of data made elsewhere may be that of a source, the same in all rows.
    own = name.removesuffix(f"#{mark}") if is_run else ""
    kind, broken = _kind(row), row.get("violations")
    return Item(
        dataset="sft" if rejected is None else "preferences",
        split=_split(row["split"]) if isinstance(row.get("split"), str) else split,
        id=name,
        prompt_id=own or Prompt.id_of(Message.model_validate(turn) for turn in turns),
        kind=kind if kind in KINDS else "unknown",
        prompt=turns[-1]["content"],
        conversation="\n".join(turn["content"] for turn in turns),
        answer=answer,
        rejected=rejected,
        extra=mark is not None or rejected is not None,
        violations=tuple(map(str, broken)) if isinstance(broken, list) else (),
    )
