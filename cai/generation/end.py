"""How a run ends: its rows again from the journal, as datasets, with manifest and card."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cai.checks.of_run import as_detail, judge_check
from cai.config import Settings
from cai.constitution.yaml_file import dumped
from cai.dataset.schema import ANSWERS, SPLITS, Manifest, named
from cai.dataset.write import write_datasets
from cai.engines.base import CONTROL_TOKENS
from cai.errors import CaiError
from cai.files import replacing
from cai.generation.manifest import Outcome, Spent, manifest_of
from cai.generation.start import Job, Settled
from cai.publish.card import dataset_card
from cai.quality.measure import measure
from cai.quality.records import QUALITY, write_quality
from cai.quality.settings import Thresholds, thresholds
from cai.records import Failure, Prompt, Row
from cai.report.page import PAGE, write_report
from cai.row import replay
from cai.runtime.calls import Calls
from cai.runtime.price import Price
from cai.runtime.progress import Watching, counted
from cai.runtime.tally import Tally


def publish(
    job: Job,
    settled: Settled,
    names: Mapping[str, str],
    started: str,
    generating: float,
    price: Price | None,
) -> None:
    """Write the datasets, the settings, the manifest and the card.

    Args:
        job: The open run.
        settled: What its rows were made by.
        names: What a person calls the model of each role.
        started: When the run was started first.
        generating: Seconds of generation in this session.
        price: Of the models.
    """
    kinds, calls = job.journal.kinds(), settled.calls
    job.progress.phase("writing datasets", sum(kinds.values()))
    replayed = replace(calls, reuse=(), retry_failed=False, tally=Tally())
    began = time.monotonic()
    counts = write_datasets(
        job.folder,
        counted(_outcomes(job, settled, replayed), job.progress),
        settled.method,
        judge=named(names.get("judge"), calls.identities.get("judge", "")),
    )
    writing = time.monotonic() - began
    served = any(engine.reads_control_tokens for engine in job.engines.values())
    controls = _with_control_tokens(job.prompts()) if served else 0
    if controls:
        job.progress.warn(
            f"{controls:,} prompts hold what looks like a special token of a model; "
            "a server reads it as one, not as text"
        )
    _warn_of_verdicts(job, settled, counts)
    _warn_of_harm(job, settled, kinds)
    _warn_of_review(job, settled)
    outcome = Outcome(
        source=job.journal.meta("source"),
        kinds=kinds,
        control_tokens=controls,
        counts=counts,
        made=calls.tally,
        whole=replayed.tally,
    )
    fed = {role: feeding for role, e in job.engines.items() if (feeding := e.feeding())}
    spent = Spent(started, generating, job.journal.meta("seconds") or 0.0, writing)
    manifest = manifest_of(settled.method, calls, names, fed, outcome, spent, price)
    _write_files(job, settled, manifest)
    _measure(job, settled)
    job.journal.set_meta({"published": dict(settled.facts)})


def _measure(job: Job, settled: Settled) -> None:
    """Measure the rows and write the page; of no rows there is nothing to measure."""
    path = job.folder / QUALITY
    for old in (path, job.folder / PAGE):
        old.unlink(missing_ok=True)  # of other rows
    if not any((job.folder / name / f"{s}.parquet").is_file() for name in ANSWERS for s in SPLITS):
        return
    limits = limits_of(settled.method.settings)
    quality = measure(job.folder, limits, watch=Watching(job.progress))
    write_quality(quality.plus(as_detail(judge_check(job.folder, settled.method))), path)
    job.progress.phase("writing the page")
    write_report(job.folder)


def limits_of(settings: Settings) -> Thresholds:
    """The thresholds of the gates that a run names.

    Raises:
        CaiError: The file cannot be read, or names another threshold.
    """
    return thresholds({}, Path(settings.gates) if settings.gates else None)


def _outcomes(job: Job, settled: Settled, calls: Calls) -> Iterator[Row | Failure]:
    """Every row again from the journal alone, in the order of the prompts."""
    yield from job.journal.ingest_failures()
    for prompt in job.prompts():
        row = replay(prompt, settled.method, calls)
        if row.missing:
            raise CaiError(
                f"{job.folder}: the journal lacks a call of prompt {prompt.id}",
                "Run the same command again.",
            )
        yield row


def _warn_of_verdicts(job: Job, settled: Settled, counts: Mapping[str, int]) -> None:
    """Say so where the critic mostly picks by the place of an option."""
    verdicts, unsure = counts.get("verdicts", 0), counts.get("verdicts.inconsistent", 0)
    if verdicts and unsure > verdicts / 2:
        critic = settled.method.settings.model_of("critic")
        job.progress.warn(
            f"{unsure:,} of {verdicts:,} verdicts changed with the order of the options: the "
            f"critic {critic} mostly guesses, and all of these were revised. "
            f"Measure it: cai check critic --critic {critic}"
        )


def _warn_of_harm(job: Job, settled: Settled, kinds: Mapping[str, int]) -> None:
    """Say so where prompts ask for harm and only programs look at the answers."""
    principles = settled.method.constitution.principles
    if kinds.get("red-team") and all(p.check for p in principles):
        job.progress.warn(
            f"{kinds['red-team']:,} prompts are of the kind red-team, and the constitution has "
            "rules alone: nothing looked for harm in what was learnt of them"
        )


def _warn_of_review(job: Job, settled: Settled) -> None:
    """Say so where a flagged row is none of the run's."""
    dropped = settled.method.dropped
    others = sum(job.journal.place(name) is None for name in dropped)
    if others:
        job.progress.warn(
            f"{others:,} of the {len(dropped):,} flagged rows of --drop are no prompts of this run"
        )


def _with_control_tokens(prompts: Iterable[Prompt]) -> int:
    """How many prompts a server reads otherwise than we do."""
    return sum(any(CONTROL_TOKENS.search(m.content) for m in p.messages) for p in prompts)


def _write_files(job: Job, settled: Settled, manifest: Manifest) -> None:
    settings, constitution = settled.method.settings, settled.method.constitution
    data = constitution.model_dump(mode="json", exclude_defaults=True)
    data["version"] = 1
    texts = {
        "config.yaml": dumped(settings.model_dump(mode="json"), 100),
        "constitution.yaml": dumped(data, 100),
        "README.md": dataset_card(job.folder, settings, constitution, manifest),
        "manifest.json": json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n",
    }
    for name, text in texts.items():
        with replacing(job.folder / name) as file:
            file.write(text)
