"""`cai check critic`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cai.cli.console import console, plain, print_json, stderr
from cai.cli.options import (
    SERVED,
    Config,
    Json,
    RetryFailed,
    Set,
    drawn,
    file_of,
    folder_of,
    with_settings,
)
from cai.config import Settings, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cai.checks.critic_results import CriticFigures, CriticResult, Part

CASES = (
    "Labelled answers (`.jsonl`, `.csv`, `.tsv`, `.parquet`): prompt, response, principle (its "
    "id), verdict (violates or fine)"
)
ASKED = ("few_shot", "critic_temperature", "critic_max_tokens", "min_label_mass")


@with_settings(Settings, only={"constitution", "model", "critic", "templates", *ASKED, *SERVED})
def critic_check(
    given: dict[str, Any],
    cases: Annotated[Path | None, file_of(CASES, "200 shipped answers")] = None,
    limit: Annotated[int | None, drawn("cases")] = None,
    out: Annotated[
        Path | None, folder_of("Folder of the result.", "`outputs/critic-check/<critic>`")
    ] = None,
    config: Config = None,
    set_: Set = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
) -> None:
    """Measure a critic on labelled answers.

    Of each it gives a verdict after a critique, as in cai generate, and an assessment. The result
    is kept, and only a critic whose assessments were found usable may leave an answer to a red-team
    prompt unchanged. Running again goes on where it stopped.
    """
    from cai.checks import critic
    from cai.runtime.progress import Shown

    settings = resolve(given, config, tuple(set_ or ()))
    folder = out or critic.default_folder(settings)
    with closing(Shown(stderr)) as progress:
        result = critic.critic_check(
            settings,
            cases=cases,
            limit=limit,
            out=folder,
            retry_failed=retry_failed,
            progress=progress,
        )
    if as_json:
        print_json(result)
    else:
        _print(result, folder)


def _print(result: CriticResult, folder: Path) -> None:
    from rich.table import Table

    both = {"assessment": result.assessment, "verdict": result.verdict}
    table = Table("", *both, title=plain(f"Critic check: {result.model}"), title_justify="left")
    columns = [_figures(figures) for figures in both.values()]
    for name in columns[0]:
        table.add_row(name, *(plain(column[name]) for column in columns))
    console.print(table)
    console.print(_by_principle(result.assessment.principles, result.verdict.principles))
    styles = {"usable": "bold green", "weak": "bold yellow"}
    for name, figures in both.items():
        words = f"{name}: {figures.verdict}. "
        console.print(
            plain(words, styles.get(figures.verdict, "bold red")) + plain(figures.words),
            soft_wrap=True,
        )
    console.print(plain(f"Result and cases: {folder}"), soft_wrap=True)


def _figures(figures: CriticFigures) -> dict[str, str]:
    low, high = figures.accuracy_interval or (0.0, 1.0)
    reasons = ", ".join(f"{n} {why}" for why, n in figures.unscored_reasons.items())
    return {
        "cases": f"{figures.scored} scored, {figures.unscored} not"
        + (f" ({reasons})" if reasons else ""),
        "accuracy": f"{_number(figures.accuracy)} ({low:.3f} to {high:.3f})",
        "accuracy on breaches": _number(figures.violates.accuracy),
        "accuracy on what is fine": _number(figures.fine.accuracy),
        "false alarms": _number(figures.false_alarms),
        "breaches called fine": _number(figures.missed),
        "same answer in both orders": _number(figures.consistency),
        "label mass, mean / least": f"{figures.label_mass['mean']:.3f} / "
        f"{figures.label_mass['least']:.3f}",
    }


def _by_principle(assessed: Mapping[str, Part], verdicts: Mapping[str, Part]) -> Any:
    from rich.table import Table

    table = Table("principle", "n", "accuracy: assessment", "verdict", title_justify="left")
    for name in sorted({**assessed, **verdicts}):
        parts = (assessed.get(name), verdicts.get(name))
        count = max(part.cases for part in parts if part is not None)
        cells = ("-" if part is None else _number(part.accuracy) for part in parts)
        table.add_row(plain(name), str(count), *cells)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
