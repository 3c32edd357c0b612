"""All measures of a dataset, in a few passes over its rows; memory does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cai.dataset.schema import ANSWERS
from cai.dataset.traces import lines_of, traces
from cai.errors import InputError
from cai.quality.answers import Answers, Marks
from cai.quality.chains import Chains, failures_by_stage
from cai.quality.gates import OF_CHOSEN, gates
from cai.quality.labels_of_run import Labels
from cai.quality.phrases import Recurring, Sample
from cai.quality.records import Figure, GateRow, Quality
from cai.quality.repeats import Repeats, repeats
from cai.quality.rows import Data, Item
from cai.quality.settings import Thresholds
from cai.quality.watch import Watch, unwatched


def measure(
    name: str | Path,
    limits: Thresholds | None = None,
    *,
    against: Sequence[str] = (),
    watch: Watch = unwatched,
) -> Quality:
    """What a dataset is like, and which gates it passes.

    Args:
        name: A run folder, a `.jsonl`, `.csv`, `.tsv` or `.parquet` file, or `hf:owner/name`; rows
            have a prompt and an answer, or a chosen and a rejected one.
        limits: The thresholds of the gates.
        against: Files of evaluation prompts that no row should stand in.
        watch: Shows how far it is.

    Raises:
        CaiError: There is no such data, it has no row, or more than 5 % of the rows are bad.
    """
    return quality_of(gather(str(name), against, watch), limits, watch=watch)


def quality_of(
    measured: Measured, limits: Thresholds | None = None, *, watch: Watch = unwatched
) -> Quality:
    """As `measure`, of rows that are counted already."""
    data = measured.data
    figures, details, rows, counts = _of_answers(measured)
    if data.folder is not None:
        _add_run(data.folder, figures, details, watch)
    if data.bad.bad:
        details["bad_rows"] = [data.bad.summary(), *data.bad.lines()]
    if data.other_kinds:
        details["other_kinds"] = dict(data.other_kinds.most_common(20))
    sizes = {dataset: own.rows for dataset, own in measured.answers.items()}
    return Quality(
        data=data.name,
        rows=sizes,
        figures=figures,
        details=details,
        gates=gates(figures, limits or Thresholds(), rows, counts),
    )


class Measured(NamedTuple):
    """The rows of a dataset with what was counted of them.

    Attributes:
        data: The rows.
        answers: The figures of answers by dataset.
        repeats: Near-duplicates, leaks and contamination by dataset.
    """

    data: Data
    answers: dict[str, Answers]
    repeats: dict[str, Repeats]

    def marks(self, item: Item) -> Marks:
        """All that stands out in a row, with notes."""
        own = self.answers[item.dataset].marks(item)
        return own | self.repeats[item.dataset].marks.get(item.number, {})


def gather(name: str, against: Sequence[str] = (), watch: Watch = unwatched) -> Measured:
    """Count what the answers and the repeats of a dataset are like.

    Raises:
        CaiError: As `measure`.
    """
    data = Data(name)
    answers = _answers(data, watch)
    sizes = {dataset: own.rows for dataset, own in answers.items()}
    return Measured(data, answers, repeats(data, sizes, against, watch))


def _answers(data: Data, watch: Watch) -> dict[str, Answers]:
    """The answers of each dataset, read three times: a sample, what recurs in it, and all else."""
    samples: dict[str, Sample] = {}
    for item in watch("reading", data.items()):
        samples.setdefault(item.dataset, Sample()).add(item.prompt_id, item.answer)
    if not samples:
        raise InputError(data.name, "no row with an answer", "cai quality --help says what is read")
    recurring = {dataset: Recurring(sample) for dataset, sample in samples.items()}
    if not all(own.whole for own in recurring.values()):
        for item in watch("looking for phrases", data.items()):
            recurring[item.dataset].count(item.prompt_id, item.answer)
    for own in recurring.values():
        own.finish()
    # A file of our own has the rows of sft first; in one that mixes both, pairs may come first.
    named = [dataset for dataset in ANSWERS if dataset in samples]
    answers = {dataset: Answers(samples[dataset], recurring[dataset]) for dataset in named}
    for item in watch("measuring answers", data.items()):
        answers[item.dataset].add(item)
    return answers


Parts = tuple[dict[str, Figure], dict[str, Any], dict[str, list[GateRow]], Counter[str]]


def _of_answers(measured: Measured) -> Parts:
    """Figures, details, rows by mark and their counts; a second dataset's under `chosen_`."""
    figures: dict[str, Figure] = {}
    details: dict[str, Any] = {"mix": {}}
    rows: dict[str, list[GateRow]] = {}
    counts: Counter[str] = Counter()
    for number, (dataset, own) in enumerate(measured.answers.items()):
        start = OF_CHOSEN if number else ""
        found = measured.repeats[dataset]
        both = {**own.figures(), **found.figures}
        figures |= {f"{start}{key}": figure for key, figure in both.items()}
        figures |= own.pair_figures()
        described = own.details()
        details["mix"][dataset] = described.pop("kinds")
        details |= {f"{start}{key}": value for key, value in described.items()}
        details |= {f"{start}{key}": value for key, value in found.details.items()}
        if dataset == "preferences":
            details["chosen_texts"] = own.chosen_texts
        rows |= {f"{start}{key}": named for key, named in own.named.items()}
        rows |= {f"{start}{key}": named for key, named in found.named.items()}
        counts.update({f"{start}{key}": n for key, n in own.counts.items()})
        counts.update({f"{start}{key}": n for key, n in found.counts.items()})
    return figures, details, rows, counts


def _add_run(
    folder: Path,
    figures: dict[str, Figure],
    details: dict[str, Any],
    watch: Watch,
) -> None:
    """What a run knows besides its rows: chains, labels, failures."""
    chains, labels = Chains(), Labels()
    for _, trace in watch("measuring chains", traces(folder)):
        chains.add(trace)
        labels.add(trace)
    figures |= {k: f for k, f in (chains.figures() | labels.figures()).items() if f.n}
    details |= chains.details() | labels.details()
    details["failures"] = failures_by_stage(lines_of(folder / "failures.jsonl"))
