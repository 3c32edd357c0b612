"""How often the model's answer helps more than the baseline's."""

from __future__ import annotations

from cai import comparison, statistics
from cai.comparison import JudgeErrors
from cai.evaluate.correction import LEAST_DECIDED
from cai.evaluate.figures import Column, measured
from cai.evaluate.length_control import length_controlled, length_controlled_interval
from cai.evaluate.records import Measure, Rate
from cai.evaluate.results import NAME_A_JUDGE, Results


def helpfulness(results: Results) -> dict[str, Measure]:
    """The win rate at equal length and the raw one; nothing where no prompt asks for help."""
    chosen = [n for n, task in enumerate(results.tasks) if task.item.score == "helpful"]
    if not chosen:
        return {}
    clusters = [results.tasks[n].cluster for n in chosen]
    asked = [results.preferences.get(n, ()) for n in chosen]
    found = [[p for p in of if p is not None] for of in asked]
    raw = measured(Column([[p.win for p in of] for of in found], None, clusters), seed=results.seed)
    by_judge = sum(p.by == "judge" for of in found for p in of)
    waiting = sum(p is None for of in asked for p in of or [None])
    if by_judge < LEAST_DECIDED * (by_judge + waiting):
        why = NAME_A_JUDGE
        if results.judge is not None:
            why = f"the judge decided {by_judge:,} of {by_judge + waiting:,} others"
        note = f"{raw.n:,} of {len(chosen):,} are told, most of them by a program; {why}"
        raw = Measure(unscored=len(chosen), note=note)
        return {"helpfulness_win_rate": raw, "helpfulness_win_rate_raw": raw}
    if by_judge and results.judge is not None:
        checked = results.judge.accuracy is not None
        about = {"judge_checked": checked, "judge_verdict": results.judge.comparisons}
        raw = raw.model_copy(update={"judge": results.judge.name, **about})
    flat = [(p, c, 1 / len(of)) for of, c in zip(found, clusters, strict=True) for p in of]
    wins, longer = [p.win for p, _, _ in flat], [p.longer for p, _, _ in flat]
    names, weights = [c for _, c, _ in flat], [w for _, _, w in flat]
    value = length_controlled(wins, longer, weights)
    low, high = length_controlled_interval(wins, longer, names, weights, seed=results.seed)
    independent = len(set(names))
    least, most = statistics.wilson(value * independent, independent)
    controlled = raw.model_copy(
        update={"value": value, "low": min(low, least), "high": max(high, most), "spread": None}
    )
    # What a program decided has no judge's errors, so a mixture is not corrected.
    if all(p.by == "judge" for p, _, _ in flat):
        update = _without_errors(controlled, independent, results)
        controlled = controlled.model_copy(update=update)
    return {"helpfulness_win_rate": controlled, "helpfulness_win_rate_raw": raw}


def _without_errors(
    measure: Measure, independent: int, results: Results
) -> dict[str, Rate | str | None]:
    """The win rate behind one that a judge gave who is right in some share of pairs.

    Both orders are asked, so it is as often right about the model as about the baseline.
    """
    if results.judge is None or results.judge.accuracy is None:
        return {}
    assert measure.value is not None
    share, pairs = results.judge.accuracy
    half = max(1, pairs // 2)
    errors = JudgeErrors(round(share * half), half, round(share * half), half)
    won = measure.value * independent
    found = comparison.corrected_rate(won, independent, errors, seed=results.seed)
    if found is None:
        return {"note": "by its check this judge is no better than chance"}
    return {"corrected": Rate(value=found.value, low=found.low, high=found.high)}
