"""`cai constitution`: check a constitution, look at one, see what an edit changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from cai.constitution.change import ConstitutionChange
    from cai.constitution.lint import Finding
    from cai.constitution.records import Case, Constitution, Principle
    from cai.dataset.run_change import LabelChange, RevisionChange, RunDiff

SHOWN = 300  # characters of a text among the largest changes

app = typer.Typer(
    help="Check a constitution, look at one, or see what an edit of it changed.",
    no_args_is_help=True,
)

File = Annotated[
    str, typer.Argument(help="A YAML file, or the name of a shipped one: default.yaml.")
]


@app.command()
def lint(
    file: File,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag that your prompts carry; may be repeated.")
    ] = None,
) -> None:
    """Look for what is legal but likely to make worse data; exit 1 on errors."""
    import json

    from cai.cli.console import console
    from cai.constitution.lint import lint as find
    from cai.constitution.lint import seed_tags
    from cai.constitution.load import load
    from cai.files import find_constitution

    constitution = load(find_constitution(file))
    findings = find(constitution, {*seed_tags(), *(tag or ())})
    if as_json:
        data = {
            "name": constitution.name,
            "digest": constitution.digest,
            "findings": [f.model_dump() for f in findings],
        }
        typer.echo(json.dumps(data, indent=2))
    else:
        console.print(_findings(constitution, findings))
    failing = ("error", "warning") if strict else ("error",)
    if any(f.severity in failing for f in findings):
        raise typer.Exit(1)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="Principles of LangChain or llm-swarm, or a list of sentences.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The constitution to write. [default: print it]")
    ] = None,
) -> None:
    """Turn another tool's principles, or a list of rules, into a constitution.

    Read are: principles of LangChain (critique_request, revision_request) as YAML or JSON, those of
    llm-swarm (critic, revision) as JSON, and a list of sentences as YAML or JSON or in a .txt file,
    one a line.
    """
    from cai.cli.console import console, plain, stderr
    from cai.constitution.formats import import_constitution
    from cai.errors import CaiError

    imported = import_constitution(file)
    for note in imported.notes:
        stderr.print(plain(note), soft_wrap=True)
    if out is None:
        typer.echo(imported.text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as target:
            target.write(imported.text)
    except FileExistsError:
        raise CaiError(f"{out}: is there already", "Choose another --out.") from None
    except OSError as error:
        raise CaiError(f"{out}: {error.strerror}", "Choose another --out.") from None
    console.print(plain(f"{out}: {imported.principles} principles"), soft_wrap=True)
    console.print(plain(f"Look at it: cai constitution lint {out}"), soft_wrap=True)


@app.command()
def show(
    file: File,
    principle: Annotated[
        str | None, typer.Argument(help="The id of a principle, to see it in full.")
    ] = None,
) -> None:
    """Show the principles and how often each is drawn, or one principle in full."""
    from cai.cli.console import console
    from cai.constitution.load import load
    from cai.files import find_constitution

    constitution = load(find_constitution(file))
    console.print(
        _overview(constitution)
        if principle is None
        else _in_full(_principle(constitution, principle))
    )


@app.command()
def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The run folder before.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The run folder after.")],
    largest: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="Print the N largest changes.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which labels and revisions changed between two runs, per principle."""
    import json

    from cai.cli.console import console
    from cai.dataset.diff import diff_runs

    found = diff_runs(run_a, run_b, largest)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    for part in _diff(found):
        console.print(part)


def _principle(constitution: Constitution, name: str) -> Principle:
    import difflib

    from cai.errors import CaiError

    ids = [p.id for p in constitution.principles]
    if name in ids:
        return constitution.principle(name)
    near = difflib.get_close_matches(name, ids, 1)
    hint = f"Did you mean {near[0]}?" if near else f"The ids are: {', '.join(ids)}."
    raise CaiError(f"{name}: no principle of {constitution.name} has this id", hint)


