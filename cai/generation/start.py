"""How a run starts: its prompts are read, its models settled, and what a change costs is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cai.checks.critic_results import with_critic
from cai.checks.results import judge_warning, with_judge
from cai.dataset.made_by import last_method
from cai.engines import labels
from cai.engines.base import Engine
from cai.engines.labels import Labels
from cai.errors import CaiError
from cai.generation.ingest import digest_of_prompts, ingest
from cai.generation.plan import Plan, changes_since, plan_rows
from cai.generation.tombstones import known_tombstones
from cai.method import Method
from cai.records import Prompt
from cai.roles import expect
from cai.row import replay
from cai.runtime import servers
from cai.runtime.calls import Calls
from cai.runtime.journal import Journal
from cai.runtime.progress import Progress, counted
from cai.runtime.tally import Tally


@dataclass(frozen=True)
class Job:
    """A run folder that is open, and the models that serve it, by role."""

    folder: Path
    engines: Mapping[str, Engine]
    journal: Journal
    reuse: tuple[Journal, ...]
    retry_failed: bool
    progress: Progress

    def prompts(self, table: str = "prompts") -> Iterator[Prompt]:
        return (prompt for _, prompt in self.journal.prompts(table))


@dataclass(frozen=True)
class Settled:
    """What a run makes its rows by: the method, calls to known models, and the facts it keeps."""

    method: Method
    calls: Calls
    facts: Mapping[str, Any]

    @property
    def labels(self) -> MutableMapping[str, Labels]:
        """The labels that serve an engine, by its identity."""
        return self.calls.labels


def settle(job: Job, method: Method, approve: Callable[[Plan], bool]) -> Settled:
    """Read the prompts if they changed, say what a changed setting costs, and settle on it.

    Raises:
        CaiError: Rows that stand would be replaced, and nobody approves.
    """
    last_source = job.journal.meta("source")
    last = last_method(job.journal)[0].settings if last_source is not None else None
    digest = digest_of_prompts(method.settings, last)
    staged = last_source is None or digest not in (None, last_source["digest"])
    source = {"digest": digest, "duplicates": 0} if staged else last_source
    if staged:
        job.progress.phase("reading prompts")
        tombstones = known_tombstones(job.journal, job.reuse)
        source |= ingest(job.journal, method.settings, job.progress, tombstones)
    table = "staged" if staged else "prompts"
    calls = _calls(job, method, table)
    method = with_judge(method, lambda: calls.identities.get("judge"))
    method = with_critic(method, lambda: calls.identities.get("critic"))
    if last_source is not None:
        _settle_changes(job, method, calls, approve, table)
    facts = {
        "settings": method.settings.model_dump(mode="json"),
        "constitution": method.constitution.model_dump(mode="json"),
        "templates": dict(method.templates.texts),
        "identities": calls.identities,
        "judge": method.judge.model_dump(),
        "critic": method.critic.model_dump(),
        "dropped": sorted(method.dropped),
        "source": source,
        "servers": servers.abilities_of(job.engines),
    }
    warning = judge_warning(method, calls.identities.get("judge"))
    if warning is not None:
        job.progress.warn(warning)
    job.journal.adopt(facts, staged=staged)
    return Settled(method, calls, facts)


def _calls(job: Job, method: Method, table: str) -> Calls:
    """Calls to models whose identities are known; a server is asked first if it has to be."""
    expect(job.engines, method)
    servers.recall(job.engines, (job.journal, *job.reuse))
    picks: dict[str, Labels] = {}
    for journal in (*job.reuse, job.journal):
        picks.update(labels.from_meta(journal.meta("labels")))
    calls = Calls(
        job.journal,
        method.settings.seed,
        {},
        reuse=job.reuse,
        retry_failed=job.retry_failed,
        labels=picks,
    )

    def whole(identities: Mapping[str, str]) -> bool:
        if job.journal.meta("identities") is None:
            return False
        looked = replace(calls, identities=identities, retry_failed=False, tally=Tally())
        rows = (replay(prompt, method, looked) for prompt in job.prompts(table))
        return not any(row.missing or (row.failures and job.retry_failed) for row in rows)

    identities = servers.settle(job.engines, job.progress.warn, whole)
    if servers.unasked(job.engines) and job.journal.has_call('%"method":"to%_logprobs"%'):
        job.progress.warn(servers.FIRST_LABELS)
    return replace(calls, identities=identities)


def _settle_changes(
    job: Job, method: Method, calls: Calls, approve: Callable[[Plan], bool], table: str
) -> None:
    staged = table == "staged"
    changes = changes_since(job.journal, method, calls.identities, new_prompts=staged)
    if not changes:
        return
    plan = Plan(changes=changes)
    if staged:
        plan.replaced = job.journal.count_missing(job.journal)
    job.progress.phase("comparing with the rows that stand")
    prompts = counted(job.prompts(table), job.progress)
    looked = Calls(job.journal, method.settings.seed, calls.identities, reuse=job.reuse)
    plan_rows(plan, prompts, (method, looked), last_method(job.journal, published=True))
    if not approve(plan) and plan.needs_consent:
        changed = ", ".join(f"{key}: {what}" for key, what in plan.changes.items())
        raise CaiError(
            f"{job.folder}: {plan.replaced:,} rows that stand here would be replaced, "
            f"because of {changed}",
            "Say --yes to go on, or choose another --out (with --reuse to keep the calls).",
        )


def first_start(journal: Journal) -> str:
    """When the run was started first, which its journal keeps."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    first = str(journal.meta("started") or now)
    journal.set_meta({"started": first})
    return first
