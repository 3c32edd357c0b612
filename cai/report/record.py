"""What a page holds of a row: all of its chain, or what is published of it alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cai.report.facts import Facts, main_failure, why_not
from cai.report.rows import Item

Marks = Sequence[tuple[str, str]]


def whole(item: Item, marks: Marks) -> dict[str, Any]:
    """The trace with its split, its failures and the gates that name it."""
    return {
        **{key: value for key, value in item.trace.items() if value is not None},
        "not_in_sft": why_not(item.trace),
        "split": item.split,
        "failures": item.failures,
        "gates": list(marks),
        **({"other": item.other} if item.other is not None else {}),
    }


def published(item: Item, marks: Marks, *, sft: bool) -> dict[str, Any]:
    """What the datasets without traces have of a row: texts to learn from, and no other text.

    No first answer, critique, rejected text or finding is in it, and of what failed no text at all.
    """
    trace = item.trace
    data: dict[str, Any] = {
        "id": item.id,
        "prompt_kind": trace.get("prompt_kind"),
        "split": item.split,
        "gates": [(name, "") for name, _ in marks],
        "not_in_sft": why_not(trace) if not item.failed else None,
    }
    if item.failed:
        failure = main_failure(item)
        data["failures"] = [{"stage": failure["stage"], "error": failure["error"]}]
        return data
    chosen = [_chosen(pair) for pair in trace.get("pairs") or () if _is_row(pair)]
    in_sft = sft and trace.get("response") is not None and data["not_in_sft"] is None
    if in_sft:
        data |= {"final": trace["final"], "target": trace["target"]}
    if in_sft or chosen:
        data |= {"prompt": trace["prompt"], "chosen": chosen}
    return data


def published_facts(known: Facts, data: dict[str, Any]) -> Facts:
    """What the list knows of a row, without the beginning of a prompt that is not published."""
    return known if "prompt" in data else known._replace(prompt="")


def _is_row(pair: dict[str, Any]) -> bool:
    return pair["p_a"] is not None and pair["dropped"] is None


def _chosen(pair: dict[str, Any]) -> dict[str, Any]:
    p_a = pair["p_a"]
    text = pair["response_a" if p_a > 0.5 else "response_b"]
    return {"source": pair["source"], "text": text, "probability": max(p_a, 1 - p_a)}