def _findings(constitution: Constitution, findings: list[Finding]) -> RenderableType:
    from rich.console import Group

    from cai.cli.console import plain
    from cai.constitution.lint import SEVERITIES

    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    counts = [(s, sum(f.severity == s for f in findings)) for s in SEVERITIES]
    summary = ", ".join(f"{n} {s}{'' if n == 1 else 's'}" for s, n in counts)
    return Group(
        *(
            _line(f.severity, f"{f.principle}: {f.message}" if f.principle else f.message, styles)
            for f in findings
        ),
        plain(f"{constitution.name}: {len(constitution.principles)} principles, {summary}"),
    )


def _line(head: str, text: str, styles: dict[str, str]) -> Text:
    from cai.cli.console import plain

    return plain(f"{head:<8} ", styles.get(head, "bold")).append_text(plain(text))


def _overview(constitution: Constitution) -> RenderableType:
    from rich.console import Group
    from rich.table import Column, Table

    from cai.cli.console import plain
    from cai.constitution.lint import shares
    from cai.records import KINDS

    revise = {kind: shares(constitution, kind, "revise") for kind in KINDS}
    compare = {kind: shares(constitution, kind, "compare") for kind in KINDS}
    heads = ("id", "stages", "weight", *KINDS)
    table = Table(*(Column(h, no_wrap=True) for h in heads), box=None, padding=(0, 1, 0, 0))
    limited = any(p.applies_to for p in constitution.principles)
    for head in ["for"] * limited + ["tags"]:
        table.add_column(head, overflow="fold")
    for p in constitution.principles:
        draws = [f"{_percent(revise[k], p.id)}/{_percent(compare[k], p.id)}" for k in KINDS]
        limits, tags = [", ".join(p.applies_to)] * limited, ", ".join(p.tags)
        cells = (p.id, _stages(p), f"{p.weight:g}", *draws, *limits, tags)
        table.add_row(*(plain(cell) for cell in cells))
    cases = len(constitution.few_shot)
    return Group(
        plain(constitution.name, "bold"),
        plain(constitution.description or ""),
        plain(f"{len(constitution.principles)} principles, {cases} few-shot cases", "dim"),
        plain(f"digest {constitution.digest}", "dim"),
        table,
        plain("Per kind: % of the draws for revision/comparison, for prompts without tags."),
    )


def _stages(principle: Principle) -> str:
    if not principle.revises:
        return "compare"
    return "revise" if principle.compare is None else "both"


def _percent(shares: dict[str, float], name: str) -> str:
    return f"{100 * shares[name]:.0f}" if name in shares else "–"


def _in_full(principle: Principle) -> RenderableType:
    from rich.console import Group

    from cai.cli.console import plain

    fields = {
        "critique": principle.critique,
        "revise": principle.revise,
        "compare": principle.compare,
        "why": principle.why,
        "weight": f"{principle.weight:g}",
        "applies_to": ", ".join(principle.applies_to),
        "tags": ", ".join(principle.tags),
    }
    parts = [plain(principle.id, "bold"), *_fields(fields)]
    for i, case in enumerate(principle.examples, 1):
        parts += [plain(f"\nexample {i}", "bold"), *_fields(_case(case))]
    return Group(*parts)


def _case(case: Case) -> dict[str, str | None]:
    return {name: getattr(case, name) for name in type(case).model_fields}


def _fields(fields: dict[str, str | None]) -> list[Text]:
    from cai.cli.console import plain

    return [
        plain(f"{name}: ", "cyan").append_text(plain(text)) for name, text in fields.items() if text
    ]


