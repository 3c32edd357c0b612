"""Rows that are there already: near-duplicates, test rows among train rows, evaluation sets."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cai.quality.answers import Marks, gate_row
from cai.quality.contamination import Contamination
from cai.quality.duplicates import Duplicates, leaks, near_duplicates
from cai.quality.evaluations import evaluation_texts
from cai.quality.records import NAMED, Figure, GateRow, share
from cai.quality.rows import Data
from cai.quality.shingles import Collection, Gathered
from cai.quality.watch import Watch

# Below this a text is a phrase: "I can't help with that" twice is no leak.
LONG = 16  # different runs of five words, those of 20 words
MOST = 40_000_000  # shingles of a collection, 0.3 GB: some 250,000 answers; of more a sample
Numbers = NDArray[np.int64]


class Repeats(NamedTuple):
    """What of a dataset is there already.

    Attributes:
        figures: `near_duplicate_share`, `prompt_duplicate_share`, `leak_share`, and
            `contaminated_share` where there are sets to compare with.
        details: What stands behind them.
        marks: What is the matter with a row, by its number.
        named: The first rows of each mark.
        counts: How many rows have which mark.
    """

    figures: dict[str, Figure]
    details: dict[str, Any]
    marks: Mapping[int, Marks]
    named: dict[str, list[GateRow]]
    counts: dict[str, int]


class _Rows(NamedTuple):
    """The rows of a dataset, one a prompt, as sets of shingles.

    Attributes:
        numbers: Of the rows.
        test: Whether each is in the test split.
        prompts: Shingles of the prompts, all turns of each: "Yes" ends many conversations.
        answers: Shingles of the answers.
    """

    numbers: Numbers
    test: NDArray[np.bool_]
    prompts: Gathered
    answers: Gathered


def repeats(
    data: Data, sizes: Mapping[str, int], against: Sequence[str], watch: Watch
) -> dict[str, Repeats]:
    """What of each dataset is there already.

    Near-duplicates are answers with an earlier one of Jaccard similarity 0.7 or more on runs of
    five words. A test row leaks where its prompt is so near to a train row's, or its answer, if
    that has 20 words. Of several rows of one prompt the first is taken.

    Args:
        data: The rows.
        sizes: How many rows each dataset of it has.
        against: Files of evaluation prompts.
        watch: Shows how far it is.

    Raises:
        CaiError: A file cannot be read.
    """
    stands = _contaminated(data, against, watch)
    found = {}
    for dataset, size in sizes.items():
        marks, figures = stands.get(dataset, {}), {}
        if against:
            figures["contaminated_share"] = share(len(marks), size)
        found[dataset] = _of_dataset(data, dataset, figures, marks, watch)
    return found


def _of_dataset(
    data: Data, dataset: str, figures: dict[str, Figure], marks: dict[int, Marks], watch: Watch
) -> Repeats:
    """What of a dataset is there already, besides what is known of it."""
    rows = _read(data, dataset, watch)
    earlier, again = near_duplicates(rows.answers), near_duplicates(rows.prompts)
    figures |= {
        "near_duplicate_share": share(earlier.total, len(earlier.measured)),
        "prompt_duplicate_share": share(again.total, len(again.measured)),
    }
    partners = {"near_duplicate": _pairs(earlier, rows.numbers)}
    if rows.test.any() and not rows.test.all():
        partners["leak"], partners["leak_train"], measured = _leaks(rows)
        figures["leak_share"] = share(len(partners["leak"]), measured)
    for name, numbers in partners.items():
        for number in numbers:
            marks.setdefault(number, {})[name] = f"{_NOTES[name]} another"
    named = _named(data, marks, partners)
    counts = {name: sum(name in own for own in marks.values()) for name in named}
    details = {
        "near_duplicates": {
            "method": earlier.method,
            "rows": len(earlier.measured),
            "unfinished": earlier.partners.unfinished,
        }
    }
    return Repeats(figures, details, marks, named, counts)


def _contaminated(data: Data, against: Sequence[str], watch: Watch) -> dict[str, dict[int, Marks]]:
    """The rows of each dataset that stand in an evaluation set, each with where and how."""
    marks: dict[str, dict[int, Marks]] = {}
    if not against:
        return marks
    search = Contamination([text for source in against for text in evaluation_texts(source)])
    datasets: list[tuple[int, str]] = []  # the first row of each run of one dataset
    for item in watch("comparing with evaluation sets", data.items()):
        if not datasets or datasets[-1][1] != item.dataset:
            datasets.append((item.number, item.dataset))
        search.add(item.number, [item.prompt, item.conversation, item.answer])
    for one in search.rows():
        place = bisect_right(datasets, one.row, key=lambda entry: entry[0]) - 1
        note = f"{one.where} ({one.how}, in the {_PARTS[one.part]}): {one.shared[:_SHARED]}"
        marks.setdefault(datasets[place][1], {})[one.row] = {"contaminated": note}
    return marks


def _read(data: Data, dataset: str, watch: Watch) -> _Rows:
    numbers, test = array("q"), array("b")
    prompts, answers = Collection(MOST), Collection(MOST)
    for item in watch("looking for repeats", data.items()):
        if item.dataset == dataset and not item.extra:
            numbers.append(item.number)
            test.append(item.split == "test")
            prompts.add(item.conversation)
            answers.add(item.answer)
    flags = np.array(test, bool)
    return _Rows(np.array(numbers, np.int64), flags, prompts.gathered(), answers.gathered())


def _leaks(rows: _Rows) -> tuple[dict[int, int], dict[int, int], int]:
    """Test rows near to a train row, train rows near to a test row, test rows that were looked at.

    Of a sample, the rows in it are looked at.
    """
    found: dict[int, int] = {}
    sources: dict[int, int] = {}
    measured: set[int] = set()
    for texts, least in ((rows.prompts, 1), (rows.answers, LONG)):
        held_out = leaks(texts, rows.test, least=least)
        measured.update(rows.numbers[held_out.measured].tolist())
        found |= _pairs(held_out, rows.numbers)
        if held_out.total:
            sources |= _pairs(leaks(texts, ~rows.test, least=least), rows.numbers)
    return found, sources, len(measured)


def _pairs(duplicates: Duplicates, numbers: Numbers) -> dict[int, int]:
    """Numbers of the measured rows with a partner, each with the partner's."""
    partners = duplicates.partners.rows
    where = duplicates.measured[partners[duplicates.measured] >= 0]
    return {int(numbers[i]): int(numbers[partners[i]]) for i in where}


_PARTS = ("prompt", "conversation", "answer")
_SHARED = 120  # characters of what a row and an evaluation text share
_NOTES = {
    "near_duplicate": "nearly repeats",
    "leak": "is near to the train row",
    "leak_train": "is near to the test row",
}


def _named(
    data: Data, marks: Mapping[int, Marks], partners: Mapping[str, Mapping[int, int]]
) -> dict[str, list[GateRow]]:
    """The first rows of each mark, with the ids of those that they are near to."""
    named: dict[str, list[GateRow]] = {}
    if not marks:
        return named
    first: dict[str, list[int]] = {}
    for number in sorted(marks):
        for name in marks[number]:
            if len(first.setdefault(name, [])) < NAMED:
                first[name].append(number)
    needed = {number for numbers in first.values() for number in numbers}
    near = {name: {n: own[n] for n in first.get(name, ())} for name, own in partners.items()}
    needed |= {number for own in near.values() for number in own.values()}
    items = {item.number: item for item in data.items() if item.number in needed}
    for name, numbers in first.items():
        for number in numbers:
            note = marks[number][name]
            if name in near:
                note = f"{_NOTES[name]} {items[near[name][number]].id}"
            named.setdefault(name, []).append(gate_row(items[number], note))
    return named
