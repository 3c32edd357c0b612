"""What the list of rows knows of each row: what it is filtered, sorted and found by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cai.cleaning.units import pieces
from cai.records import mean_p
from cai.report.rows import Item

START = 140  # characters of a prompt that the list shows and that are searched at once
NO_FATE = {"guided": "answered with the constitution in view", "response": "first answer"}
SURPRISE = (
    "How unexpected a row is, from 0 to 1. It is the largest of three numbers: how far the judge's "
    "two orders are apart; how sure the judge is that the answer without the constitution is the "
    "better one; and how much a revision changed although the critic did not clearly ask for it "
    "(the share that was changed, times one minus the probability that a change is needed)."
)


class Facts(NamedTuple):
    """A row in the list. `edit`, `margin` and `surprise` are in [0, 1], or None."""

    prompt: str
    kind: str
    split: str
    outcome: str
    verdicts: tuple[str, ...]
    principles: tuple[str, ...]
    violations: tuple[str, ...]
    length: int
    edit: float | None
    margin: float | None
    surprise: float


def facts(item: Item, *, sft: bool) -> Facts:
    """What the list knows of a row; `sft` says whether the run makes such rows."""
    trace = item.trace
    steps, pairs = trace.get("steps") or [], trace.get("pairs") or []
    judged = (j["principle_id"] for p in pairs for j in p["judgements"] or ())
    found = (f["principle_id"] for s in steps for f in s.get("findings") or ())
    names = dict.fromkeys([*(s["principle_id"] for s in steps), *found, *judged])
    margins = [abs(2 * p["p_a"] - 1) for p in pairs if p["p_a"] is not None]
    return Facts(
        prompt=beginning(trace.get("prompt") or []),
        kind=trace.get("prompt_kind") or "not known",
        split=item.split or "none",
        outcome=outcome(item, sft=sft),
        verdicts=tuple(dict.fromkeys(map(verdict, steps))) or ("no round",),
        principles=tuple(names),
        violations=violations(trace),
        length=len(pieces(trace.get("final") or "")),
        edit=trace.get("edit_distance"),
        margin=min(margins, default=None),
        surprise=max((0.0, *_surprises(steps, pairs))),
    )


def beginning(messages: list[dict[str, str]]) -> str:
    """The beginning of the last turn of a prompt, on one line."""
    text = messages[-1]["content"] if messages else ""
    return " ".join(text[: 4 * START].split())[:START]


def change(trace: dict[str, Any]) -> str:
    """What became of the first answer, in words."""
    target = trace.get("target")
    if trace.get("response") is None:
        return "no chain"
    return NO_FATE.get(target or "", {"revision": "revised"}.get(target or "", str(target)))


def why_not(trace: dict[str, Any]) -> str | None:
    """Why a chain is no row of `sft`; version 0.1.0 told it by `verified` alone."""
    if trace.get("not_in_sft"):
        return str(trace["not_in_sft"])
    return "judged worse" if trace.get("verified") is False else None


def outcome(item: Item, *, sft: bool) -> str:
    """Where a prompt ended: in `sft`, out of it for a reason, or failed for one."""
    if chain_failed(item):
        return f"failed: {main_failure(item)['error']}"
    if item.trace.get("response") is None:
        return "no chain"
    if not sft:
        return change(item.trace)
    reason = why_not(item.trace)
    return f"not in sft: {reason}" if reason else f"in sft: {change(item.trace)}"


def chain_failed(item: Item) -> bool:
    """Whether a prompt gave no row, or only pairs, as something failed."""
    return item.failed or (item.trace.get("response") is None and bool(_whole_failures(item)))


def _whole_failures(item: Item) -> list[dict[str, Any]]:
    return [f for f in item.failures if f.get("pair") is None and f.get("stage") != "assess"]


def main_failure(item: Item) -> dict[str, Any]:
    """The failure that left a prompt without a row."""
    first: dict[str, Any] = {"stage": "unknown", "error": "unknown"}
    return {**first, **(_whole_failures(item) or item.failures or [first])[0]}


def verdict(step: dict[str, Any]) -> str:
    """What the critic said of a round."""
    p, gap = step["p_change"], step["order_gap"]
    if step.get("findings"):
        return "a rule was broken"
    if p is None:
        return "no verdict asked"
    if abs(2 * p - 1) <= (gap or 0.0):
        return "orders disagree"
    return "change needed" if p > 0.5 else "no change needed"


def violations(trace: dict[str, Any]) -> tuple[str, ...]:
    """The principles that the final text was found to break."""
    if trace.get("violations") is None:
        return ("not looked at",)
    return tuple(trace["violations"]) or ("none",)


def _surprises(steps: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> Iterator[float]:
    for pair in pairs:
        if pair["p_a"] is None:
            continue
        yield pair["order_gap"] or 0.0
        if pair["source"] in ("revision", "guided"):
            yield 2 * max(pair["p_a"] - 0.5, 0.0)
    for step in steps:
        if step["revision"] is not None and step["p_change"] is not None:
            yield (step["edit_distance"] or 0.0) * (1 - step["p_change"])


def judged(pair: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Each principle of a label: its probability of response_a, and how far its orders differ."""
    return [
        (j["principle_id"], mean_p(j["q_ab"], j["q_ba"]), abs(j["q_ab"] + j["q_ba"] - 1))
        for j in pair["judgements"] or ()
    ]
