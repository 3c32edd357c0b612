"""An evaluation in the card of the model that was evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cai.errors import CaiError
from cai.evaluate.glossary import meaning
from cai.evaluate.records import Measure
from cai.evaluate.scorecard import EVALUATION, Card, cautions, names_by_subject
from cai.evaluate.wording import with_interval
from cai.markdown import plain


def evaluation_of(folder: Path) -> Card | None:
    """The evaluation that a model's folder holds; None where nobody evaluated it.

    Raises:
        CaiError: It is damaged.
    """
    path = folder / EVALUATION
    if not path.is_file():
        return None
    try:
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = str(error).splitlines()[0]
        raise CaiError(f"{path}: {first}", "Run cai evaluate again, or take it away.") from None


def section(card: Card) -> str:
    """The evaluation in Markdown: measures, gates, who judged, what to know of the figures."""
    facts = card.evaluation
    compared = facts.baseline is not None
    head = ["measure", "n", "value (95 %)"]
    head += ["baseline", "difference (95 %)"] if compared else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for names in names_by_subject(list(card.measures)).values():
        for name in names:
            if card.measures[name].value is not None:
                cells = _cells(name, card.measures[name], compared=compared)
                lines.append(f"| {' | '.join(cells)} |")
    suites = ", ".join(f"{plain(s.name)} ({s.prompts:,} prompts)" for s in facts.suites)
    judge = f"Judge: {plain(facts.judge.name)}." if facts.judge else "No judge."
    other = f", against {plain(facts.baseline.name)} on the same prompts" if facts.baseline else ""
    about = [f"Suites: {suites}{other}. {judge} {_drawn(card)}", "\n".join(lines)]
    if facts.judge:
        about.append("\\* by the judge")
    if facts.gates:
        gates = [f"- {gate.verdict}: {plain(gate.words, 500)}" for gate in facts.gates]
        about.append("\n".join(gates))
    if told := [f"- {plain(words, 500)}" for words in cautions(card)]:
        about.append("\n".join(told))
    return "\n\n".join(["## Evaluation", *about])


def _drawn(card: Card) -> str:
    """By which rules and how the answers were drawn."""
    facts = card.evaluation
    rules = f"Principles: {plain(facts.constitution.get('name', ''))}."
    if facts.recorded:
        return f"{rules} The answers were recorded."
    temperature = "greedy" if not facts.temperature else f"at temperature {facts.temperature:g}"
    several = f"{facts.samples:,} answers to each prompt, " if facts.samples > 1 else "Answers "
    drawn = f"{several}{temperature}, at most {facts.max_tokens:,} tokens."
    system = f"System prompt: {plain(facts.system, 500)}" if facts.system else "No system prompt."
    return f"{rules} {drawn} {system}"


def _cells(name: str, m: Measure, *, compared: bool) -> Iterator[str]:
    yield plain(name) + ("\\*" if m.judge is not None else "")
    yield f"{m.n:,}" + (f" ({m.unscored:,} unscored)" if m.unscored else "")
    rate = m.corrected
    shown = _interval(name, m.value, m.low, m.high)
    if rate is not None:
        found = _interval(name, rate.value, rate.low, rate.high)
        shown += f"; without the judge's measured errors {found}"
    yield shown
    if compared:
        yield _value(name, m.baseline)
        yield _interval(name, m.difference, m.difference_low, m.difference_high)


def _interval(name: str, value: float | None, low: float | None, high: float | None) -> str:
    return with_interval(value, low, high, lambda x: _value(name, x))


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value + 0.0:.1f} %" if meaning(name).percent else f"{value:.3f}"


def model_index(card: Card, name: str) -> list[dict[str, Any]]:
    """The measures as the Hub's model-index has them.

    Its newer `.eval_results` are for benchmarks that the Hub knows by the name of their dataset,
    which these suites are not.
    """
    suites = ", ".join(suite.name for suite in card.evaluation.suites)
    metrics = [
        {"type": measure, "name": meaning(measure).title, "value": round(m.value, 4)}
        for measure, m in card.measures.items()
        if m.value is not None
    ]
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"name": f"cai evaluate: {suites}", "type": "cai-evaluate"},
        "metrics": metrics,
    }
    return [{"name": name, "results": [result]}] if metrics else []
