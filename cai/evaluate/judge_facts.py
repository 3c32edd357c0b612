"""What checks on this machine say of a judge: is it usable, and how often is it wrong."""

from __future__ import annotations

from cai.checks import critic_results, results
from cai.comparison import JudgeErrors
from cai.engines.naming import display_name
from cai.evaluate.results import Judge
from cai.evaluate.scorecard import JudgeFacts
from cai.method import Method


def facts_of(name: str, identity: str, method: Method) -> tuple[JudgeFacts, Judge]:
    """What is stored here of checks of this judge."""
    critic = critic_results.stored(critic_results.critic_key("assessment", method, identity))
    judge = results.stored(results.judge_key(method, identity))
    figures = critic.of("assessment") if critic is not None else None
    facts = JudgeFacts(
        name=display_name(name),
        identity=identity,
        assessments=figures.verdict if figures else None,
        assessments_words=figures.words if figures else None,
        comparisons=judge.verdict if judge else None,
        comparisons_words=judge.words if judge else None,
    )
    accuracy = None
    if judge is not None and judge.accuracy is not None:
        accuracy = (judge.accuracy, judge.scored)
    errors = errors_of(figures) if figures is not None else None
    return facts, Judge(facts.name, errors, accuracy, facts.assessments, facts.comparisons)


def errors_of(figures: critic_results.CriticFigures) -> JudgeErrors | None:
    """Sensitivity and specificity of assessments, over the cases that the critic decided.

    A check gives accuracies in which an undecided case counts a half, and the shares that both
    orders get wrong. With h right, m wrong and u undecided, h + m + u = 1, the accuracy is
    h + u / 2, so h = 2 accuracy - 1 + m.

    Returns:
        None where it decided nothing on one of the two sides.
    """
    counts = []
    for part, wrong in ((figures.violates, figures.missed), (figures.fine, figures.false_alarms)):
        scored = part.cases - part.unscored
        if part.accuracy is None or wrong is None or not scored:
            return None
        right = 2 * part.accuracy - 1 + wrong
        counts += [round(right * scored), round((right + wrong) * scored)]
    if not counts[1] or not counts[3]:
        return None
    return JudgeErrors(*counts)
