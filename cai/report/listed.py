"""The rows of a page, written a block at a time, and the list that they are found by."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from cai.quality.records import Gate
from cai.report.blocks import Blocks, Columns, Sizes, drawn, element, encoded, packed
from cai.report.rows import Item

Marks = Mapping[str, Sequence[tuple[str, str]]]  # by prompt: the gates that name it, with a note


class Known(Protocol):
    """What the list knows of a row, whatever the page is about; `None` numbers come last."""

    @property
    def prompt(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def edit(self) -> float | None: ...
    @property
    def margin(self) -> float | None: ...
    @property
    def surprise(self) -> float | None: ...
    def _asdict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Listing:
    """What is listed, and how.

    Attributes:
        items: All rows, once more at each call.
        facts: What the list knows of a row.
        record: What is shown of a row, as JSON.
        marks: The gates that name a prompt.
        limit: Bytes that the rows may take.
        tell: Called with every row of the first pass.
        names: Facts that are one word of a row.
        lists: Facts that are several.
    """

    items: Callable[[], Iterable[Item]]
    facts: Callable[[Item], Known]
    record: Callable[[Item, Sequence[tuple[str, str]]], dict[str, Any]]
    marks: Marks
    limit: int
    tell: Callable[[Item], None] = lambda item: None
    names: Sequence[str] = ("kind", "split", "outcome")
    lists: Sequence[str] = ("verdicts", "principles", "violations")


@dataclass
class _Index:
    """The columns of the list."""

    columns: Columns
    ids: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    places: list[int | None] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(
        default_factory=lambda: {name: [] for name in ("length", "edit", "margin", "surprise")}
    )

    def add(self, item: Item, known: Known, gates: Sequence[str]) -> None:
        self.ids.append(item.id)
        self.prompts.append(known.prompt)
        self.places.append(item.place)
        self.columns.add({**known._asdict(), "gates": gates or ("none",)})
        self.numbers["length"].append(known.length)
        for name in ("edit", "margin", "surprise"):
            value = getattr(known, name)
            self.numbers[name].append(-1 if value is None else round(1000 * value))


def _index(listing: Listing) -> _Index:
    return _Index(Columns(listing.names, (*listing.lists, "gates")))


def gate_rows(gates: Iterable[Gate]) -> dict[str, list[tuple[str, str]]]:
    """The gates that name a prompt, with what they say of it."""
    by_prompt: dict[str, list[tuple[str, str]]] = {}
    for gate in gates:
        for row in gate.rows:
            by_prompt.setdefault(row.prompt_id, []).append((gate.name, row.note))
    return by_prompt


def write_rows(file: IO[str], listing: Listing) -> dict[str, Any]:
    """Write blocks into a page, and after them the list; what is said of a sample, and counts.

    Memory holds the list and one block. Where the rows take more than the limit, they are read
    again and a sample is written: what failed first, then what gates name, then a draw by hash.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as whole:
        blocks, index = Blocks(whole, listing.limit), _index(listing)
        sizes = Sizes()
        for item in listing.items():
            listing.tell(item)
            marks = listing.marks.get(item.id, ())
            line = encoded(listing.record(item, marks))
            sizes.add(_class(item, marks), len(line))
            _put(item, marks, line, blocks, index, listing)
        blocks.flush()
        total = sum(sizes.rows.values())
        if blocks.rows < total:
            whole.seek(0)
            whole.truncate()
            ratio = blocks.written / max(blocks.raw, 1)
            blocks, index = Blocks(whole, listing.limit), _index(listing)
            _sample(blocks, index, listing, sizes.shares(listing.limit, ratio))
        whole.seek(0)
        shutil.copyfileobj(whole, file, 1 << 20)
    data = {
        "total": total,
        "starts": blocks.starts,
        "ids": index.ids,
        "prompts": index.prompts,
        "places": index.places if any(p is not None for p in index.places) else None,
        "numbers": index.numbers,
        "columns": index.columns.as_data(),
    }
    file.write(element("index", packed(encoded(data))))
    return {"total": total, "written": blocks.rows}


def _class(item: Item, marks: Sequence[tuple[str, str]]) -> str:
    return "failed" if item.failed else "gate" if marks else "rest"


def _put(
    item: Item,
    marks: Sequence[tuple[str, str]],
    line: bytes,
    blocks: Blocks,
    index: _Index,
    listing: Listing,
) -> None:
    if blocks.add(line):
        index.add(item, listing.facts(item), [name for name, _ in marks])


def _sample(blocks: Blocks, index: _Index, listing: Listing, shares: Mapping[str, float]) -> None:
    for item in listing.items():
        marks = listing.marks.get(item.id, ())
        if drawn(item.id, shares[_class(item, marks)]):
            _put(item, marks, encoded(listing.record(item, marks)), blocks, index, listing)
    blocks.flush()
