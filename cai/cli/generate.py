"""`cai generate`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import confirmed, console, plain, stderr

if TYPE_CHECKING:
    from cai.config import Settings
    from cai.dataset.run import Run
    from cai.generation.plan import Plan
    from cai.method import Method


def generate(
    constitution: Annotated[
        str | None,
        typer.Option(help="Constitution: a YAML file, or a shipped name. [default: default.yaml]"),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Prompts: a .jsonl, .csv, .parquet or .txt file, a folder of them, "
            "hf:owner/name[@revision][:config][:split][:column], or seeds[:kind] (shipped). "
            "[default: seeds]"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model: a Hub name, a folder, http://host:8000/v1#name (a server; replicas by "
            "comma), vllm:NAME (a server started for the run), or scripted:option=value,… "
            "[default: SmolLM2-135M]"
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Server of all models that are given by a name alone, or by none."),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(help="vllm:NAME: servers to start; with --distributed: workers. [default: 1]"),
    ] = None,
    distributed: Annotated[
        str | None,
        typer.Option(help="ray: rows are made by workers on a Ray cluster. [default: none]"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster: HOST:PORT or auto. [default: RAY_ADDRESS, else this machine]"
        ),
    ] = None,
    tensor_parallel: Annotated[
        int | None, typer.Option(help="vllm:NAME: GPUs per server. [default: 1]")
    ] = None,
    vllm_args: Annotated[
        str | None,
        typer.Option(help="vllm:NAME: more flags of its servers, as one text. [default: none]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder. [default: outputs/<name of the constitution>]"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="default; bai2022 (4 revisions, temperature 1, few-shot, always revise, "
            "all steps); direct (revise without critique). [default: default]"
        ),
    ] = None,
    critic: Annotated[
        str | None, typer.Option(help="Model of critiques and verdicts. [default: --model]")
    ] = None,
    reviser: Annotated[
        str | None, typer.Option(help="Model of revisions. [default: --model]")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Model that labels pairs. [default: --model]")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Model of the sampled pairs. [default: --model]")
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            help="What to make, a comma list of sft and preferences. [default: sft,preferences]"
        ),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="Pairs to label: revision (final revision, first answer), sampled (two answers "
            "of the sampler). [default: revision,sampled]"
        ),
    ] = None,
    pair_temperature: Annotated[
        float | None, typer.Option(help="Temperature of sampled pairs. [default: 1.0]")
    ] = None,
    judge_principles: Annotated[
        int | None, typer.Option(help="Principles per comparison. [default: 4]")
    ] = None,
    cot: Annotated[
        bool | None, typer.Option("--cot/--no-cot", help="Let the judge reason before it picks.")
    ] = None,
    min_margin: Annotated[
        float | None,
        typer.Option(help="Least |2p - 1| of a label that becomes a row. [default: 0]"),
    ] = None,
    judge_calibration: Annotated[
        str | None,
        typer.Option(help="result.json of cai judge-check: its temperature is applied to labels."),
    ] = None,
    revisions: Annotated[
        int | None, typer.Option(help="Critique-revision rounds per prompt. [default: 1]")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first N prompts only.")] = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="The column of the input that holds the prompt.")
    ] = None,
    ignore_columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the input that mean something else here, as a comma list: "
            "id,kind,tags. [default: none]"
        ),
    ] = None,
    max_bad_rows: Annotated[
        float | None,
        typer.Option(help="Share of unusable rows of the input that stops it. [default: 0.05]"),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Kind of prompts that name none: red-team, helpful or borderline. "
            "[default: red-team]"
        ),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="i/n: the i-th of n parts; put together by cai merge.")
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="System prompt for prompts that have none.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            help="Date for chat templates that write one, YYYY-MM-DD. "
            "[default: the day of the run's first start]"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw. [default: 0]")] = None,
    templates: Annotated[
        str | None, typer.Option(help="Folder of .jinja files that replace ours by name.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Share of prompts in the test split. [default: 0.05]")
    ] = None,
    max_open_rows: Annotated[
        int | None, typer.Option(help="Rows worked on at once. [default: 1024]")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings; the config.yaml of a run repeats it."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; see the list below."),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="A run folder whose calls are used where they fit; may be repeated."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Make again what failed before.")
    ] = False,
    price: Annotated[
        str | None,
        typer.Option(
            help="What the model costs: IN,OUT per million tokens, or N/h; shown and kept."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; load no model, write nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Replace rows that stand in the folder.")
    ] = False,
) -> None:
    """Answer prompts, criticise and revise the answers by a constitution, label pairs of answers.

    Running again into the same folder goes on where the last run stopped; after an edit of the
    constitution only the calls whose input changed are made.

    Settings for --set: dtype, device, batch_size, request_timeout, concurrency, critique,
    verdict, few_shot, helpful (plain|revise), sft_steps (final|all), policy_temperature,
    critic_temperature, reviser_temperature, judge_temperature, top_p, policy_max_tokens,
    critic_max_tokens, reviser_max_tokens, judge_max_tokens, min_label_mass, and all of the
    above by name.
    """
    from cai.config import comma_list, resolve

    flags: dict[str, Any] = {
        "constitution": constitution,
        "prompts": prompts,
        "model": model,
        "base_url": base_url,
        "replicas": replicas,
        "distributed": distributed,
        "address": address,
        "tensor_parallel": tensor_parallel,
        "vllm_args": vllm_args,
        "preset": preset,
        "critic": critic,
        "reviser": reviser,
        "judge": judge,
        "sampler": sampler,
        "stages": comma_list(stages) if stages is not None else None,
        "pairs": comma_list(pairs) if pairs is not None else None,
        "pair_temperature": pair_temperature,
        "judge_principles": judge_principles,
        "cot": cot,
        "min_margin": min_margin,
        "judge_calibration": judge_calibration,
        "revisions": revisions,
        "limit": limit,
        "prompt_column": prompt_column,
        "ignore_columns": comma_list(ignore_columns) if ignore_columns is not None else None,
        "max_bad_rows": max_bad_rows,
        "kind": kind,
        "shard": shard,
        "system": system,
        "date": date,
        "seed": seed,
        "templates": templates,
        "test_share": test_share,
        "max_open_rows": max_open_rows,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    settings = resolve(given, config, tuple(set_ or ()))
    if dry_run:
        _dry_run(settings, out, reuse or [], retry_failed)
        return
    _run(settings, out, reuse or [], retry_failed, yes, price)


def _run(
    settings: Settings,
    out: Path | None,
    reuse: list[Path],
    retry_failed: bool,
    yes: bool,
    price: str | None,
) -> None:
    from cai.generation.job import generate as run_job
    from cai.runtime.price import Price
    from cai.runtime.progress import Shown

    progress = Shown(stderr, Price.parse(price) if price is not None else None)

    def approve(plan: Plan) -> bool:
        progress.close()
        _print_changes(plan)
        if not plan.needs_consent or yes:
            return True
        return sys.stdin.isatty() and confirmed("Replace them?")

    try:
        run = run_job(
            settings,
            out=out,
            reuse=reuse,
            retry_failed=retry_failed,
            approve=approve,
            progress=progress,
            price=price,
        )
    finally:
        progress.close()
    _print_summary(run)
    _refuse_nothing(run)


def _refuse_nothing(run: Run) -> None:
    """End with code 1 where prompts came to no row of any dataset, and say why."""
    counts = run.manifest.counts
    made = sum(n for name, n in counts.items() if name.startswith(("sft.", "preferences.")))
    failures = run.failures
    if made or not (failures or run.manifest.prompts["rows"]):
        return
    stderr.print(plain("No row was made.", "bold red"))
    reasons = Counter((f.stage, f.error, f.message) for f in failures)
    for (stage, error, message), count in reasons.most_common(10):
        stderr.print(plain(f"  {count:,} x {stage}: {error}: {message}"), soft_wrap=True)
    for name, count in counts.items():
        if name.startswith("pairs.") and not name.endswith(".labelled"):
            stderr.print(plain(f"  {count:,} x {name.replace('.', ', ')}"))
    if failures:
        again = "What failed is asked again by the same command with --retry-failed."
        stderr.print(plain(again, "dim"), soft_wrap=True)
    raise typer.Exit(1)


def _print_changes(plan: Plan) -> None:
    stderr.print("Changed since the last run into this folder:")
    for name, what in plan.changes.items():
        stderr.print(plain(f"  {name}: {what}"), soft_wrap=True)
    stderr.print(
        f"Reused: {plan.reused:,} calls, {plan.complete:,} of {plan.rows:,} rows whole. "
        f"Made anew: {plan.at_least:,} rows, {plan.at_least:,} to {plan.at_most:,} calls. "
        f"Standing rows that are replaced: {plan.replaced:,}.",
        soft_wrap=True,
    )


def _print_summary(run: Run) -> None:
    from rich.table import Table

    manifest = run.manifest
    failed = Counter(failure.error for failure in run.failures if failure.pair is None)
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
        "failed": f"{counts.get('failures', 0):,}{f' ({reasons})' if reasons else ''}",
        **_pair_counts(counts, manifest.judge),
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
    console.print(plain(f"Data: {run.folder}"), soft_wrap=True)
    console.print(plain(f"One chain: cai show {run.folder} ID"), soft_wrap=True)


def _cost(cost: Mapping[str, Any]) -> dict[str, str]:
    if not cost:
        return {}
    per_row = f", {cost['per_row']:,.4g} per row" if cost["per_row"] is not None else ""
    return {"cost": f"{cost['total']:,.4g}{per_row}"}


def _pair_counts(counts: Mapping[str, int], judge: Mapping[str, Any]) -> dict[str, str]:
    """A line per source of pairs: labelled, and dropped for what reason."""
    lines: dict[str, str] = {}
    for source in ("revision", "sampled"):
        start = f"pairs.{source}."
        found = {k.removeprefix(start): n for k, n in counts.items() if k.startswith(start)}
        if found:
            words = [f"{found.pop('labelled', 0):,} labelled"]
            words += [f"{n:,} {name}" for name, n in sorted(found.items())]
            lines[f"{source} pairs"] = ", ".join(words)
    if "pairs.no principle" in counts:
        lines["no principle compares"] = f"{counts['pairs.no principle']:,} prompts"
    if lines:
        known = {None: "never checked", True: "found usable", False: "did not pass its check"}
        lines["judge"] = known[judge.get("usable")]
    if "failures.pairs" in counts:
        lines["pairs that failed"] = f"{counts['failures.pairs']:,}"
    worse = counts.get("verified.worse", 0)
    if worse:
        lines["revisions found worse"] = f"{worse:,}, not used"
    return lines


def _dry_run(settings: Settings, out: Path | None, reuse: list[Path], retry_failed: bool) -> None:
    from cai.checks.results import judge_warning
    from cai.generation.ingest import run_folder
    from cai.generation.plan import make_plan
    from cai.method import load_method
    from cai.roles import make_engines, on_its_day
    from cai.runtime.progress import Shown

    settings = on_its_day(settings, run_folder(load_method(settings), out))
    engines = make_engines(settings)
    progress = Shown(stderr)
    progress.phase("reading prompts")
    try:
        plan, method = make_plan(
            settings,
            out=out,
            reuse=reuse,
            engines=engines,
            retry_failed=retry_failed,
            progress=progress,
        )
    finally:
        progress.close()
    if plan.changes:
        _print_changes(plan)
    roles: dict[str, list[str]] = {}
    for role in method.roles:
        identity = engines[role].known_identity() or "not on this machine yet: no call is reused"
        roles.setdefault(identity, []).append(role)
    for identity, names in roles.items():
        console.print(plain(f"Model ({', '.join(names)}): {identity}"), soft_wrap=True)
        if not identity.startswith("not on"):
            for name, text in engines[names[0]].feeding().items():
                console.print(plain(f"  {name}: {text}"), soft_wrap=True)
    warning = judge_warning(method)
    if warning is not None:
        stderr.print(plain("WARNING", "bold white on red"), plain(warning), soft_wrap=True)
    console.print(f"Rows: {plan.rows:,}, of which {plan.complete:,} are whole in the journal")
    console.print(f"Calls to reuse: {plan.reused:,}")
    console.print(f"Calls to make: {plan.at_least:,} to {plan.at_most:,}, and second draws")
    _print_first(plan, method)


def _print_first(plan: Plan, method: Method) -> None:
    from cai.method import draw_principles

    for prompt in plan.first:
        console.print(plain(f"\nPrompt {prompt.id} ({prompt.kind})", "bold"))
        for message in prompt.with_system(method.settings.system).messages:
            console.print(plain(f"{message.role}: ", "bold") + plain(message.content))
        if method.revises and method.rounds(prompt):
            among = method.constitution.for_revision(prompt)
            principle = draw_principles(method.settings.seed, prompt.id, 1, among)[0]
            name = "critique" if method.settings.critique else "revise"
            console.print(plain(f"then, by principle {principle.id}:", "bold"))
            console.print(plain(method.request(name, principle)))
