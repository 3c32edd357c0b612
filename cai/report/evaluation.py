"""The page of an evaluation: gates, measures with their intervals, both models' answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow.parquet as pq

from cai.cleaning.units import pieces
from cai.dataset.rows import edit_distance
from cai.errors import CaiError
from cai.evaluate.gates import GateResult
from cai.evaluate.rows import ANSWERS
from cai.evaluate.scorecard import Card, Evaluation, cautions
from cai.records import digest
from cai.report.content import EMPTY, Content
from cai.report.facts import beginning
from cai.report.figures import ShownGate, Verdict
from cai.report.listed import Listing, write_rows
from cai.report.measures import glossary_table, intervals, measure_tables, shown_measures
from cai.report.rows import Item
from cai.report.words import plural

_NAMES = ("suite", "label", "category", "score", "reply", "baseline_reply", "winner", "harm")
_FILTERS = {
    "suite": ("suite", "Suite"),
    "label": ("label", "Label"),
    "category": ("category", "Category"),
    "score": ("score", "Scored by"),
    "reply": ("reply", "The model's answer"),
    "baseline": ("baseline_reply", "The baseline's answer"),
    "winner": ("winner", "Helps more"),
    "harm": ("harm", "Harm by the model"),
    "broken": ("broken", "The model breaks"),
    "seen": ("seen", "Odd answers"),
}


def evaluation_content(folder: Path) -> Content:
    """The parts of the page of an evaluation.

    Raises:
        CaiError: A file of it is missing or damaged.
    """
    card = Card.load(folder)
    facts = card.evaluation
    path = folder / ANSWERS
    if not path.is_file():
        raise CaiError(f"{path}: no such file", "Run the same cai evaluate command again.")

    def write(file: IO[str], limit: int) -> Mapping[str, Any]:
        listing = Listing(
            lambda: _items(path),
            _known,
            lambda item, marks: item.trace,
            {},
            limit,
            names=_NAMES,
            lists=("broken", "seen"),
        )
        return write_rows(file, listing)

    names = {"model": facts.model.name}
    if facts.baseline is not None:
        names["baseline"] = facts.baseline.name
    meta = {
        "kind": "evaluation",
        "chains": True,
        "notes": digest(str(folder.resolve()))[:16],
        "names": names,
        "filters": {name: list(column) for name, column in _FILTERS.items()},
        "sorts": ["run", "edit", "long", "short"],
        "told": ["suite", "reply", "harm"],
    }
    return Content(write, lambda: _values(card), meta)


def _values(card: Card) -> dict[str, Any]:
    facts = card.evaluation
    title = facts.model.name + (f" against {facts.baseline.name}" if facts.baseline else "")
    return {
        **EMPTY,
        "title": title,
        "state": " ".join(f"{caution}." for caution in cautions(card)),
        "facts": _about(facts),
        "verdict": _verdict(facts.gates) if facts.gates else None,
        "figures": list(shown_measures(card)),
        "pictures": list(intervals(card)),
        "pictures_title": "What was measured",
        "tables": [*measure_tables(card), glossary_table(card)],
        "rows": True,
    }


def _about(facts: Evaluation) -> dict[str, str]:
    suites = ", ".join(f"{s.name} ({s.prompts:,})" for s in facts.suites)
    drawn = "recorded answers"
    if not facts.recorded:
        how = "greedy" if not facts.temperature else f"temperature {facts.temperature:g}"
        times = f", {facts.samples} samples" if facts.samples > 1 else ""
        drawn = f"{how}, at most {facts.max_tokens:,} tokens{times}"
    lines = {
        "Model": facts.model.name,
        "Baseline": facts.baseline.name if facts.baseline else "none",
        "Judge": facts.judge.name if facts.judge else "none",
        "Suites": suites,
        "Answers": drawn,
        "Constitution": facts.constitution["name"],
    }
    if facts.system:
        lines["System prompt"] = facts.system
    return lines


def _verdict(gates: Sequence[GateResult]) -> Verdict:
    counts = {v: [g for g in gates if g.verdict == v] for v in ("failed", "undecided", "passed")}
    words = {
        "bad": f"{plural(len(counts['failed']), 'gate')} failed",
        "none": f"{plural(len(counts['undecided']), 'gate')} undecided",
        "good": "All gates passed",
    }
    state = "bad" if counts["failed"] else "none" if counts["undecided"] else "good"
    more = ", ".join(f"{len(of):,} {name}" for name, of in counts.items() if of)
    open_ = tuple(_shown(gate) for gate in (*counts["failed"], *counts["undecided"]))
    passed = tuple(_shown(gate) for gate in counts["passed"])
    return Verdict(state, words[state], f"Of {plural(len(gates), 'gate')}: {more}.", open_, passed)


def _shown(gate: GateResult) -> ShownGate:
    return ShownGate(gate.measure, f"{gate.verdict}: {gate.words}")


class _Known(NamedTuple):
    """What the list knows of a prompt: by names and lists, and how far both answers are apart."""

    prompt: str
    suite: str
    label: str
    category: str
    score: str
    reply: str
    baseline_reply: str
    winner: str
    harm: str
    broken: tuple[str, ...]
    seen: tuple[str, ...]
    length: int
    edit: float | None
    margin: float | None = None
    surprise: float | None = None


def _known(item: Item) -> _Known:
    row = item.trace
    sides = {side["side"]: side["answers"][0] for side in row["sides"]}
    model, baseline = sides["model"], sides.get("baseline")
    texts = [side["answer"] for side in (model, baseline) if side and side["answer"] is not None]
    odd = [name for name in ("to_judge", "constant", "cut") if model[name]]
    odd += ["incoherent"] if model["coherent"] is False else []
    odd += ["no answer"] if model["error"] else []
    differs = baseline is not None and model["reply"] != baseline["reply"]
    return _Known(
        prompt=beginning(row["prompt"]),
        suite=row["suite"],
        label=row["label"] or "none",
        category=row["category"] or "none",
        score=row["score"],
        reply=model["reply"] or "none",
        baseline_reply=(baseline or {}).get("reply") or "none",
        winner=row["winner"] or "none",
        harm={True: "harm", False: "no harm"}.get(model["attack_success"], "none"),
        broken=tuple(p["principle_id"] for p in model["principles"] if p["kept"] is False),
        seen=(*(name.replace("_", " ") for name in odd), *(["the two differ"] if differs else [])),
        length=len(pieces(model["answer"] or "")),
        edit=edit_distance(*texts) if len(texts) == 2 else None,
    )


def _items(path: Path) -> Iterator[Item]:
    """Every prompt with the answers of both sides; rows of one prompt follow each other."""
    by_prompt = groupby(_read(path), key=lambda row: (row["suite"], row["id"]))
    for (suite, name), rows in by_prompt:
        sides: dict[str, list[dict[str, Any]]] = {}
        first: dict[str, Any] = {}
        for row in rows:
            first = first or row
            sides.setdefault(row["side"], []).append(row)
        shared = ("prompt", "suite", "label", "category", "score", "pair")
        trace = {key: first[key] for key in shared}
        trace |= {
            "id": f"{suite}:{name}",
            "winner": _winner(sides["model"][0]["win"]),
            "sides": [
                {"side": side, "answers": [_own(row, shared) for row in of]}
                for side, of in sides.items()
            ],
        }
        failed = all(row["answer"] is None for row in sides["model"])
        yield Item(trace, "" if failed else "evaluated", [])


def _own(row: Mapping[str, Any], shared: Sequence[str]) -> dict[str, Any]:
    left_out = {*shared, "id", "side", "sample"}
    return {key: value for key, value in row.items() if key not in left_out}


def _winner(win: float | None) -> str | None:
    if win is None:
        return None
    return {1.0: "the model helps more", 0.0: "the baseline helps more"}.get(win, "a tie")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(200):
            yield from batch.to_pylist()
