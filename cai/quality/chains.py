"""What revisions changed, and why: counted over the traces of a run."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from cai.quality.diversity import self_bleu
from cai.quality.phrases import Sample, words
from cai.quality.records import Figure, geometric_mean, mean, share

_LIKENESS = 200  # prompts whose revisions are held against each other


class Chains:
    """Counts of edits, verdicts, findings and lengths, of one trace after the other.

    Violations are counted in the final texts that became SFT rows.
    """

    def __init__(self) -> None:
        self._chains = self._changed = self._edits = self._edits_of_nothing = 0
        self._verdicts = self._unsure = self._assessed = self._violating = 0
        self._distances, self._growth = array("d"), array("d")
        self._removed: Counter[str] = Counter()
        self._violations: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._coverage: dict[str, Counter[str]] = {}
        self._licences: Counter[str] = Counter()
        self._before, self._after = Sample(_LIKENESS), Sample(_LIKENESS)

    def add(self, trace: Mapping[str, Any]) -> None:
        """Count a trace."""
        self._licences[trace.get("licence") or "not given"] += 1
        if trace.get("final") is None:
            return
        self._chains += 1
        steps = trace.get("steps") or ()
        text = trace["response"]
        for step in steps:
            text = self._add_step(step, text, trace)
        changed = trace["final"] != trace["response"]
        self._changed += changed
        self._distances.append(trace["edit_distance"] or 0.0)
        if changed:
            before, after = len(words(trace["response"])), len(words(trace["final"]))
            self._growth.append(math.log(max(1, after) / max(1, before)))
            self._before.add(trace["id"], trace["response"])
            self._after.add(trace["id"], trace["final"])
        assessments = trace.get("assessments") or ()
        if assessments and trace.get("not_in_sft") is None:
            self._assessed += 1
            self._violating += bool(trace.get("violations"))
            self._asked.update(a["principle_id"] for a in assessments)
            self._violations.update(trace.get("violations") or ())

    def _add_step(self, step: Mapping[str, Any], text: str, trace: Mapping[str, Any]) -> str:
        """Count a round; the text after it."""
        self._removed.update(step["removed"] or ())
        counts = self._coverage.setdefault(step["principle_id"], Counter())
        counts["draws"] += 1
        counts[f"kind {trace['prompt_kind']}"] += 1
        counts.update(f"topic {tag}" for tag in trace.get("tags") or ())
        p_change, revision = step.get("p_change"), step["revision"]
        edited = revision is not None and revision != text
        counts["edits"] += edited
        if p_change is not None:
            self._verdicts += 1
            counts["verdicts"] += 1
            counts["faults"] += p_change > 0.5
            self._unsure += abs(2 * p_change - 1) <= (step.get("order_gap") or 0.0)
            self._edits += edited
            self._edits_of_nothing += edited and p_change <= 0.5
        return text if revision is None else str(revision)

    def figures(self) -> dict[str, Figure]:
        """The figures of all chains; those of `churn` are of edits after a verdict."""
        figures = {
            "changed_share": share(self._changed, self._chains),
            "churn_share": share(self._edits_of_nothing, self._edits),
            "unsure_verdict_share": share(self._unsure, self._verdicts),
            "edit_distance": mean(self._distances),
            "length_ratio_revision": geometric_mean(self._growth),
            "violation_share": share(self._violating, self._assessed),
        }
        for name, kept in (("response", self._before), ("revision", self._after)):
            scores = self_bleu([texts[0] for texts in kept.answers])
            figures[f"{name}_self_bleu"] = mean(scores)
        return figures

    def details(self) -> dict[str, Any]:
        return {
            "cut_from_revisions": dict(self._removed.most_common()),
            "violations_by_principle": {
                name: share(self._violations[name], n).model_dump()
                for name, n in sorted(self._asked.items())
            },
            "principle_coverage": {
                name: _coverage(counts) for name, counts in sorted(self._coverage.items())
            },
            "licences": dict(self._licences.most_common()),
        }


def _coverage(counts: Counter[str]) -> dict[str, Any]:
    def under(start: str) -> dict[str, int]:
        own = {k.removeprefix(start): n for k, n in counts.items() if k.startswith(start)}
        return dict(sorted(own.items()))

    return {
        "draws": counts["draws"],
        "edits": counts["edits"],
        "faults": share(counts["faults"], counts["verdicts"]).model_dump(),
        "by_kind": under("kind "),
        "by_topic": under("topic "),
    }


def failures_by_stage(failures: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many rows failed, by stage and reason."""
    counts: dict[str, Counter[str]] = {}
    for failure in failures:
        counts.setdefault(failure["stage"], Counter())[failure["error"]] += 1
    return {stage: dict(own.most_common()) for stage, own in sorted(counts.items())}
