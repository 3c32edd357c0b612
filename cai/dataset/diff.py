"""What changed between two runs: principles, revisions and labels, joined by the prompts' ids.

`before` is run A and `after` is run B. A pair is the same when both of its texts are: only then can
its labels be held against each other. Of run A only digests and numbers stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cai.constitution.change import constitution_change
from cai.constitution.load import load
from cai.constitution.records import Constitution
from cai.dataset.diff_counts import DiffTally, count_batch, mean, trace
from cai.dataset.run import Run
from cai.dataset.run_change import (
    JudgementCounts,
    Presence,
    RevisionCounts,
    RunDiff,
)
from cai.dataset.traces import batches
from cai.setting_keys import EXECUTION_KEYS, FILE_KEYS, PROMPT_KEYS
from cai.settings import read_config


def diff_runs(a: Path, b: Path, show: int = 5) -> RunDiff:
    """What changed from run `a` to run `b`, with the `show` largest changes of either sort.

    Raises:
        CaiError: A folder is no finished run, or a file in it is damaged.
    """
    run_a, run_b = Run.load(a), Run.load(b)
    before, after = (load(run.folder / "constitution.yaml") for run in (run_a, run_b))
    tally = DiffTally(show)
    traces = {row["id"]: (place, trace(row)) for place, rows in batches(run_a) for row in rows}
    for _, rows in batches(run_b):
        count_batch(tally, traces, rows)
    tally.prompts["only_before"] = len(traces) - tally.prompts["both"]
    order = _order(before, after)
    return RunDiff(
        constitution=constitution_change(before, after),
        also_changed=tuple(_also_changed(run_a, run_b)),
        prompts=Presence(**tally.prompts),
        different=tally.different,
        reworded=tally.reworded,
        chains=Presence(**tally.chains),
        revisions=RevisionCounts(**tally.revisions),
        revisions_by_principle={
            name: RevisionCounts(**counts)
            for name, counts in sorted(tally.by_principle.items(), key=order)
        },
        labels={source: tally.label_counts(source) for source in sorted(tally.labels)},
        judgements={
            name: JudgementCounts(**counts, mean_change=mean(tally.judged_changes[name]))
            for name, counts in sorted(tally.judged.items(), key=order)
        },
        largest_label_changes=tuple(tally.largest_labels),
        largest_revision_changes=tuple(tally.largest_revisions),
    )


def _order(
    before: Constitution, after: Constitution
) -> Callable[[tuple[str, object]], tuple[int, str]]:
    """Principles as they stand in the later constitution, then those that were removed."""
    ids = dict.fromkeys(p.id for c in (after, before) for p in c.principles)
    places = {name: number for number, name in enumerate(ids)}
    return lambda item: (places.get(item[0], len(places)), item[0])


def _also_changed(a: Run, b: Run) -> Iterator[str]:
    """Models, words and settings that both runs name and that are not the same."""
    one, other = a.manifest, b.manifest
    yield from (f"model of the {role}" for role in _unequal(one.models, other.models))
    yield from (f"template {name}" for name in _unequal(one.templates, other.templates))
    if _unequal(one.judge, other.judge):
        yield "judge check"
    paths = [run.folder / "config.yaml" for run in (a, b)]
    if all(path.is_file() for path in paths):
        settings = _unequal(*map(read_config, paths))
        yield from (k for k in settings if k not in EXECUTION_KEYS | FILE_KEYS | PROMPT_KEYS)


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in sorted(one.keys() & other.keys()) if one[key] != other[key]]
