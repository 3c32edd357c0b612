"""What a run came to, in lines: what changed before it, what it made, why it made nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import typer

from cai.cli.console import console, plain, stderr
from cai.records import JudgeFacts, PairSource

if TYPE_CHECKING:
    from cai.dataset.run import Run
    from cai.generation.plan import Plan


def print_changes(plan: Plan) -> None:
    stderr.print("Changed since the last run into this folder:")
    for name, what in plan.changes.items():
        stderr.print(plain(f"  {name}: {what}"), soft_wrap=True)
    stderr.print(
        f"Reused: {plan.reused:,} calls, {plan.complete:,} of {plan.rows:,} rows whole. "
        f"Made anew: {plan.at_least:,} rows, {plan.at_least:,} to {plan.at_most:,} calls. "
        f"Standing rows that are replaced: {plan.replaced:,}.",
        soft_wrap=True,
    )


def print_summary(run: Run) -> None:
    from rich.table import Table

    manifest = run.manifest
    failed = Counter(f.error for f in run.failures if f.pair is None and f.stage != "assess")
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in failed.most_common())
    table = Table(title="Run", show_header=False, title_justify="left")
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in manifest.prompts["kinds"].items())
    counts = manifest.counts
    outputs = sum(row["output"] for row in manifest.tokens.values())
    now, seconds = (manifest.timings["last"][key] for key in ("tokens_written", "seconds"))
    whole = manifest.timings["seconds"]["generate"]
    rows = {
        "prompts": f"{manifest.prompts['rows']:,} ({kinds}), "
        f"{manifest.prompts['duplicates']:,} duplicates dropped",
        "revised": f"{counts.get('target.revision', 0):,}",
        "unchanged after a look": f"{counts.get('target.unchanged', 0):,}",
        "answered plainly": f"{counts.get('target.response', 0):,}",
        **_looked_at(counts),
        "failed": f"{counts.get('failures', 0):,}{f' ({reasons})' if reasons else ''}",
        **_pair_counts(counts, manifest.judge, judged="judge" in manifest.models),
        "sft rows": f"{counts.get('sft.train', 0):,} train, {counts.get('sft.test', 0):,} test",
        "preference rows": f"{counts.get('preferences.train', 0):,} train, "
        f"{counts.get('preferences.test', 0):,} test",
        "model calls": f"{manifest.calls['made']:,} made, {manifest.calls['reused']:,} reused",
        "tokens written": f"{outputs:,}, of which {now:,} now "
        f"({now / seconds if seconds else 0:,.0f}/s)",
        "tokens in → out": ", ".join(
            f"{role} {n['input']:,} → {n['output']:,}"
            + (f" ({n['cached']:,} cached)" if "cached" in n else "")
            for role, n in manifest.tokens.items()
        ),
        "time": f"{whole:,.1f} s" + (f", {seconds:,.1f} s of it now" if whole > seconds else ""),
        **_cost(manifest.cost),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    if not any(counts.get(f"preferences.{split}") for split in ("train", "test")) and (
        "judge" in manifest.models
    ):
        console.print(plain(f"No preference rows: {run.why_empty('preferences')}"), soft_wrap=True)
    _what_to_do(run)
    console.print(plain(f"Data: {run.folder}"), soft_wrap=True)
    console.print(plain(f"One chain: cai show {run.folder} ID"), soft_wrap=True)
    from cai.report.page import PAGE

    if (run.folder / PAGE).is_file():
        console.print(plain(f"The page of it: {run.folder / PAGE}"), soft_wrap=True)


def _looked_at(counts: Mapping[str, int]) -> dict[str, str]:
    """Lines on what was guided, on verdicts that guess, and on chains that are no SFT row."""
    lines: dict[str, str] = {}
    if counts.get("target.guided"):
        lines["guided by the constitution"] = f"{counts['target.guided']:,}"
    if counts.get("verdicts"):
        unsure = counts.get("verdicts.inconsistent", 0)
        lines["verdicts"] = f"{counts['verdicts']:,}, {unsure:,} not the same in both orders"
    start = "not in sft."
    reasons = [
        f"{n:,} {name.removeprefix(start)}" for name, n in counts.items() if name.startswith(start)
    ]
    if reasons:
        lines["no sft row"] = ", ".join(reasons)
    if counts.get("failures.assessments"):
        lines["not assessed"] = f"{counts['failures.assessments']:,}"
    return lines


def _what_to_do(run: Run) -> None:
    """Where answers that may be harmful were left out for lack of one who may clear them."""
    unclear = run.manifest.counts.get("not in sft.not cleared", 0)
    if unclear:
        critic = run.manifest.names.get("critic", "NAME")
        words = (
            f"{unclear:,} unchanged answers to prompts that may ask for harm are no SFT rows: "
            f"nobody who was measured has cleared them. Measure the critic (cai check critic "
            f"--critic {critic}), or say what the prompts are: --kind helpful, or borderline."
        )
        stderr.print(plain(words), soft_wrap=True)


def _cost(cost: Mapping[str, Any]) -> dict[str, str]:
    if not cost:
        return {}
    per_row = f", {cost['per_row']:,.4g} per row" if cost["per_row"] is not None else ""
    return {"cost": f"{cost['total']:,.4g}{per_row}"}


def _pair_counts(
    counts: Mapping[str, int], judge: Mapping[str, Any], *, judged: bool
) -> dict[str, str]:
    """A line per source of pairs: labelled, and dropped for what reason."""
    lines: dict[str, str] = {}
    for source in get_args(PairSource):
        start = f"pairs.{source}."
        outcomes = {k.removeprefix(start): n for k, n in counts.items() if k.startswith(start)}
        if outcomes:
            words = [f"{outcomes.pop('labelled', 0):,} labelled"]
            words += [f"{n:,} {name}" for name, n in sorted(outcomes.items())]
            lines[f"{source} pairs"] = ", ".join(words)
    if "pairs.no principle" in counts:
        lines["no principle compares"] = f"{counts['pairs.no principle']:,} prompts"
    if lines and judged:
        lines["judge"] = JudgeFacts.model_validate(judge).state
    if "failures.pairs" in counts:
        lines["pairs that failed"] = f"{counts['failures.pairs']:,}"
    worse = counts.get("verified.worse", 0)
    if worse:
        lines["revisions found worse"] = f"{worse:,}, not used"
    return lines


def refuse_nothing(run: Run) -> None:
    """End with code 1 where prompts came to no row of any dataset, and say why."""
    counts = run.manifest.counts
    rows = sum(n for name, n in counts.items() if name.startswith(("sft.", "preferences.")))
    failures = run.failures
    if rows or not (failures or run.manifest.prompts["rows"]):
        return
    stderr.print(plain("No row was made.", "bold red"))
    reasons = Counter((f.stage, f.error, f.message) for f in failures)
    for (stage, error, message), count in reasons.most_common(10):
        stderr.print(plain(f"  {count:,} x {stage}: {error}: {message}"), soft_wrap=True)
    for name, count in counts.items():
        none = name.startswith("pairs.") and not name.endswith(".labelled")
        if none or name.startswith("not in sft."):
            stderr.print(plain(f"  {count:,} x {name.replace('.', ', ')}"))
    if failures:
        again = "What failed is asked again by the same command with --retry-failed."
        stderr.print(plain(again, "dim"), soft_wrap=True)
    raise typer.Exit(1)
