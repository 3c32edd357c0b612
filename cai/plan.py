"""What running would do: rows that stand, calls in the journal, calls to make; no model is used."""

from __future__ import annotations

import tempfile
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cai import templates
from cai.config import EXECUTION_KEYS, FILE_KEYS, PROMPT_KEYS, Settings
from cai.inputs import digest_of_prompts, load_method, prompts_of
from cai.records import Constitution, Failure, Prompt, RevisionChain
from cai.revision import Method, revise
from cai.runtime.calls import Calls, MissingCall, Rejected
from cai.runtime.journal import Journal

T = TypeVar("T")

ROLES = ("policy", "critic", "reviser")

# Changes that are the tool's daily use; the others are asked about before rows are replaced.
EXPECTED = frozenset({"constitution"})


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits (a replay)."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise RuntimeError("a replay waited for something")


def replay(prompt: Prompt, method: Method, calls: Calls) -> RevisionChain | Failure:
    """A row from the journal alone; raises `MissingCall` when a call is not there."""
    try:
        return run_to_end(revise(prompt, method, calls.row(prompt.id)))
    except Rejected as reason:
        return failure_of(prompt, reason)


def failure_of(prompt: Prompt, reason: Rejected) -> Failure:
    return Failure(
        stage=reason.stage, prompt_id=prompt.id, error=reason.error, message=reason.message
    )


@dataclass
class Plan:
    """What a run into a folder would reuse and make.

    `replaced` counts rows of the last run whose data would change or go.
    """

    changes: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    complete: int = 0
    reused: int = 0
    at_least: int = 0
    at_most: int = 0
    standing: int = 0
    replaced: int = 0
    first: list[Prompt] = field(default_factory=list)

    @property
    def needs_consent(self) -> bool:
        return self.replaced > 0 and bool(set(self.changes) - EXPECTED)


def plan_rows(
    plan: Plan,
    prompts: Iterable[Prompt],
    new: tuple[Method, Calls],
    old: tuple[Method, Calls] | None,
    *,
    retry_failed: bool = False,
    show: int = 2,
) -> Plan:
    """Replay every prompt by the new method, and by the old one, and count."""
    method, calls = new
    for prompt in prompts:
        plan.rows += 1
        if len(plan.first) < show:
            plan.first.append(prompt)
        row, before_row = calls.row(prompt.id), calls.tally.reused
        outcome: RevisionChain | Failure | None = None
        try:
            outcome = run_to_end(revise(prompt, method, row))
            plan.complete += 1
        except (Rejected, MissingCall) as reason:
            if isinstance(reason, Rejected):
                outcome = failure_of(prompt, reason)
            if outcome is not None and not retry_failed:
                plan.complete += 1
            else:
                there = calls.tally.reused - before_row
                plan.at_least += 1
                plan.at_most += max(1, method.most_calls(prompt) - there)
        if old is not None and (before := _standing(prompt, *old)) is not None:
            plan.standing += 1
            plan.replaced += before != outcome
    plan.reused = calls.tally.reused
    return plan


def _standing(prompt: Prompt, method: Method, calls: Calls) -> RevisionChain | None:
    try:
        return run_to_end(revise(prompt, method, calls.row(prompt.id)))
    except (MissingCall, Rejected):
        return None


def make_plan(
    settings: Settings,
    *,
    out: str | Path | None = None,
    reuse: Sequence[str | Path] = (),
    identity: str | None,
    retry_failed: bool = False,
) -> tuple[Plan, Method]:
    """What `generate` would do; nothing is written and no model is loaded.

    Args:
        settings: The settings of the run.
        out: The run folder, as in `generate`.
        reuse: As in `generate`.
        identity: The model's identity, or None when it is not known yet: then nothing is reused.
        retry_failed: As in `generate`.
    """
    method = load_method(settings)
    folder = Path(out) if out is not None else Path("outputs") / method.constitution.name
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        staged = Journal(scratch / "calls.sqlite")
        stack.callback(staged.close)
        staged.ingest(prompts_of(settings), settings.limit)
        paths = [Path(p) for p in (folder, *reuse) if (Path(p) / "calls.sqlite").is_file()]
        journals = [Journal(path / "calls.sqlite", readonly=True) for path in paths]
        for journal in journals:
            stack.callback(journal.close)
        standing = journals[0] if paths[:1] == [folder] else None
        identities = dict.fromkeys(ROLES, identity or "")
        calls = Calls(standing or staged, settings.seed, identities, reuse=journals)
        plan, old = Plan(), None
        if standing is not None and standing.meta("settings") is not None:
            old = last_method(standing, published=True)
            last = last_method(standing)[0].settings
            found = digest_of_prompts(settings, last)
            plan.changes = changes_since(
                standing,
                method,
                identity or "not on this machine yet",
                new_prompts=found not in (None, standing.meta("source")["digest"]),
            )
            plan.replaced = standing.count_missing(staged) if "prompts" in plan.changes else 0
        prompts = (prompt for _, prompt in staged.prompts("staged"))
        plan_rows(plan, prompts, (method, calls), old, retry_failed=retry_failed)
        return plan, method


def last_method(journal: Journal, *, published: bool = False) -> tuple[Method, Calls]:
    """The method and calls that the journal was last used for, or last wrote datasets by."""
    written = journal.meta("published") if published else None
    fact = written.__getitem__ if written is not None else journal.meta
    settings = Settings.model_validate(fact("settings"))
    method = Method(
        Constitution.model_validate(fact("constitution")),
        templates.Templates(fact("templates")),
        settings,
    )
    return method, Calls(journal, settings.seed, fact("identities"))


def changes_since(
    journal: Journal, method: Method, identity: str, *, new_prompts: bool
) -> dict[str, str]:
    """What is different from the run that the journal was last used for, in words."""
    (old, calls), new = last_method(journal), method.settings
    changes: dict[str, str] = {}
    if old.constitution != method.constitution:
        changes["constitution"] = _constitution_change(old.constitution, method.constitution)
    if calls.identities["policy"] != identity:
        changes["model"] = f"{calls.identities['policy']} → {identity}"
    if old.templates.texts != method.templates.texts:
        names = [n for n, t in method.templates.texts.items() if old.templates.texts.get(n) != t]
        changes["templates"] = ", ".join(names)
    if new_prompts:
        changes["prompts"] = f"{old.settings.prompts} → {new.prompts}, or what it holds"
    before, after = old.settings.model_dump(mode="json"), new.model_dump(mode="json")
    for key in sorted(before.keys() - PROMPT_KEYS - EXECUTION_KEYS - FILE_KEYS):
        if before[key] != after[key]:
            changes[key] = f"{before[key]} → {after[key]}"
    return changes


def _constitution_change(old: Constitution, new: Constitution) -> str:
    before, after = ({p.id: p for p in c.principles} for c in (old, new))
    edited = [i for i in after if i in before and after[i] != before[i]]
    words = {
        "added": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "edited": edited,
    }
    return "; ".join(f"{word} {', '.join(sorted(ids))}" for word, ids in words.items() if ids) or (
        "few-shot cases or description"
    )
