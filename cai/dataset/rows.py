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
from cai.review import DROPPED


def edit_distance(before: str, after: str, *, method_version: int = 2) -> float:
    """Levenshtein distance over the longer length: 0 the same, 1 all new.

    It counts words, and characters where words are not spaced; in method version 1 words alone.
    """
    if method_version == 1:
        return float(Levenshtein.normalized_distance(before.split(), after.split()))
    return float(Levenshtein.normalized_distance(pieces(before), pieces(after)))


def target_of(chain: RevisionChain, *, guided: bool = False) -> str:
    """What the final text is.

    A `revision`, `unchanged` after a look, the plain `response`, or one that was `guided` by the
    constitution in view.
    """
    if any(step.revision is not None for step in chain.steps) and chain.final != chain.response:
        return "revision"
    if guided:
        return "guided"
    return "unchanged" if chain.steps else "response"


def violations_of(row: Row) -> list[str] | None:
    """The principles that the final text was found to break; None where it was not assessed."""
    if not row.assessments:
        return None
    return [a.principle_id for a in row.assessments if a.violates]


def why_not_sft(row: Row, method: Method) -> str | None:
    """Why a chain is no SFT row, or None where it is one.

    `dropped by review`: a person flagged it. `judged worse`: a usable judge finds the revision
    worse than the first answer. `breaks a rule`: a program does. `violates`: a usable assessor
    finds that it breaks a principle. `not cleared`: the prompt may ask for harm, no model that
    looks for faults has revised the answer, and none that was measured has cleared it.
    """
    chain = row.chain
    if chain is None:
        return None
    if row.prompt.id in method.dropped:
        return DROPPED
    if row.verified(method.judge.usable) is False:
        return "judged worse"
    if method.version == 1:
        return None
    if method.broken(row.prompt, chain.final):
        return "breaks a rule"
    if method.critic.usable and violations_of(row):
        return "violates"
    if not row.prompt.may_ask_for_harm or _mended(chain) or _cleared(row, method):
        return None
    return "not cleared"


def _mended(chain: RevisionChain) -> bool:
    """Whether a principle in words has changed the answer."""
    kept = [step for step in chain.steps if step.revision is not None]
    changes = zip(kept, chain.texts, strict=False)  # each with the text before it
    return any(not step.findings and step.revision != text for step, text in changes)


def _cleared(row: Row, method: Method) -> bool:
    """Whether everything that was asked of the final text clears it, by whoever may say so."""
    most = method.settings.max_p_change
    by_model = {p.id for p in method.constitution.for_assessment(row.prompt)}
    clear = [
        a.cleared(most) and (a.method == "check" or bool(method.critic.usable))
        for a in row.assessments
    ]
    asked = {a.principle_id for a in row.assessments}
    return bool(clear) and all(clear) and (not by_model or bool(by_model & asked))


def sft_rows(row: Row, method: Method) -> Iterator[dict[str, Any]]:
    """The training rows of a row: its final text, or each of its revisions.

    A revision that leaves the text as it was is no row of its own. What `why_not_sft` names gives
    none of its texts.
    """
    chain = row.chain
    if chain is None or "sft" not in method.settings.stages:
        return
    texts, target = chain.texts, target_of(chain, guided=method.settings.guided)
    last = len(texts) - 1
    numbers = [last]
    if method.settings.sft_steps == "all" and target == "revision":
        numbers = [n for n in range(1, last + 1) if texts[n] != texts[n - 1]]
    revised = [step for step in chain.steps if step.revision is not None]
    verified, why_not = row.verified(method.judge.usable), why_not_sft(row, method)
    for number in numbers:
        final = number == numbers[-1]
        if why_not is not None and (final or method.version >= 2):
            continue
        if not final and method.version >= 2 and method.broken(row.prompt, texts[number]):
            continue
        steps = revised[:number] or chain.steps
        yield {
            "id": chain.prompt.id if final else f"{chain.prompt.id}#{number}",
            "prompt": messages_as_data(chain.prompt.messages),
            "completion": _answer(texts[number]),
            "target": target,
            "step": number,
            "principle_ids": [name for step in steps for name in step.principle_ids],
            "verified": verified if final else None,
            "violations": violations_of(row) if final else None,
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
    if pair.comparison.prompt.id in method.dropped:
        return DROPPED
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
            "calibrated": method.settings.judge_calibration is not None,
            "cot": method.settings.cot,
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
        **(_chain_columns(row.chain, method) if row.chain is not None else {}),
        "verified": row.verified(method.judge.usable),
        "assessments": [a.model_dump() for a in row.assessments],
        "violations": violations_of(row),
        "not_in_sft": why_not_sft(row, method),
        "pairs": [_pair_data(pair, method) for pair in row.pairs],
    }


def _chain_columns(chain: RevisionChain, method: Method) -> dict[str, Any]:
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
                "edit_distance": edit_distance(text, after, method_version=method.version),
                "findings": [f.model_dump() for f in step.findings],
            }
        )
        text = after
    return {
        "response": chain.response,
        "steps": steps,
        "final": chain.final,
        "target": target_of(chain, guided=method.settings.guided),
        "edit_distance": edit_distance(chain.response, chain.final, method_version=method.version),
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
