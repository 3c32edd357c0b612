"""Journal → sft, preferences and traces: rows, splits, and files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rapidfuzz.distance import Levenshtein

from cai.calibration import tempered
from cai.cleaning.units import pieces
from cai.method import Method
from cai.records import (
    Pair,
    PreferenceLabel,
    RevisionChain,
    Row,
    messages_as_data,
)


def edit_distance(before: str, after: str) -> float:
    """Levenshtein distance over the longer length: 0 the same, 1 all new.

    It counts words, and characters where words are not spaced.
    """
    return float(Levenshtein.normalized_distance(pieces(before), pieces(after)))


def target_of(chain: RevisionChain) -> str:
    """What the final text is: a `revision`, `unchanged` after a look, or the plain `response`."""
    if not chain.steps:
        return "response"
    return "unchanged" if chain.final == chain.response else "revision"


def sft_rows(row: Row, method: Method) -> Iterator[dict[str, Any]]:
    """The training rows of a row: its final text, or each of its revisions.

    A revision that leaves the text as it was is no row of its own, and a final revision that a
    usable judge finds worse than the first answer is none either.
    """
    chain = row.chain
    if chain is None or "sft" not in method.settings.stages:
        return
    texts, target = chain.texts, target_of(chain)
    last = len(texts) - 1
    numbers = [last]
    if method.settings.sft_steps == "all" and target == "revision":
        numbers = [n for n in range(1, last + 1) if texts[n] != texts[n - 1]]
    verified = row.verified(method.judge.usable)
    for number in numbers:
        final = number == numbers[-1]
        if final and verified is False:
            continue
        principles = [s.principle_id for s in chain.steps[: max(number, 1)]]
        yield {
            "id": chain.prompt.id if final else f"{chain.prompt.id}#{number}",
            "prompt": messages_as_data(chain.prompt.messages),
            "completion": _answer(texts[number]),
            "target": target,
            "step": number,
            "principle_ids": principles,
            "verified": verified if final else None,
            "prompt_kind": chain.prompt.kind,
        }


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def chosen_probability(label: PreferenceLabel, temperature: float = 1.0) -> float:
    """The probability of the preferred answer, at the temperature of a calibration."""
    return tempered(max(label.p_a, label.swap().p_a), temperature)


def why_dropped(pair: Pair, method: Method) -> str | None:
    """Why a pair is no row of `preferences`: it is none, inconsistent, or below the margin."""
    if pair.label is None:
        return pair.dropped
    if not pair.label.consistent:
        return "inconsistent"
    probability = chosen_probability(pair.label, method.judge.temperature)
    # Far from 1 a temperature can leave no margin at all.
    if probability <= 0.5 or 2 * probability - 1 < method.settings.min_margin:
        return "margin"
    return None


def preference_rows(row: Row, method: Method, judge: str) -> Iterator[dict[str, Any]]:
    """The consistent labels of a row, the preferred answer as `chosen`."""
    for pair in row.pairs:
        label = pair.label
        if label is None or why_dropped(pair, method) is not None:
            continue
        yield {
            "id": f"{row.prompt.id}#{pair.source}",
            "prompt": messages_as_data(row.prompt.messages),
            "chosen": _answer(label.chosen),
            "rejected": _answer(label.rejected),
            "chosen_probability": chosen_probability(label, method.judge.temperature),
            "pair_source": pair.source,
            "order_gap": label.order_gap,
            "label_mass": label.label_mass,
            "principle_ids": [j.principle_id for j in label.judgements],
            "judge": judge,
            "prompt_kind": row.prompt.kind,
        }


def trace_row(row: Row, method: Method) -> dict[str, Any] | None:
    """Everything a row went through; None where nothing came of it."""
    if row.chain is None and not row.pairs:
        return None
    prompt = row.prompt
    return {
        "id": prompt.id,
        "prompt": messages_as_data(prompt.messages),
        "prompt_kind": prompt.kind,
        "group": prompt.group,
        "source": prompt.source,
        "licence": prompt.licence,
        "tags": list(prompt.tags),
        **(_chain_columns(row.chain) if row.chain is not None else {}),
        "verified": row.verified(method.judge.usable),
        "pairs": [_pair_data(pair, method) for pair in row.pairs],
    }


def _chain_columns(chain: RevisionChain) -> dict[str, Any]:
    steps, text = [], chain.response
    for number, step in enumerate(chain.steps, 1):
        after = text if step.revision is None else step.revision
        verdict = step.verdict.model_dump() if step.verdict else {}
        steps.append(
            {
                "step": number,
                "principle_id": step.principle_id,
                "critique": step.critique,
                **verdict,
                "revision": step.revision,
                "removed": list(step.removed),
                "edit_distance": edit_distance(text, after),
            }
        )
        text = after
    return {
        "response": chain.response,
        "steps": steps,
        "final": chain.final,
        "target": target_of(chain),
        "edit_distance": edit_distance(chain.response, chain.final),
    }


def _pair_data(pair: Pair, method: Method) -> dict[str, Any]:
    label = pair.label
    scores = {}
    if label is not None:
        scores = {
            "p_a": label.p_a,
            "order_gap": label.order_gap,
            "label_mass": label.label_mass,
            "judgements": [j.model_dump() for j in label.judgements],
        }
    return {
        "source": pair.source,
        "response_a": pair.comparison.response_a,
        "response_b": pair.comparison.response_b,
        **scores,
        "dropped": why_dropped(pair, method),
    }
