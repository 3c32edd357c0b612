"""`cai prompts check`: what a file of prompts covers of a constitution."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, stderr
from cai.cli.options import (
    SERVED,
    Config,
    Json,
    RetryFailed,
    Set,
    TokenPrice,
    folder_of,
    with_settings,
)
from cai.config import Settings, resolve
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.prompting.check import PromptCheck

ASKED = ("constitution", "templates", "min_label_mass")

Source = Annotated[
    str,
    typer.Argument(
        metavar="PROMPTS",
        help="A file, a folder, hf:owner/name, or `seeds`.",
        show_default=False,
    ),
]
Critic = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Model that says of each prompt which principles in words it calls for. "
        "[default: none: tags say it]",
        show_default=False,
        rich_help_panel="Models",
    ),
]
Out = Annotated[
    Path | None,
    folder_of("Folder of the critic's calls.", "`outputs/prompts-check/<name of the prompts>`"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what --critic takes; ask nobody.")]


@with_settings(Settings, only={*ASKED, *SERVED})
def check(
    given: dict[str, Any],
    source: Source,
    critic: Critic = None,
    out: Out = None,
    price: TokenPrice = None,
    dry_run: DryRun = False,
    config: Config = None,
    set_: Set = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
) -> None:
    """Say which principles the prompts meet, what they lack, and what stands there twice.

    A prompt meets a principle that it was written for, or whose tag it has; no model is asked. With
    --critic, that model says of each prompt which principles in words it calls for, if cai check
    critic found it usable. Running again goes on where it stopped.
    """
    from cai.constitution.load import load
    from cai.files import find_constitution
    from cai.prompting.check import advice, check_prompts
    from cai.runtime.progress import Shown

    given |= {"critic": critic} if critic is not None else {}
    settings = resolve(given, config, tuple(set_ or ()))
    constitution = load(find_constitution(settings.constitution))
    asks = settings.critic is not None
    if dry_run:
        if not asks:
            raise CaiError("--dry-run: no model is asked without --critic", "Add --critic NAME.")
        _print_estimate(source, settings, price)
        return
    with closing(Shown(stderr)) as progress:
        found = check_prompts(
            source,
            constitution,
            settings=settings if asks else None,
            folder=out,
            progress=progress,
            retry_failed=retry_failed,
        )
    if as_json:
        data = found.model_dump(mode="json")
        data |= {"not_met": found.not_met, "gaps": found.gaps}
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    _print(found)
    if command := advice(found, source, constitution, settings.constitution):
        console.print(plain("To fill the gaps:"))
        console.print(plain(f"  {command}"), soft_wrap=True)


def _print_estimate(source: str, settings: Settings, price: str | None) -> None:
    from cai.constitution.load import load
    from cai.files import find_constitution
    from cai.prompting.assessor import takes
    from cai.prompting.check import read_source
    from cai.runtime.price import Price

    constitution = load(find_constitution(settings.constitution))
    read, _ = read_source(source, constitution)
    calls, tokens = takes([row.prompt for row in read], constitution, settings)
    console.print(plain(f"calls: {calls:,}, two for each prompt and principle in words"))
    console.print(plain(f"about {tokens:,} tokens read; a label each is written"), soft_wrap=True)
    if price is not None:
        console.print(plain(f"cost: about {Price.of_tokens(price).of(tokens, calls, 0.0):,.4g}"))


def _print(found: PromptCheck) -> None:
    console.print(_table(found))
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in found.kinds.items())
    low, middle, high, most = found.lengths
    spoken = ", ".join(f"{n:,} {code}" for code, n in found.languages.items())
    topics = ", ".join(f"{n:,} {topic}" for topic, n in found.topics.items())
    lines = [
        f"{found.prompts:,} prompts: {kinds}; {found.multi_turn:,} of several turns",
        f"words: {low:,} to {most:,}, half have at most {middle:,}, 95 % at most {high:,}",
        f"languages: {spoken}",
        f"topics: {topics or 'none is named'}",
    ]
    if found.unusable:
        lines.append(f"rows that are no prompt: {found.unusable:,}")
    for what, count, ids in (
        ("near an earlier prompt", found.near_duplicates, found.near_duplicate_ids),
        ("near a prompt of the shipped suites", found.in_suites, found.in_suite_ids),
        ("with personal data", found.personal_data, found.personal_data_ids),
        ("meet no principle", found.meet_none, found.meet_none_ids),
    ):
        named = f": {', '.join(ids)}" if ids else ""
        lines.append(f"{what}: {count:,}{named}")
    if found.not_met:
        lines.append(f"met by no prompt: {', '.join(found.not_met)}")
    for line in lines:
        console.print(plain(line), soft_wrap=True)
    _print_assessor(found)


def _table(found: PromptCheck) -> Any:
    """Prompts by principle and kind; where an assessor says so, the tags' count is beside it."""
    from rich.table import Column, Table

    from cai.prompting.records import KINDS

    assessed = found.assessor is not None and bool(found.assessor.usable)
    more = ("unsure", "all by tags") if assessed else ()
    name = Column("principle", overflow="fold")
    table = Table(name, *KINDS, "all", *more, "by", title_justify="left")
    for one in found.principles:
        counts = [*(one.of_kind.get(kind, 0) for kind in KINDS), one.met]
        counts += [one.unsure, sum(one.by_tags.values())] if assessed else []
        table.add_row(plain(one.principle), *(f"{n:,}" for n in counts), plain(one.by))
    return table


def _print_assessor(found: PromptCheck) -> None:
    assessor = found.assessor
    if assessor is None:
        console.print(plain("Tags say what a prompt meets; --critic NAME asks a model."))
    elif assessor.usable is None:
        words = "No principle in words applies to these prompts, so the critic was asked nothing."
        console.print(plain(words), soft_wrap=True)
    elif not assessor.usable:
        words = f"The critic {assessor.name} was not found usable (cai check critic): "
        console.print(
            plain(f"{words}tags alone say what a prompt meets.", "yellow"), soft_wrap=True
        )
    else:
        words = f"The critic {assessor.name} said what each prompt calls for; of rules, tags do."
        console.print(plain(words), soft_wrap=True)
        if assessor.unscored:
            why = ", ".join(f"{n:,} {reason}" for reason, n in assessor.reasons.items())
            words = f"Of {assessor.unscored:,} of {assessor.asked:,} prompts it said nothing: {why}"
            console.print(plain(words, "yellow"), soft_wrap=True)
