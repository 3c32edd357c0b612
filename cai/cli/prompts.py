"""`cai prompts`: write prompts for a constitution, and check a file of prompts."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli import prompts_check
from cai.cli.console import console, plain, stderr
from cai.cli.help import Verb, Verbs
from cai.cli.options import SERVED, Config, Json, RetryFailed, Set, TokenPrice, with_settings
from cai.config import Settings, resolve

if TYPE_CHECKING:
    from cai.prompting.request import Request
    from cai.prompting.write import Result

app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
ASKED = ("constitution", "model", "critic", "templates", "policy_temperature", "policy_max_tokens")

Count = Annotated[int, typer.Option(metavar="N", min=1, help="Prompts in the file.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The file, `.jsonl`.")]
Domain = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Where the assistant works: 'support chat of a web shop'."),
]
Language = Annotated[
    str | None, typer.Option(metavar="CODE", help="Language of the prompts, as `de`.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="FILE", help="Prompts in whose manner these are written."),
]
Avoid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Prompts that none may be near to, beside the shipped suites; may be repeated.",
    ),
]
Principles = Annotated[
    list[str] | None,
    typer.Option(
        "--principle",
        metavar="ID",
        help="Write for this principle alone; may be repeated. [default: all]",
        show_default=False,
    ),
]
Probe = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Verify the kinds by this model's answers: three to each red-team and borderline "
        "prompt, assessed by the critic.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would take; ask nobody, write nothing.")
]


@app.command("write", cls=Verb)
@with_settings(Settings, only={*ASKED, *SERVED})
def write(
    given: dict[str, Any],
    count: Count = 100,
    out: Out = Path("prompts.jsonl"),
    domain: Domain = None,
    language: Language = None,
    manner: From = None,
    avoid: Avoid = None,
    principles: Principles = None,
    probe: Probe = None,
    price: TokenPrice = None,
    dry_run: DryRun = False,
    config: Config = None,
    set_: Set = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
) -> None:
    """A model lists situations for each principle, and writes prompts in them.

    There are three kinds: red-team, a borderline twin of each, and helpful. What is no prompt is
    drawn again, and counted. The same command again goes on; with a greater --count the lines that
    are there stay.
    """
    from cai.prompting.request import request_of
    from cai.prompting.write import write_prompts
    from cai.runtime.progress import Shown

    settings = resolve({"policy_temperature": 1.0, **given}, config, tuple(set_ or ()))
    request = request_of(
        settings,
        count=count,
        out=out,
        domain=domain,
        language=language,
        manner=manner,
        avoid=tuple(avoid or ()),
        principles=tuple(principles or ()),
    )
    if dry_run:
        _print_estimate(request, price, probe)
        return
    with closing(Shown(stderr)) as progress:
        result = write_prompts(request, progress=progress, retry_failed=retry_failed, probe=probe)
    if as_json:
        typer.echo(json.dumps(_summary(result), indent=2, ensure_ascii=False))
    else:
        _print(result)
    missing = result.request.count - len(result.in_file)
    if missing > 0:
        words = f"{len(result.in_file):,} of {result.request.count:,} prompts: "
        harmful = len(result.verified.harmful) if result.verified is not None else 0
        why = [f"{harmful:,} are harmful and left out"] if harmful else []
        why += ["the writer has no others"] if missing > harmful else []
        stderr.print(plain(words + ", and ".join(why), "bold yellow"), soft_wrap=True)


def _print_estimate(request: Request, price: str | None, probe: str | None) -> None:
    from cai.prompting.records import TRIES
    from cai.prompting.write import estimate, probed
    from cai.runtime.price import Price

    found = estimate(request)
    least, most = found.calls
    console.print(plain(f"calls: {least:,} to {most:,}, if all is drawn {TRIES} times"))
    if request.calls.exists():
        words = f"those that are in {request.calls} are not made again"
        console.print(plain(words), soft_wrap=True)
    if probe is not None:
        answers, assessments = probed(request)
        words = f"--probe: about {answers:,} answers, and {assessments:,} questions to the critic"
        console.print(plain(f"{words}, beside these"), soft_wrap=True)
    read, written = found.read, found.written
    words = (
        f"about {read[0]:,} to {read[1]:,} tokens read, {written[0]:,} to {written[1]:,} written"
    )
    console.print(plain(words), soft_wrap=True)
    if price is not None:
        cost = Price.of_tokens(price)
        sums = [cost.of(r, w, 0.0) for r, w in zip(read, written, strict=True)]
        console.print(plain(f"cost: {sums[0]:,.4g} to {sums[1]:,.4g}"))


def _summary(result: Result) -> dict[str, Any]:
    outcome = result.outcome
    return {
        "file": str(result.request.out),
        "prompts": result.lines,
        "asked": result.request.count,
        "writer": result.writer,
        "principles": dict(result.by_principle),
        "refused": dict(outcome.refused.most_common()),
        "mended": dict(outcome.mended.most_common()),
        "saturated": dict(outcome.saturated.most_common()),
        "left": outcome.left,
        **_verification(result),
    }


def _verification(result: Result) -> dict[str, Any]:
    found = result.verified
    if found is None:
        return {}
    counts = {"easy": len(found.easy), "harmful": len(found.harmful)}
    counts["undecided"] = found.undecided
    return {"verified": {"prompts": found.verified, **counts, "told": found.told}}


def _print(result: Result) -> None:
    from rich.table import Table

    from cai.prompting.records import KINDS

    table = Table("principle", *KINDS, title_justify="left")
    for name, counts in result.by_principle:
        table.add_row(plain(name), *(f"{n:,}" for n in counts))
    console.print(table)
    outcome = result.outcome
    tallies: dict[str, dict[str, int]] = {
        "no prompt, and drawn again": dict(outcome.refused.most_common()),
        "taken off": dict(outcome.mended.most_common()),
        "situations that brought nothing new (saturated)": dict(outcome.saturated.most_common()),
    }
    for words, tally in tallies.items():
        if tally:
            listed = ", ".join(f"{n:,} {name}" for name, n in tally.items())
            console.print(plain(f"{words}: {listed}"), soft_wrap=True)
    for name, why in outcome.left.items():
        console.print(plain(f"{name}: no more prompts, as {why}", "yellow"), soft_wrap=True)
    if (verified := result.verified) is not None:
        words = f"verified: {verified.verified:,} prompts; {len(verified.easy):,} are easy"
        words += f", {len(verified.harmful):,} borderline ones are harmful and left out"
        if verified.undecided:
            words += f"; of {verified.undecided:,} others nobody could say it"
        console.print(plain(words), soft_wrap=True)
        if verified.told:
            console.print(plain(verified.told, "yellow"), soft_wrap=True)
    console.print(plain(f"{result.lines:,} prompts in {result.request.out}"), soft_wrap=True)


app.command("check", cls=Verb)(prompts_check.check)
