"""What running would do: rows that stand, calls in the journal, calls to make; no model is used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cai.checks.critic_results import with_critic
from cai.checks.results import with_judge
from cai.constitution.change import ConstitutionChange, constitution_change
from cai.dataset.made_by import last_method
from cai.dataset.rows import sft_rows
from cai.engines import labels
from cai.engines.base import Engine
from cai.engines.local.fed import why_fed_otherwise
from cai.files import JOURNAL
from cai.generation.ingest import digest_of_prompts, ingest
from cai.generation.tombstones import known_tombstones
from cai.method import Method
from cai.records import JudgeFacts, Prompt, Row
from cai.row import replay
from cai.runtime import servers
from cai.runtime.calls import Calls
from cai.runtime.folder import has_journal, reading
from cai.runtime.journal import Journal
from cai.runtime.progress import Progress, Quiet
from cai.setting_keys import EXECUTION_KEYS, FILE_KEYS, PROMPT_KEYS

UNKNOWN = "not on this machine yet"
REUSE_HINT = "--reuse takes the folder of a run."

# Changes that are the tool's daily use; the others are asked about before rows are replaced.
EXPECTED = frozenset({"constitution", "drop"})


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
        before = calls.tally.reused
        row = replay(prompt, method, calls)
        if not row.missing and not (row.failures and retry_failed):
            plan.complete += 1
        else:
            there = calls.tally.reused - before
            plan.at_least += 1
            plan.at_most += max(1, method.most_calls(prompt) - there)
        if old is not None and _holds_data(stood := replay(prompt, *old)):
            plan.standing += 1
            plan.replaced += _loses(stood, old[0], row, method)
    plan.reused = calls.tally.reused
    return plan


def _holds_data(row: Row) -> bool:
    return row.chain is not None or any(pair.label is not None for pair in row.pairs)


def _loses(before: Row, old: Method, after: Row, new: Method) -> bool:
    """Whether data of a row that stands would change or go; what is added is no loss."""
    if before.chain is not None and before.chain != after.chain:
        return True
    if (rows := list(sft_rows(before, old))) and rows != list(sft_rows(after, new)):
        return True
    return any(pair.label is not None and pair not in after.pairs for pair in before.pairs)


def make_plan(
    method: Method,
    folder: Path,
    *,
    progress: Progress | None = None,
    reuse: Sequence[str | Path] = (),
    engines: Mapping[str, Engine],
    retry_failed: bool = False,
) -> tuple[Plan, Method]:
    """What `generate` would do; nothing is written and no model is loaded.

    Args:
        method: What the run is made by.
        folder: The run folder.
        reuse: As in `generate`.
        engines: The models by role; of one that is not on this machine yet nothing is reused.
        retry_failed: As in `generate`.
        progress: Told of prompts that cannot be used.
    """
    settings = method.settings
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        staged = Journal(scratch / JOURNAL)
        stack.callback(staged.close)
        paths = [*([folder] if has_journal(folder) else []), *map(Path, reuse)]
        journals = [stack.enter_context(reading(path, REUSE_HINT)) for path in paths]
        tombstones = known_tombstones(staged, journals)
        ingest(staged, settings, progress or Quiet(), tombstones)
        standing = journals[0] if paths[:1] == [folder] else None
        servers.recall(engines, journals)
        method = with_judge(method, lambda: engines["judge"].known_identity())
        method = with_critic(method, lambda: engines["critic"].known_identity())
        identities: dict[str, str] = {
            role: engines[role].known_identity() or UNKNOWN for role in method.roles
        }
        calls = Calls(standing or staged, settings.seed, identities, reuse=journals)
        for journal in reversed(journals):
            calls.labels.update(labels.from_meta(journal.meta("labels")))
        plan, old = Plan(), None
        if standing is not None and standing.meta("settings") is not None:
            old = last_method(standing, published=True)
            last = last_method(standing)[0].settings
            new_digest = digest_of_prompts(settings, last)
            plan.changes = changes_since(
                standing,
                method,
                identities,
                new_prompts=new_digest not in (None, standing.meta("source")["digest"]),
            )
            plan.replaced = standing.count_missing(staged) if "prompts" in plan.changes else 0
        prompts = (prompt for _, prompt in staged.prompts("staged"))
        plan_rows(plan, prompts, (method, calls), old, retry_failed=retry_failed)
        return plan, method


def changes_since(
    journal: Journal, method: Method, identities: Mapping[str, str], *, new_prompts: bool
) -> dict[str, str]:
    """What is different from the run that the journal was last used for, in words."""
    (old, calls), new = last_method(journal), method.settings
    changes: dict[str, str] = {}
    if old.constitution != method.constitution:
        change = constitution_change(old.constitution, method.constitution)
        changes["constitution"] = _in_words(change)
    changes |= _model_changes(calls.identities, identities)
    if old.judge != method.judge:
        changes["judge check"] = f"{_of_judge(old.judge)} → {_of_judge(method.judge)}"
    if old.critic != method.critic and old.version >= 2:
        changes["critic check"] = f"{old.critic.state} → {method.critic.state}"
    if old.templates.texts != method.templates.texts:
        names = [n for n, t in method.templates.texts.items() if old.templates.texts.get(n) != t]
        changes["templates"] = ", ".join(names)
    if old.dropped != method.dropped:
        changes["drop"] = f"{len(old.dropped)} → {len(method.dropped)} flagged rows"
    if new_prompts:
        changes["prompts"] = f"{old.settings.prompts} → {new.prompts}, or what it holds"
    before, after = old.settings.model_dump(mode="json"), new.model_dump(mode="json")
    for key in sorted(before.keys() - PROMPT_KEYS - EXECUTION_KEYS - FILE_KEYS):
        if before[key] != after[key]:
            changes[key] = f"{before[key]} → {after[key]}"
    return changes


def _model_changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Roles whose model is another one now; what changed for all is said once."""
    changed = {
        role: why_fed_otherwise(old[role], new[role]) or f"{old[role]} → {new[role]}"
        for role in new
        if role in old and old[role] != new[role]
    }
    if len(changed) > 1 and len(set(changed.values())) == 1:
        return {"model": next(iter(changed.values()))}
    return {"model" if role == "policy" else role: what for role, what in changed.items()}


def _of_judge(judge: JudgeFacts) -> str:
    warmth = f", temperature {judge.temperature:.4g}" if judge.temperature != 1 else ""
    return judge.state + warmth


def _in_words(change: ConstitutionChange) -> str:
    edited = [principle.id for principle in change.edited]
    words = {"added": change.added, "removed": change.removed, "edited": edited}
    return "; ".join(f"{word} {', '.join(sorted(ids))}" for word, ids in words.items() if ids) or (
        "few-shot cases or description"
    )
