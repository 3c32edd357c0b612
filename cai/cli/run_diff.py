"""`cai constitution diff`: what the edit of a constitution changed, in two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli.console import console, plain, print_json
from cai.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from cai.constitution.change import ConstitutionChange
    from cai.dataset.run_change import LabelChange, RevisionChange, RunDiff

SHOWN = 300  # characters of a text among the largest changes


def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The run folder before.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The run folder after.")],
    largest: Annotated[
        int,
        typer.Option(
            "--show",
            metavar="N",
            min=0,
            show_default=False,
            help="Print the N largest changes. [default: 5]",
        ),
    ] = 5,
    as_json: Json = False,
) -> None:
    """Show what changed between two runs, per principle."""
    from cai.dataset.diff import diff_runs

    changes = diff_runs(run_a, run_b, largest)
    if as_json:
        print_json(changes)
        return
    for part in _diff(changes):
        console.print(part)


def _diff(changes: RunDiff) -> Iterator[RenderableType]:
    yield from _constitution_change(changes.constitution)
    if changes.also_changed:
        yield plain(f"The runs also differ in: {', '.join(changes.also_changed)}.", "yellow")
    prompts = changes.prompts
    counts = f"{prompts.both:,} in both, {prompts.only_before:,} only in A, "
    changed = f"; {changes.different:,} of those in both changed" if changes.different else ""
    yield plain(f"Prompts: {counts}{prompts.only_after:,} only in B{changed}")
    if changes.reworded:
        yield plain(
            f"Prompts whose id stands for other messages in B: {changes.reworded:,}", "yellow"
        )
    if not prompts.both:
        yield plain("No prompt is in both runs: there is nothing to compare.", "bold")
    elif changes.same_data and changes.same_constitution:
        yield plain("Nothing changed: same principles, revisions and labels.", "bold")
    elif not changes.different:
        yield plain("No revision and no label changed.", "bold")
    else:
        yield from _revisions(changes)
        yield from _labels(changes)
        if changes.largest_label_changes:
            yield plain("\nLargest changes of labels", "bold")
        for label in changes.largest_label_changes:
            yield from _label_change(label)
        if changes.largest_revision_changes:
            yield plain("\nLargest changes of revisions", "bold")
        for revision in changes.largest_revision_changes:
            yield from _revision_change(revision)


def _constitution_change(change: ConstitutionChange) -> Iterator[Text]:
    edited = [f"{p.id}: {', '.join(p.fields)}" for p in change.edited]
    for head, names in (
        ("added", change.added),
        ("removed", change.removed),
        ("edited", edited),
        ("other", change.other),
    ):
        for name in names:
            yield plain(f"{head:<8} ", "bold").append_text(plain(name))
    if not (change.added or change.removed or change.edited or change.other):
        yield plain("The constitutions are the same.")


def _revisions(changes: RunDiff) -> Iterator[RenderableType]:
    rows: dict[str, dict[str, float | None]] = {
        name: {
            "rows": c.rows,
            "other principle": c.other_principles,
            "other first answer": c.other_response,
            "other final text": c.other_final,
            "revised → unchanged": c.revision_to_unchanged,
            "unchanged → revised": c.unchanged_to_revision,
        }
        for name, c in (*changes.revisions_by_principle.items(), ("(all)", changes.revisions))
    }
    if changes.revisions.rows:
        yield _table("Revisions, by the principles of their steps", rows)
    yield from _only("Answered", changes.chains.only_before, changes.chains.only_after)


def _only(what: str, before: int, after: int) -> Iterator[Text]:
    if before or after:
        yield plain(f"{what} only in A: {before:,}, only in B: {after:,}", "dim")


def _labels(changes: RunDiff) -> Iterator[RenderableType]:
    by_source: dict[str, dict[str, float | None]] = {
        source: {
            "same pair in both": c.same_pair,
            "  other label": c.changed,
            "  flipped": c.flips,
            "  mean change": c.mean_change,
            "  no preference row any more": c.rows_lost,
            "  new preference row": c.rows_gained,
            "another pair": c.another_pair,
            "labelled only in A": sum(c.only_before.values()),
            "labelled only in B": sum(c.only_after.values()),
            "labelled in neither": c.unlabelled,
        }
        for source, c in changes.labels.items()
    }
    measures = next(iter(by_source.values()), {})
    rows = {m: {source: cells[m] for source, cells in by_source.items()} for m in measures}
    if rows:
        yield _table("Labels, by the source of the pair", rows)
    for source, c in changes.labels.items():
        for run, other, reasons in (("A", "B", c.only_before), ("B", "A", c.only_after)):
            if reasons:
                why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
                yield plain(f"{source}, labelled only in {run}; in {other}: {why}", "dim")
    yield from _judgements(changes)


def _judgements(changes: RunDiff) -> Iterator[RenderableType]:
    rows: dict[str, dict[str, float | None]] = {
        name: {
            "asked in both": c.asked_in_both,
            "flipped": c.flips,
            "mean change": c.mean_change,
            "only A": c.only_before,
            "only B": c.only_after,
        }
        for name, c in changes.judgements.items()
    }
    if rows:
        yield _table("Judgements of the same pairs, by principle", rows)


def _table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> RenderableType:
    from rich.console import Group
    from rich.table import Column, Table

    heads = next(iter(rows.values()))
    columns = (Column("", no_wrap=True), *(Column(head, justify="right") for head in heads))
    table = Table(*columns, box=None, padding=(0, 1, 0, 0))
    for name, cells in rows.items():
        table.add_row(plain(name), *map(_cell, cells.values()))
    return Group(plain(f"\n{title}", "bold"), table)


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _label_change(change: LabelChange) -> Iterator[RenderableType]:
    from rich.rule import Rule

    yield Rule(plain(f"{change.prompt_id}  ({change.source})"), align="left")
    texts = {"prompt": change.prompt, "answer 1": change.response_a, "answer 2": change.response_b}
    for name, text in texts.items():
        yield plain(f"{name}  ", "bold cyan").append_text(plain(_shortened(text)))
    yield plain(
        f"answer 1 is better: {change.p_a_before:.3f} in A, {change.p_a_after:.3f} in B"
        f"{': flipped' if change.flipped else ''}"
    )
    yield _principles("asked", change.principles_before, change.principles_after)


def _revision_change(change: RevisionChange) -> Iterator[RenderableType]:
    from rich.rule import Rule

    from cai.cli.show import word_diff

    yield Rule(plain(change.prompt_id), align="left")
    yield plain("prompt  ", "bold cyan").append_text(plain(_shortened(change.prompt)))
    yield plain("final text, A to B", "bold cyan")
    yield word_diff(change.final_before, change.final_after)
    answer = "the same" if change.same_response else "another"
    yield plain(f"edit distance {change.edit_distance:.2f} of 1; {answer} first answer")
    yield _principles("revised by", change.principles_before, change.principles_after)


def _principles(word: str, before: tuple[str, ...], after: tuple[str, ...]) -> Text:
    old, new = (", ".join(names) or "none" for names in (before, after))
    return plain(f"{word}: {new}" if old == new else f"{word}: {old} in A; {new} in B", "dim")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN].rstrip()} …"
