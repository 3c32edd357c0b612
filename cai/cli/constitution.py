"""`cai constitution`: check a constitution, look at one, see what an edit changed."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli import examples, run_diff
from cai.cli.console import console, plain, stderr
from cai.cli.help import Verb, Verbs
from cai.cli.options import Json
from cai.errors import CaiError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from cai.constitution.lint import Finding
    from cai.constitution.records import Case, Constitution, Principle

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A YAML file, or the name of a shipped one: default.yaml."),
]


@app.command(cls=Verb)
def lint(
    file: File,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    as_json: Json = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="A tag that your prompts carry; may be repeated."),
    ] = None,
) -> None:
    """Look for what is legal but makes worse data; code 1 on errors."""
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


@app.command(cls=Verb)
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the constitution; the file is NAME.yaml.")
    ],
) -> None:
    """Write a commented skeleton to start from."""
    from cai.constitution.skeleton import skeleton

    out = Path(f"{name.removesuffix('.yaml')}.yaml")
    _write_new(out, skeleton(out.stem))
    console.print(plain(f"{out}: one principle in words, one rule"), soft_wrap=True)
    console.print(plain(f"Change the words, then: cai constitution lint {out}"), soft_wrap=True)


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise CaiError(f"{path}: is there already", "Choose another name.") from None
    except OSError as error:
        raise CaiError(f"{path}: {error.strerror}", "Choose another name.") from None


@app.command("import", cls=Verb)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Principles of LangChain or llm-swarm (YAML, JSON), or a list of sentences (also "
            ".txt).",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The constitution to write. [default: print it]"),
    ] = None,
) -> None:
    """Make a constitution of another tool's principles, or of rules.

    Read are: principles of LangChain (critique_request, revision_request) as YAML or JSON, those of
    llm-swarm (critic, revision) as JSON, and a list of sentences as YAML or JSON or in a .txt file,
    one a line.
    """
    from cai.constitution.formats import import_constitution

    imported = import_constitution(file)
    for note in imported.notes:
        stderr.print(plain(note), soft_wrap=True)
    if out is None:
        typer.echo(imported.text, nl=False)
        return
    _write_new(out, imported.text)
    console.print(plain(f"{out}: {imported.principles} principles"), soft_wrap=True)
    console.print(plain(f"Look at it: cai constitution lint {out}"), soft_wrap=True)


@app.command(cls=Verb)
def show(
    file: File,
    principle: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The id of a principle, to see it in full."),
    ] = None,
) -> None:
    """Show how often each principle is drawn, or one in full."""
    from cai.constitution.load import load
    from cai.files import find_constitution

    constitution = load(find_constitution(file))
    console.print(
        _overview(constitution)
        if principle is None
        else _in_full(_principle(constitution, principle))
    )


app.command("diff", cls=Verb)(run_diff.diff)
app.command("test", cls=Verb)(examples.run_examples)


def _principle(constitution: Constitution, name: str) -> Principle:
    ids = [p.id for p in constitution.principles]
    if name in ids:
        return constitution.principle(name)
    near = difflib.get_close_matches(name, ids, 1)
    hint = f"Did you mean {near[0]}?" if near else f"The ids are: {', '.join(ids)}."
    raise CaiError(f"{name}: no principle of {constitution.name} has this id", hint)


def _findings(constitution: Constitution, findings: list[Finding]) -> RenderableType:
    from rich.console import Group

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
    return plain(f"{head:<8} ", styles.get(head, "bold")).append_text(plain(text))


def _overview(constitution: Constitution) -> RenderableType:
    from rich.console import Group
    from rich.table import Column, Table

    from cai.constitution.lint import SHOWN, shares

    revise = {kind: shares(constitution, kind, "revise") for kind in SHOWN}
    compare = {kind: shares(constitution, kind, "compare") for kind in SHOWN}
    ordered = any(p.order > 1 for p in constitution.principles)
    heads = ("id", "stages", *["order"] * ordered, "weight", *SHOWN)
    table = Table(*(Column(h, no_wrap=True) for h in heads), box=None, padding=(0, 1, 0, 0))
    limited = any(p.applies_to for p in constitution.principles)
    for head in ["for"] * limited + ["tags"]:
        table.add_column(head, overflow="fold")
    for p in constitution.principles:
        draws = [f"{_percent(revise[k], p.id)}/{_percent(compare[k], p.id)}" for k in SHOWN]
        limits, order = [", ".join(p.applies_to)] * limited, [str(p.order)] * ordered
        cells = (p.id, _stages(p), *order, f"{p.weight:g}", *draws, *limits, ", ".join(p.tags))
        table.add_row(*(plain(cell) for cell in cells))
    cases, conflicts = len(constitution.few_shot), len(constitution.conflicts)
    counts = f"{len(constitution.principles)} principles, {cases} few-shot cases"
    counts += f", {conflicts} conflicts" if conflicts else ""
    note = "Per kind: % of the draws for revision/comparison, for prompts without tags."
    note += " A prompt of unknown kind meets what a red-team prompt meets."
    if ordered:
        note += " For revision: of the rounds of its order."
    return Group(
        plain(constitution.name, "bold"),
        plain(constitution.description or ""),
        plain(counts, "dim"),
        plain(f"digest {constitution.digest}", "dim"),
        table,
        plain(note),
        *([_rounds(constitution)] if ordered else []),
    )


def _rounds(constitution: Constitution) -> RenderableType:
    """What each round draws from, by kind of prompt."""
    from rich.table import Table

    from cai.constitution.lint import SHOWN, rounds

    by_kind = {kind: rounds(constitution, kind) for kind in SHOWN}
    table = Table("round", *SHOWN, box=None, padding=(0, 1, 0, 0))
    last = max(len(orders) for orders in by_kind.values())
    for number in range(1, last + 1):
        cells = []
        for kind in SHOWN:
            orders = by_kind[kind]
            order, ids = orders[min(number, len(orders)) - 1] if orders else (0, ())
            cells.append(f"order {order} ({len(ids)})" if ids else "–")
        table.add_row(f"{number}{' on' if number == last else ''}", *cells)
    return table


def _stages(principle: Principle) -> str:
    if principle.check is not None:
        return "rule"
    if not principle.revises:
        return "compare"
    return "revise" if principle.compare is None else "both"


def _percent(shares: dict[str, float], name: str) -> str:
    return f"{100 * shares[name]:.0f}" if name in shares else "–"


def _in_full(principle: Principle) -> RenderableType:
    from rich.console import Group

    fields = {
        "critique": principle.critique,
        "revise": principle.revise,
        "compare": principle.compare,
        "violation": principle.violation,
        "check": _check(principle),
        "order": str(principle.order),
        "why": principle.why,
        "weight": f"{principle.weight:g}",
        "applies_to": ", ".join(principle.applies_to),
        "tags": ", ".join(principle.tags),
    }
    parts = [plain(principle.id, "bold"), *_fields(fields)]
    for i, case in enumerate(principle.examples, 1):
        parts += [plain(f"\nexample {i}", "bold"), *_fields(_case(case))]
    return Group(*parts)


def _check(principle: Principle) -> str | None:
    rules = principle.check.model_dump(mode="json") if principle.check else {}
    return ", ".join(f"{name}: {json.dumps(v, ensure_ascii=False)}" for name, v in rules.items())


def _case(case: Case) -> dict[str, str | None]:
    return {name: getattr(case, name) for name in type(case).model_fields}


def _fields(fields: dict[str, str | None]) -> list[Text]:
    return [
        plain(f"{name}: ", "cyan").append_text(plain(text)) for name, text in fields.items() if text
    ]
