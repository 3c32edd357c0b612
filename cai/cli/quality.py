"""`cai quality`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, stderr
from cai.cli.options import Config, Json, Set, folder_of, with_settings
from cai.errors import CaiError, GateFailed
from cai.quality.settings import Thresholds, thresholds
from cai.records import KINDS
from cai.settings import GateAction

if TYPE_CHECKING:
    from cai.quality.fix import Fixed
    from cai.quality.records import Quality
    from cai.quality.watch import Watch

SHOWN = 3  # rows of a gate that failed

Gate = Annotated[
    GateAction,
    typer.Option(
        "--gate",
        metavar="none|warn|fail",
        help="What a gate that fails does: nothing, a warning, or exit code 3. [default: warn]",
        show_default=False,
        rich_help_panel="Gates",
    ),
]


@with_settings(Thresholds)
def quality(
    given: dict[str, Any],
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="A run folder, a .jsonl, .csv, .tsv or .parquet file, or hf:owner/name; rows with "
            "prompt and response or completion, messages, or chosen and rejected.",
            show_default=False,
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A set of evaluation prompts, in which no row should stand; may be repeated.",
            rich_help_panel="Input",
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Write the run again without the rows that make its gates fail, into --out.",
            rich_help_panel="Output",
        ),
    ] = False,
    out: Annotated[Path | None, folder_of("Folder of what --fix writes.", "none")] = None,
    gate: Gate = "warn",
    config: Config = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """What the data is like, measured without a model, and whether it is fit to train on.

    Of a run folder, quality.json is written into it. A gate fails where even the low end of a
    figure's interval is above its threshold.
    """
    from cai.runtime.progress import Shown, Watching

    limits = thresholds(given, config, tuple(set_ or ()))
    if fix != (out is not None):
        raise CaiError("--fix and --out go together", f"cai quality {dataset} --fix --out DIR")
    with closing(Shown(stderr)) as progress:
        result, fixed = _measured(dataset, limits, against or (), out, Watching(progress))
    if as_json:
        typer.echo(json.dumps(result.as_data(), indent=2))
    else:
        if fixed is not None:
            _print_fixed(fixed)
        print_quality(result)
    tell_gates(result, gate)


def _measured(
    dataset: str, limits: Thresholds, against: Sequence[str], out: Path | None, watch: Watch
) -> tuple[Quality, Fixed | None]:
    """The quality of a dataset, or of what is left of it in `out`; a run keeps it in its folder."""
    from cai.checks.of_run import as_detail, judge_check
    from cai.quality.fix import fix_run
    from cai.quality.measure import gather, quality_of
    from cai.quality.records import QUALITY, write_quality

    measured = gather(dataset, against, watch)
    result = quality_of(measured, limits, watch=watch)
    if out is not None:
        fixed = fix_run(measured, out, result, limits, against, watch)
        _finish(fixed)
        return fixed.after, fixed
    if (Path(dataset) / "manifest.json").is_file():
        result = result.plus(as_detail(judge_check(Path(dataset))))
        write_quality(result, Path(dataset) / QUALITY)
    return result, None


def tell_gates(result: Quality, gate: GateAction) -> None:
    """Say which gates fail, and end with code 3 where they are to stop what comes after."""
    if gate != "none":
        print_gates(result)
    if gate == "fail" and result.failed:
        raise typer.Exit(GateFailed.code)


def print_quality(result: Quality) -> None:
    """All figures in groups, phrases that recur, what chosen texts share, principles at odds."""
    from rich.table import Table

    from cai.quality.gates import OF_CHOSEN
    from cai.quality.glossary import GROUPS, MEANINGS, in_words, is_of_chosen

    rows = ", ".join(f"{n:,} {dataset}" for dataset, n in result.rows.items())
    console.print(plain(f"{result.data}: {rows}", "bold"))
    shown = {name: f for name, f in result.figures.items() if f.n}
    second = [name for name in shown if name not in MEANINGS and is_of_chosen(name)]
    columns = ["", "value (95 % interval)", *(["chosen texts"] if second else []), "what it is"]
    table = Table(*columns, pad_edge=False)
    for group in GROUPS:
        names = [n for n in shown if n in MEANINGS and MEANINGS[n].group == group]
        if names:
            table.add_section()
            table.add_row(plain(group, "bold"))
        for name in names:
            meaning, other = MEANINGS[name], shown.get(f"{OF_CHOSEN}{name}")
            values = [shown[name], *([other] if second else [])]
            written = ["" if f is None else in_words(f, percent=meaning.percent) for f in values]
            usual = f" ({meaning.usual})" if meaning.usual else ""
            table.add_row(plain(meaning.title), *written, plain(f"{meaning.words}{usual}", "dim"))
    console.print(table)
    for phrase in result.details.get("boilerplate_phrases", ())[:5]:
        console.print(plain(f"In {phrase['prompts']:,} answers: “{phrase['phrase']}”"))
    for line in result.details.get("judge_likes") or result.details.get("chosen_texts", ()):
        console.print(plain(line))
    for principle in result.details.get("principles", ()):
        if principle["odd"]:
            console.print(plain(f"{principle['id']}: {principle['odd']}"))


def print_gates(result: Quality) -> None:
    """The verdict in a line, and each gate that fails with its rows and what to do."""
    failed = result.failed
    _print_unseen(result)
    if not failed:
        words = f"Quality: all {len(result.passed)} gates passed"
        if result.is_small:
            stderr.print(plain(f"{words}, but so few rows say little.", "yellow"))
        else:
            stderr.print(plain(f"{words}.", "green"))
        return
    names = ", ".join(gate.name for gate in failed)
    words = f"Quality: {len(failed)} of {len(result.gates)} gates failed: {names}."
    stderr.print(plain(words, "bold yellow"), soft_wrap=True)
    for gate in failed:
        stderr.print(plain(f"  {gate.name}: {gate.words}"), soft_wrap=True)
        for row in gate.rows[:SHOWN]:
            note = f": {row.note}" if row.note else ""
            stderr.print(plain(f"    {row.id} ({row.dataset}, {row.split}){note}"), soft_wrap=True)
        if gate.count > SHOWN:
            stderr.print(plain(f"    … {gate.count:,} rows", "dim"))
        stderr.print(plain(f"    {gate.advice}", "dim"), soft_wrap=True)


def _print_unseen(result: Quality) -> None:
    """Say which gates had nothing to measure, and which rows and kinds could not be read."""
    bad = result.details.get("bad_rows", ())
    for line in bad[: SHOWN + 1]:
        stderr.print(plain(f"Quality: {line}", "yellow"), soft_wrap=True)
    if result.unmeasured:
        names = ", ".join(gate.name for gate in result.unmeasured)
        stderr.print(plain(f"Quality: nothing to measure for: {names}."), soft_wrap=True)
    kinds = result.details.get("other_kinds")
    if kinds:
        named = ", ".join(f"{n:,} {kind!r}" for kind, n in kinds.items())
        words = f"Kinds that are none of ours count as unknown: {named}. Ours: {', '.join(KINDS)}."
        stderr.print(plain(words, "yellow"), soft_wrap=True)


def _finish(fixed: Fixed) -> None:
    """Write the card and the figures of a run that was fixed."""
    from cai.checks.of_run import as_detail, judge_check
    from cai.config import stored_settings
    from cai.constitution.load import load
    from cai.dataset.run import Run
    from cai.files import replacing
    from cai.publish.card import dataset_card
    from cai.quality.records import QUALITY, write_quality
    from cai.report.page import write_report
    from cai.settings import read_config

    folder = fixed.folder
    settings = stored_settings(read_config(folder / "config.yaml"))
    constitution = load(folder / "constitution.yaml")
    with replacing(folder / "README.md") as file:
        file.write(dataset_card(folder, settings, constitution, Run.load(folder).manifest))
    write_quality(fixed.after.plus(as_detail(judge_check(folder))), folder / QUALITY)
    write_report(folder)


def _print_fixed(fixed: Fixed) -> None:
    for rule, n in fixed.dropped.items():
        console.print(plain(f"{n:,} rows dropped: {rule}"))
    if not fixed.dropped:
        console.print("Nothing had to be dropped.")
    console.print(plain(f"Data: {fixed.folder}; what was dropped: {fixed.record}"), soft_wrap=True)
