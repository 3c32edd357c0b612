"""The shards of a run, put together: their calls are reused, no model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.checks.critic_results import with_critic
from cai.checks.results import with_judge
from cai.config import ROLES, resolve
from cai.constitution.records import Constitution
from cai.dataset.run import Run
from cai.dataset.schema import SPLITS, text_key
from cai.engines.base import Absent, Engine
from cai.errors import CaiError
from cai.generation.job import run_into
from cai.method import Method
from cai.runtime.folder import reading
from cai.runtime.progress import Progress
from cai.setting_keys import EXECUTION_KEYS, FILE_KEYS
from cai.templates import Templates

_WORDS = {  # what all shards must share, and what it is called
    "settings": "setting",
    "constitution": "constitution",
    "templates": "template",
    "identities": "model",
    "judge": "judge check",
    "critic": "critic check",
}


def merge_shards(
    shards: Sequence[str | Path], out: str | Path, *, progress: Progress | None = None
) -> Run:
    """Put the shards of a run together in a folder of its own, without asking a model.

    Raises:
        CaiError: A shard is missing, not finished or of another run, or what they were made from
            is no longer there.
    """
    if not shards:
        raise CaiError("no shard is given", "Give the folders of all shards of a run.")
    facts: dict[str, dict[str, Any]] = {}
    for folder in shards:
        record = _published(Path(folder))
        shard = record["settings"].pop("shard", None)
        if shard is None:
            raise CaiError(f"{folder}: a whole run, no shard of one", "Leave it out.")
        if shard in facts:
            raise CaiError(f"{folder}: shard {shard} is given twice", "Leave one out.")
        facts[shard] = record
    first = next(iter(facts.values()))
    parts = int(next(iter(facts)).split("/")[1])
    names = {f"{n + 1}/{parts}" for n in range(parts)}
    missing, others = names - facts.keys(), facts.keys() - names
    if missing or others:
        what = f"missing: {', '.join(sorted(missing))}" if missing else f"not one: {min(others)}"
        raise CaiError(f"not the {parts} shards of a run; {what}", "Give all of one run.")
    _of_one_run(facts)
    here = {key: value for key, value in first["settings"].items() if key not in EXECUTION_KEYS}
    here["date"] = first["settings"].get("date")
    method = Method(
        Constitution.model_validate(first["constitution"]),
        Templates(first["templates"]),
        resolve({"method_version": 1, **here}),  # version 0.1.0 wrote none
        dropped=frozenset(name for record in facts.values() for name in record.get("dropped", ())),
    )
    identities = first["identities"]
    judge = with_judge(method, lambda: identities.get("judge")).judge
    critic = with_critic(method, lambda: identities.get("critic")).critic
    for role, facts_here in (("judge", judge), ("critic", critic)):
        # Version 0.1.0 kept no facts of a critic, and nothing of a folder of its depends on them.
        if facts_here.model_dump() != first.get(role, facts_here.model_dump()):
            raise CaiError(
                f"what is known here of the {role} is not what the shards were made with",
                f"Merge on one of their machines, or copy the result of cai check {role} from "
                "there.",
            )
    engines: dict[str, Engine] = {role: Absent(identities.get(role, "none")) for role in ROLES}
    run = run_into(Path(out), method, engines, reuse=shards, progress=progress, named=False)
    both = _in_both_splits(run)
    if both and progress is not None:
        progress.warn(
            f"{both:,} train rows begin with a text that stands in the test split too: it has a "
            "group in one place and none in the other. cai train leaves out those whose whole "
            "prompt does; give both the same group"
        )
    return run


def _in_both_splits(run: Run) -> int:
    """Train rows whose first human turn stands in the test split, by another key."""
    traces = run.traces
    if set(SPLITS) - set(traces):
        return 0
    traces = traces.select_columns("prompt")  # the rest of a chain is most of it
    held_out = {_first_turn(row) for row in traces["test"]}
    return sum(_first_turn(row) in held_out for row in traces["train"])


def _first_turn(row: Mapping[str, Any]) -> str:
    return text_key(next((m["content"] for m in row["prompt"] if m["role"] == "user"), ""))


def _of_one_run(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `CaiError` unless the shards were made from the same, by the same models."""
    first = next(iter(facts.values()))
    for shard, record in facts.items():
        for key, word in _WORDS.items():
            # Each shard has a machine, servers and paths of its own.
            own = EXECUTION_KEYS | FILE_KEYS if key == "settings" else set()
            here, there = record.get(key, {}), first.get(key, {})
            others = {k for k in here | there if here.get(k) != there.get(k)}
            if others - own:
                raise CaiError(
                    f"shard {shard} was made from another {word} than the first: "
                    f"{', '.join(sorted(others - own))}",
                    "Run it again with the same command.",
                )


def _published(folder: Path) -> dict[str, Any]:
    """What a finished run was made from."""
    with reading(folder, "Give the folders that cai generate wrote.") as journal:
        record: dict[str, Any] | None = journal.meta("published")
        settings = journal.meta("settings")
    if record is None or record["settings"] != settings:
        raise CaiError(
            f"{folder}: this shard has not come to its end",
            "Run the same cai generate command again.",
        )
    return record
