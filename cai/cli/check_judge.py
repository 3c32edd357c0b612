"""`cai check judge`."""

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
    from cai.checks.results import JudgeResult

PAIRS = (
    "Labelled pairs (`.jsonl`, `.csv`, `.tsv`, `.parquet`, or `hf:owner/name:config`): prompt, "
    "chosen, rejected, or hh-rlhf's two texts"
)
ASKED = ("judge_principles", "cot", "judge_temperature", "judge_max_tokens", "min_label_mass")


@with_settings(Settings, only={"constitution", "model", "judge", "templates", *ASKED, *SERVED})
def judge_check(
    given: dict[str, Any],
    pairs_file: Annotated[Path | None, file_of(PAIRS, "216 shipped pairs")] = None,
    limit: Annotated[int | None, drawn("pairs")] = None,
    out: Annotated[
        Path | None, folder_of("Folder of the result.", "`outputs/judge-check/<judge>`")
    ] = None,
    config: Config = None,
    set_: Set = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
) -> None:
    """Measure a judge on labelled pairs.

    Each pair is judged as in cai generate: several principles, both orders. Its result is kept, and
    only a judge that was found usable filters revisions. Running again goes on where it stopped.
    """
    from cai.checks import judge
    from cai.runtime.progress import Shown

    settings = resolve({**given, "stages": ["preferences"]}, config, tuple(set_ or ()))
    folder = out or judge.default_folder(settings)
    with closing(Shown(stderr)) as progress:
        result = judge.judge_check(
            settings,
            pairs=pairs_file,
            limit=limit,
            out=folder,
            retry_failed=retry_failed,
            progress=progress,
        )
    if as_json:
        print_json(result)
    else:
        _print(result, folder)


def _print(result: JudgeResult, folder: Path) -> None:
    from rich.table import Table

    table = Table(title="Judge check", show_header=False, title_justify="left")
    for name, value in _figures(result).items():
        table.add_row(name, plain(value))
    console.print(table)
    groups = Table("pairs", "n", "unscored", "accuracy", "95 % interval", title_justify="left")
    for name, group in (*result.kinds.items(), *result.difficulties.items()):
        interval = f"{group.interval[0]:.2f}-{group.interval[1]:.2f}" if group.interval else "-"
        groups.add_row(
            plain(name), str(group.pairs), str(group.unscored), _number(group.accuracy), interval
        )
    if groups.row_count:
        console.print(groups)
    style = {"usable": "bold green", "weak": "bold yellow"}.get(result.verdict, "bold red")
    console.print(plain(f"{result.verdict}. ", style) + plain(result.words), soft_wrap=True)
    console.print(plain(f"Result, diagram and pairs: {folder}"), soft_wrap=True)


def _figures(result: JudgeResult) -> dict[str, str]:
    low, high = result.accuracy_interval or (0.0, 1.0)
    rows = {
        "judge": f"{result.model}{', reasoning first' if result.cot else ''}",
        "pairs": f"{result.scored} scored, {result.unscored} not",
        "accuracy": f"{_number(result.accuracy)} (95 % interval {low:.3f} to {high:.3f})",
        "right answer first / second": f"{_number(result.accuracy_right_first)} / "
        f"{_number(result.accuracy_right_second)}",
        "same answer in both orders": _number(result.consistency),
        "first position wins": _number(result.first_position_rate),
        "longer answer wins": _number(result.longer_wins_rate),
        "shorter answer is right": _number(result.shorter_is_right),
        "Brier score": _number(result.brier),
        "calibration error (ECE)": _number(result.ece),
        "label mass, mean / least": f"{result.label_mass['mean']:.3f} / "
        f"{result.label_mass['least']:.3f}",
    }
    if result.unscored_reasons:
        rows["not scored for"] = ", ".join(f"{n} {w}" for w, n in result.unscored_reasons.items())
    if result.calibration is not None:
        c = result.calibration
        rows["temperature"] = (
            f"{c.temperature:.3g} from {c.fitted_on} pairs; on {c.reported_on} others log loss "
            f"{c.nll[0]:.3f} -> {c.nll[1]:.3f}, Brier {c.brier[0]:.3f} -> {c.brier[1]:.3f}"
        )
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