def _diff(found: RunDiff) -> Iterator[RenderableType]:
    from cai.cli.console import plain

    yield from _constitution_change(found.constitution)
    if found.also_changed:
        yield plain(f"The runs also differ in: {', '.join(found.also_changed)}.", "yellow")
    prompts = found.prompts
    counts = f"{prompts.both:,} in both, {prompts.only_before:,} only in A, "
    changed = f"; {found.different:,} of those in both changed" if found.different else ""
    yield plain(f"Prompts: {counts}{prompts.only_after:,} only in B{changed}")
    if found.reworded:
        yield plain(
            f"Prompts whose id stands for other messages in B: {found.reworded:,}", "yellow"
        )
    if not prompts.both:
        yield plain("No prompt is in both runs: there is nothing to compare.", "bold")
    elif found.same_data and found.same_constitution:
        yield plain("Nothing changed: same principles, revisions and labels.", "bold")
    elif not found.different:
        yield plain("No revision and no label changed.", "bold")
    else:
        yield from _revisions(found)
        yield from _labels(found)
        if found.largest_label_changes:
            yield plain("\nLargest changes of labels", "bold")
        for label in found.largest_label_changes:
            yield from _label_change(label)
        if found.largest_revision_changes:
            yield plain("\nLargest changes of revisions", "bold")
        for revision in found.largest_revision_changes:
            yield from _revision_change(revision)


def _constitution_change(change: ConstitutionChange) -> Iterator[Text]:
    from cai.cli.console import plain

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


def _revisions(found: RunDiff) -> Iterator[RenderableType]:
    rows: dict[str, dict[str, float | None]] = {
        name: {
            "rows": c.rows,
            "other principle": c.other_principles,
            "other first answer": c.other_response,
            "other final text": c.other_final,
            "revised → unchanged": c.revision_to_unchanged,
            "unchanged → revised": c.unchanged_to_revision,
        }
        for name, c in (*found.revisions_by_principle.items(), ("(all)", found.revisions))
    }
    if found.revisions.rows:
        yield _table("Revisions, by the principles of their steps", rows)
    yield from _only("Answered", found.chains.only_before, found.chains.only_after)


def _only(what: str, before: int, after: int) -> Iterator[Text]:
    from cai.cli.console import plain

    if before or after:
        yield plain(f"{what} only in A: {before:,}, only in B: {after:,}", "dim")


def _labels(found: RunDiff) -> Iterator[RenderableType]:
    from cai.cli.console import plain

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
        for source, c in found.labels.items()
    }
    measures = next(iter(by_source.values()), {})
    rows = {m: {source: cells[m] for source, cells in by_source.items()} for m in measures}
    if rows:
        yield _table("Labels, by the source of the pair", rows)
    for source, c in found.labels.items():
        for run, other, reasons in (("A", "B", c.only_before), ("B", "A", c.only_after)):
            if reasons:
                why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
                yield plain(f"{source}, labelled only in {run}; in {other}: {why}", "dim")
    yield from _judgements(found)


def _judgements(found: RunDiff) -> Iterator[RenderableType]:
    rows: dict[str, dict[str, float | None]] = {
        name: {
            "asked in both": c.asked_in_both,
            "flipped": c.flips,
            "mean change": c.mean_change,
            "only A": c.only_before,
            "only B": c.only_after,
        }
        for name, c in found.judgements.items()
    }
    if rows:
        yield _table("Judgements of the same pairs, by principle", rows)


def _table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> RenderableType:
    from rich.console import Group
    from rich.table import Column, Table

    from cai.cli.console import plain

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

    from cai.cli.console import plain

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

    from cai.cli.console import plain
    from cai.cli.show import word_diff

    yield Rule(plain(change.prompt_id), align="left")
    yield plain("prompt  ", "bold cyan").append_text(plain(_shortened(change.prompt)))
    yield plain("final text, A to B", "bold cyan")
    yield word_diff(change.final_before, change.final_after)
    answer = "the same" if change.same_response else "another"
    yield plain(f"edit distance {change.edit_distance:.2f} of 1; {answer} first answer")
    yield _principles("revised by", change.principles_before, change.principles_after)


def _principles(word: str, before: tuple[str, ...], after: tuple[str, ...]) -> Text:
    from cai.cli.console import plain

    old, new = (", ".join(names) or "none" for names in (before, after))
    return plain(f"{word}: {new}" if old == new else f"{word}: {old} in A; {new} in B", "dim")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN].rstrip()} …"
