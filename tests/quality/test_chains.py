"""What revisions changed, counted over traces written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from cai.quality.chains import Chains, failures_by_stage


def step(principle: str, revision: str | None, p_change: float | None, gap: float = 0.1) -> Any:
    return {
        "principle_id": principle,
        "p_change": p_change,
        "order_gap": gap,
        "revision": revision,
        "removed": [],
    }


def trace(name: str, response: str, steps: list[Any], **more: Any) -> dict[str, Any]:
    final = next((s["revision"] for s in reversed(steps) if s["revision"]), response)
    return {
        "id": name,
        "prompt_kind": "red-team",
        "tags": ["fraud"],
        "response": response,
        "steps": steps,
        "final": final,
        "edit_distance": 0.0 if final == response else 0.5,
        **more,
    }


def test_edits_where_nothing_was_found_are_churn() -> None:
    chains = Chains()
    chains.add(trace("a", "one two", [step("kind", "one two three four", 0.9)]))
    chains.add(trace("b", "one two", [step("kind", "one", 0.2, gap=0.7)]))
    chains.add(trace("c", "one two", [step("kind", None, 0.1)]))
    chains.add(trace("d", "one two", [step("kind", "one two", 0.3, gap=0.9)]))  # as it was
    figures = chains.figures()
    assert (figures["churn_share"].value, figures["churn_share"].n) == (0.5, 2)
    assert figures["changed_share"].value == 0.5
    assert figures["unsure_verdict_share"].value == 0.5  # b and d
    assert figures["length_ratio_revision"].value == pytest.approx((2 * 0.5) ** 0.5)
    [coverage] = chains.details()["principle_coverage"].values()
    assert (coverage["draws"], coverage["edits"]) == (4, 2)
    assert coverage["by_kind"] == {"red-team": 4}
    assert coverage["by_topic"] == {"fraud": 4}
    assert coverage["faults"]["value"] == 0.25


def test_violations_are_those_of_rows_that_are_learnt() -> None:
    chains = Chains()
    assessed = [{"principle_id": "kind"}, {"principle_id": "honest"}]
    learnt = {"assessments": assessed, "violations": ["kind"], "not_in_sft": None}
    chains.add(trace("a", "one", [], **learnt))
    chains.add(trace("b", "one", [], assessments=assessed, violations=[], not_in_sft=None))
    chains.add(trace("c", "one", [], **{**learnt, "not_in_sft": "violates"}))
    assert chains.figures()["violation_share"].value == 0.5
    by_principle = chains.details()["violations_by_principle"]
    assert {name: figure["value"] for name, figure in by_principle.items()} == {
        "honest": 0,
        "kind": 0.5,
    }


def test_failures_by_stage_and_reason() -> None:
    failures = [
        {"stage": "respond", "error": "too_long"},
        {"stage": "judge", "error": "label_mass"},
        {"stage": "judge", "error": "label_mass"},
        {"stage": "judge", "error": "refused"},
    ]
    assert failures_by_stage(failures) == {
        "judge": {"label_mass": 2, "refused": 1},
        "respond": {"too_long": 1},
    }
