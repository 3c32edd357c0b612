"""Figures against thresholds: what keeps them, what does not, and what to do about it.

A share fails where even the low end of its interval is above the threshold, so a row or two of a
small dataset fail nothing; where nothing is allowed (0), one row does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cai.quality.records import Figure, Gate, GateRow
from cai.quality.settings import Thresholds


class _Rule(NamedTuple):
    """A gate: figure, threshold, the mark of its rows, what it says, what to do.

    Attributes:
        name: Of the gate.
        figure: That is held against the threshold.
        limit: The threshold's setting.
        mark: Of the rows that are concerned.
        what: What the figure is a share of, in words.
        advice: What to do.
    """

    name: str
    figure: str
    limit: str
    mark: str
    what: str
    advice: str


_FIX = "cai quality RUN --fix --out DIR"
_RULES = (
    _Rule(
        "boilerplate",
        "boilerplate_share",
        "max_boilerplate",
        "boilerplate",
        "of the answers hold a phrase that recurs in at least 15 % of them",
        f"Cap the rows with one phrase ({_FIX}), or ask for other revisions in the constitution.",
    ),
    _Rule(
        "over-refusal",
        "over_refusal_share",
        "max_over_refusal",
        "over_refusal",
        "of the answers to helpful and borderline prompts decline, in full or in part",
        "Add a principle against declining what is harmless, or drop these rows "
        f"({_FIX}); a model learns to decline from them.",
    ),
    _Rule(
        "incoherent",
        "incoherent_share",
        "max_incoherent",
        "incoherent",
        "of the answers are no text: empty, babble, or stuck",
        f"Drop them ({_FIX}); lower the temperature, or use a larger model.",
    ),
    _Rule(
        "repetition",
        "repetition_share",
        "max_repetition",
        "repetition",
        "of the answers are stuck in a loop",
        f"Drop them ({_FIX}); lower the temperature, or use a larger model.",
    ),
    _Rule(
        "near-duplicates",
        "near_duplicate_share",
        "max_near_duplicates",
        "near_duplicate",
        "of the answers nearly repeat an earlier one",
        f"Drop them ({_FIX}), or use more varied prompts.",
    ),
    _Rule(
        "leak",
        "leak_share",
        "max_leak",
        "leak",
        "of the test rows have a near-duplicate among the train rows",
        f"Drop the train rows that are like them ({_FIX}), or give both prompts one `group`.",
    ),
    _Rule(
        "contamination",
        "contaminated_share",
        "max_leak",
        "contaminated",
        "of the rows stand in an evaluation set",
        f"Drop them ({_FIX}, with the same --against): what was trained on measures nothing.",
    ),
    _Rule(
        "leftovers",
        "leftover_share",
        "max_leftovers",
        "leftover",
        "of the answers speak of their own revision or begin with an announcement",
        f"Drop them ({_FIX}), and check the reviser's template.",
    ),
    _Rule(
        "control tokens",
        "control_token_share",
        "max_control_tokens",
        "control_token",
        "of the answers hold tokens or turns of a chat template",
        f"Drop them ({_FIX}); start the server with the model's own template.",
    ),
    _Rule(
        "personal data",
        "personal_data_share",
        "max_personal_data",
        "personal_data",
        "of the rows hold an address, a number or a key of somebody",
        f"Look at them, and drop those that are real ({_FIX}).",
    ),
    _Rule(
        "sycophancy",
        "sycophancy_share",
        "max_sycophancy",
        "sycophantic",
        "of the answers open with praise",
        "Add a principle against it.",
    ),
    _Rule(
        "closers",
        "closer_share",
        "max_closers",
        "closer",
        "of the answers close with an offer of more help",
        "Add a principle against it; a model that learns it ends every answer so.",
    ),
    *(
        _Rule(
            f"{name} drift",
            f"{name}_drift",
            "max_drift",
            name,
            f"more of the last third of the rows {what} than of the rows before",
            "Look at the last rows: a model that trains on its own answers collapses this way.",
        )
        for name, what in (
            ("emoji", "have emojis"),
            ("closer", "close with an offer of more help"),
            ("repetition", "are stuck in a loop"),
        )
    ),
    _Rule(
        "churn",
        "churn_share",
        "max_churn",
        "",
        "of the edits after a verdict changed an answer in which nothing was found",
        "Use a better critic (cai check critic), or fewer revisions.",
    ),
    _Rule(
        "violations",
        "violation_share",
        "max_violations",
        "violation",
        "of the assessed final texts break a principle",
        "Use more revisions or a better reviser; cai show RUN ID has the chain.",
    ),
)
_WINS = {
    "apology": "opens with an apology",
    "first_person": "speaks of itself",
    "markdown": "has lists, headings or bold type",
    "over_refusal": "declines (helpful and borderline prompts)",
}
# Figures of answers; those of a second set of answers stand under `chosen_`.
OF_CHOSEN = "chosen_"


def gates(
    figures: Mapping[str, Figure],
    limits: Thresholds,
    rows: Mapping[str, list[GateRow]],
    counts: Mapping[str, int],
) -> tuple[Gate, ...]:
    """All gates whose figures there are.

    Args:
        figures: By name; figures of a second set of answers with `chosen_` before it.
        limits: The thresholds.
        rows: The rows of each mark (with `chosen_` likewise), the first of them.
        counts: How many rows each mark has.
    """
    found: list[Gate] = []
    for start in ("", OF_CHOSEN):
        for rule in _RULES:
            figure = figures.get(f"{start}{rule.figure}")
            if figure is not None:
                limit = float(getattr(limits, rule.limit))
                gate = _at_most(rule, figure, limit, start)
                mark = f"{start}{rule.mark}"
                named = {"rows": tuple(rows.get(mark, ())), "count": counts.get(mark, 0)}
                found.append(gate.model_copy(update=named if rule.mark else {}))
    found += _of_labels(figures, limits)
    found += _at_least(figures, limits)
    return tuple(
        gate.model_copy(update={"words": "nothing to measure"}) if gate.value is None else gate
        for gate in found
    )


def _at_most(rule: _Rule, figure: Figure, limit: float, start: str) -> Gate:
    whose = "chosen texts: " if start else ""
    return Gate(
        name=f"{whose}{rule.name}",
        measure=f"{start}{rule.figure}",
        value=figure.value,
        limit=limit,
        passed=not above(figure, limit),
        words=f"{figure.value or 0.0:.1%} {rule.what}; at most {limit:.0%} may",
        advice=rule.advice,
    )


def above(figure: Figure, limit: float) -> bool:
    """Whether all of the interval is above the limit; where nothing is allowed, the value."""
    if figure.value is None:
        return False
    low = figure.value if limit == 0 or figure.low is None else figure.low
    return low > limit


def below(figure: Figure, limit: float) -> bool:
    """Whether all of the interval is below the limit."""
    return figure.high is not None and figure.high < limit


def _of_labels(figures: Mapping[str, Figure], limits: Thresholds) -> Iterator[Gate]:
    auc = figures.get("length_auc")
    if auc is not None:
        limit = limits.max_length_auc
        area = auc.value or 0.0
        longer = "the longer" if area >= 0.5 else "the shorter"
        words = f"length alone tells {max(area, 1 - area):.0%} of the labels ({longer} text wins)"
        yield Gate(
            name="length",
            measure="length_auc",
            value=auc.value,
            limit=limit,
            passed=not (above(auc, limit) or below(auc, 1 - limit)),
            words=f"{words}; at most {limit:.0%} may be told so",
            advice="Measure the judge (cai check judge), or use another one.",
        )
    for trait, what in _WINS.items():
        figure = figures.get(f"{trait}_wins_share")
        if figure is not None:
            limit = limits.max_trait_wins
            yield Gate(
                name=f"judge likes {trait.replace('_', ' ')}",
                measure=f"{trait}_wins_share",
                value=figure.value,
                limit=limit,
                passed=not above(figure, limit),
                words=f"where just one of two texts {what}, it wins in "
                f"{figure.value or 0.0:.0%} of {figure.n:,} pairs; at most {limit:.0%} may",
                advice="Measure the judge (cai check judge), or add a principle against it.",
            )


_LEAST: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "consistency",
        "consistent_share",
        "min_consistency",
        "of the labels prefer the same text in both orders",
        "Use a better judge: this one mostly picks by place.",
    ),
    (
        "helpful rows",
        "helpful_share",
        "min_helpful",
        "of the rows have a helpful or borderline prompt",
        "Add helpful prompts (--prompts seeds has some): a model learns to refuse from the rest.",
    ),
)


def _at_least(figures: Mapping[str, Figure], limits: Thresholds) -> Iterator[Gate]:
    for name, measure, key, what, advice in _LEAST:
        figure = figures.get(measure)
        if figure is None:
            continue
        limit = float(getattr(limits, key))
        value = f"{figure.value or 0.0:.1%}"
        yield Gate(
            name=name,
            measure=measure,
            value=figure.value,
            limit=limit,
            passed=not below(figure, limit),
            words=f"{value} {what}; at least {limit:.0%} should",
            advice=advice,
        )
