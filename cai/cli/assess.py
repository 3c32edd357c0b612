"""`cai assess`: which principles answers break."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, stderr
from cai.cli.options import SERVED, Config, Json, RetryFailed, Set, folder_of, with_settings
from cai.config import Settings, resolve
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.checks.assessing import Assessed, AssessmentReport
    from cai.sources.answers import AnsweredPrompt

ASKED = ("constitution", "model", "critic", "templates", "min_label_mass")


Dataset = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET",
        help="A run folder, a file (.jsonl, .csv, .tsv, .parquet) with prompt and completion, "
        "response, messages or chosen, or hf:owner/name.",
    ),
]
Text = Annotated[
    str | None, typer.Option(metavar="TEXT", help="One answer.", rich_help_panel="Input")
]
Asked = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The prompt that TEXT answers.", rich_help_panel="Input"),
]
Limit = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="The first N answers.", rich_help_panel="Input"),
]
Out = Annotated[
    Path | None, folder_of("Folder of the result.", "`outputs/assess/<name of the data>`")
]


@with_settings(Settings, only={*ASKED, *SERVED})
def assess(
    given: dict[str, Any],
    dataset: Dataset = None,
    text: Text = None,
    prompt: Asked = None,
    limit: Limit = None,
    out: Out = None,
    config: Config = None,
    set_: Set = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
) -> None:
    """Rules are checked by a program, the other principles by the critic, a yes or no each.

    Measure the critic before you believe it: cai check critic. Running again goes on where it
    stopped.
    """
    from cai.checks.assessing import assess_answers
    from cai.runtime.progress import Shown

    settings = resolve(given, config, tuple(set_ or ()))
    rows = _rows(dataset, text, prompt, limit)
    name = Path(dataset.removeprefix("hf:")).name if dataset else "text"
    with closing(Shown(stderr)) as progress:
        report, assessed = assess_answers(
            rows,
            settings,
            out=out or Path("outputs") / "assess" / name,
            retry_failed=retry_failed,
            progress=progress,
        )
    if as_json:
        data = report.model_dump(mode="json")
        if text is not None:
            data["assessments"] = [a.model_dump(mode="json") for a in assessed[0].assessments]
        typer.echo(json.dumps(data, indent=2))
    elif text is not None:
        _print_one(assessed[0])
    else:
        _print(report)


def _rows(
    dataset: str | None, text: str | None, prompt: str | None, limit: int | None
) -> list[AnsweredPrompt]:
    from itertools import islice

    from cai.records import Prompt, user
    from cai.sources.answers import AnsweredPrompt, answered_prompts
    from cai.sources.bad_rows import RowError

    if (dataset is None) == (text is None):
        raise CaiError("give either DATASET or --text", "cai assess --text 'An answer.'")
    if text is not None:
        turns = (user(prompt or "(not given)"),)
        asked = Prompt(id="text", messages=turns, kind="unknown")
        return [AnsweredPrompt(where="--text", prompt=asked, answer=text)]
    read = list(islice(answered_prompts(dataset or ""), limit))
    rows = [row for row in read if isinstance(row, AnsweredPrompt)]
    bad = [row for row in read if isinstance(row, RowError)]
    for error in bad[:5]:
        stderr.print(plain(str(error), "yellow"), soft_wrap=True)
    if bad:
        stderr.print(plain(f"{len(bad):,} rows hold no answer and are left out.", "yellow"))
    if not rows:
        raise CaiError(f"{dataset}: no row with an answer", "cai assess --help says what is read.")
    return rows


def _print_one(assessed: Assessed) -> None:
    if assessed.error is not None:
        raise CaiError(assessed.error, "Choose another --critic.")
    for a in assessed.assessments:
        if a.method == "check":
            said = a.finding or "kept"
        else:
            sure = "" if a.consistent else ", the orders disagree"
            said = f"broken with p = {a.p_violates:.2f}{sure}"
        console.print(plain(f"{a.principle_id}: ", "bold") + plain(said), soft_wrap=True)


def _print(report: AssessmentReport) -> None:
    from rich.table import Table

    table = Table("principle", "by", "answers", "break it", "95 % interval", "unsure")
    for row in report.principles:
        table.add_row(
            plain(row.principle),
            row.by,
            f"{row.answers:,}",
            f"{row.violates:,} ({row.share:.1%})",
            f"{row.low:.1%} - {row.high:.1%}",
            f"{row.unsure:,}",
        )
    console.print(table)
    words = f"{report.answers:,} answers, {report.unscored:,} not assessed"
    console.print(plain(f"{report.constitution}: {words}"))
