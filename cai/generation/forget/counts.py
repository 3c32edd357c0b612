"""The manifest of a run without some of its prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cai.dataset.schema import DATASETS, SPLITS, Manifest
from cai.dataset.traces import lines_of, traces
from cai.dataset.write import counted_as
from cai.engines.base import CONTROL_TOKENS
from cai.generation.forget.plan import Selection
from cai.generation.tombstones import is_forgotten
from cai.method import Method
from cai.records import Failure, Prompt
from cai.runtime.tally import Tally

# Before the reason for which a row was dropped after the run.
_LATER = "quality: "


def manifest_without(
    manifest: Manifest,
    folder: Path,
    chosen: Selection,
    prompts: Mapping[str, Prompt],
    rows: Mapping[str, int],
    dropped: Mapping[str, int],
    method: Method | None,
    spent: Tally,
) -> Manifest:
    """The manifest with the counts of what stays.

    Args:
        manifest: As it stands.
        folder: The run folder, as it stands.
        chosen: What goes.
        prompts: The prompts that go, where they are known.
        rows: As `rows_that_go` counts them.
        dropped: Lines of dropped.jsonl that go, by rule.
        method: What the datasets were written by.
        spent: The tokens of the prompts that go.
    """
    counts = Counter(manifest.counts)
    for dataset in DATASETS:
        for split in SPLITS:
            name = f"{dataset}.{split}"
            counts[name] = rows[f"all.{name}"] - rows[name]
    counts.subtract({f"dropped.{rule}": n for rule, n in dropped.items()})
    counts.subtract(_failures(folder, chosen))
    for _, trace in traces(folder):
        if is_forgotten(trace["prompt"], chosen.digests):
            counts.subtract(_of_trace(trace, counts))
    if counts["pairs.no principle"] and method is not None:
        counts["pairs.no principle"] -= sum(not method.sources_for(p) for p in prompts.values())
    left = {key: n for key, n in counts.items() if n > 0 or key.startswith("verdicts")}
    return manifest.model_copy(
        update={
            "counts": dict(sorted(left.items())),
            "prompts": _prompts(manifest.prompts, prompts.values(), len(chosen.ids)),
            "tokens": _tokens(manifest.tokens, spent),
        }
    )


def _failures(folder: Path, chosen: Selection) -> Counter[str]:
    return Counter(
        counted_as(Failure.model_validate(record))
        for record in lines_of(folder / "failures.jsonl")
        if failure_goes(record, chosen.ids, chosen.failed)
    )


def failure_goes(record: Mapping[str, Any], ids: set[str], failed: set[str]) -> bool:
    """Whether a failure is of a prompt that goes, or of input that does."""
    return record["prompt_id"] in (failed if record["stage"] == "ingest" else ids)


def _of_trace(trace: Mapping[str, Any], counts: Mapping[str, int]) -> Counter[str]:
    """What a trace was counted as."""
    own: Counter[str] = Counter()
    if trace["response"] is not None:
        own[f"target.{trace['target']}"] += 1
        verdicts = [s for s in trace["steps"] or () if s["p_change"] is not None]
        own["verdicts"] += len(verdicts)
        own["verdicts.inconsistent"] += sum(
            abs(2 * s["p_change"] - 1) <= s["order_gap"] for s in verdicts
        )
        reason = f"not in sft.{trace.get('not_in_sft')}"
        own[reason] += reason in counts
    if trace.get("verified") is not None:
        own[f"verified.{'better' if trace['verified'] else 'worse'}"] += 1
    for pair in trace["pairs"] or ():
        reason = pair["dropped"] or "labelled"
        reason = "labelled" if reason.startswith(_LATER) else reason
        own[f"pairs.{pair['source']}.{reason}"] += 1
    return own


def _prompts(facts: Mapping[str, Any], prompts: Iterable[Prompt], gone: int) -> dict[str, Any]:
    """The manifest's facts about prompts without these; none of its numbers falls below 0."""
    new, prompts = dict(facts), list(prompts)
    kinds = Counter(facts.get("kinds", {}))
    kinds.subtract(Counter(prompt.kind for prompt in prompts))
    control = sum(any(CONTROL_TOKENS.search(m.content) for m in p.messages) for p in prompts)
    if "kinds" in facts:
        new["kinds"] = {kind: n for kind, n in kinds.items() if n > 0}
        new["rows"] = sum(new["kinds"].values())
    if facts.get("control_tokens"):
        new["control_tokens"] = max(0, facts["control_tokens"] - control)
    new["forgotten"] = facts.get("forgotten", 0) + gone
    return new


def _tokens(tokens: Mapping[str, Mapping[str, int]], spent: Tally) -> dict[str, dict[str, int]]:
    ways = {
        "input": spent.input_tokens,
        "output": spent.output_tokens,
        "cached": spent.cached_tokens,
    }
    return {
        role: {way: max(0, n - ways[way][role]) for way, n in numbers.items()}
        for role, numbers in tokens.items()
    }
