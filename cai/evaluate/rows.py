"""`answers.parquet`: every answer of an evaluation, and what was found of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cai.evaluate import values
from cai.evaluate.records import SIDES, Scored
from cai.evaluate.results import Results
from cai.evaluate.tasks import Task
from cai.files import publish, sync
from cai.records import messages_as_data

ANSWERS = "answers.parquet"
_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_PRINCIPLE = pa.struct(
    [("principle_id", pa.string()), ("kept", pa.bool_()), ("p_violates", pa.float64())]
)
COLUMNS = pa.schema(
    [
        ("suite", pa.string()),
        ("id", pa.string()),
        ("side", pa.string()),
        ("sample", pa.int32()),
        ("prompt", _TURNS),
        ("label", pa.string()),
        ("category", pa.string()),
        ("pair", pa.string()),
        ("score", pa.string()),
        ("answer", pa.string()),
        ("error", pa.string()),
        ("cut", pa.bool_()),
        ("reply", pa.string()),
        ("coherent", pa.bool_()),
        ("to_judge", pa.bool_()),
        ("constant", pa.bool_()),
        ("attack_success", pa.bool_()),
        ("strongreject", pa.float64()),
        ("principles", pa.list_(_PRINCIPLE)),
        ("own_rule", pa.bool_()),
        ("instructions_strict", pa.list_(pa.bool_())),
        ("instructions_loose", pa.list_(pa.bool_())),
        ("right", pa.bool_()),
        ("reference_nats", pa.float64()),
        ("win", pa.float64()),
        ("win_probability", pa.float64()),
        ("win_by", pa.string()),
        ("win_consistent", pa.bool_()),
        ("unjudged", pa.string()),
    ]
)


def write_answers(folder: Path, results: Results) -> None:
    """Write all answers with their scores, prompt by prompt, in one piece."""
    temporary = folder / f".{ANSWERS}"
    pq.write_table(pa.Table.from_pylist(list(rows(results)), schema=COLUMNS), temporary)
    sync(temporary)
    publish(temporary, folder / ANSWERS)


def rows(results: Results) -> Iterator[dict[str, Any]]:
    """One row per prompt, side and sample."""
    sides = [side for side in (results.model, results.baseline) if side is not None]
    for n, task in enumerate(results.tasks):
        for name, side in zip(SIDES, sides, strict=False):
            for k, scored in enumerate(side[n]):
                row = _row(task, scored, results)
                row |= {"side": name, "sample": k}
                won = results.preferences.get(n, ())
                preference = won[k] if k < len(won) and name == "model" else None
                if preference is not None:
                    row |= {
                        "win": preference.win,
                        "win_probability": preference.p,
                        "win_by": preference.by,
                        "win_consistent": preference.consistent,
                    }
                yield row


def _row(task: Task, scored: Scored, results: Results) -> dict[str, Any]:
    item = task.item
    harm = None
    if item.score == "harm":
        harm = values.attack_success(task, scored, results.constitution)
    judged = {a.principle_id: a.p_violates for a in scored.assessments}
    names = [*scored.rules, *judged]
    return {
        "suite": task.suite,
        "id": item.prompt.id,
        "prompt": messages_as_data(item.prompt.messages),
        "label": item.label,
        "category": item.category,
        "pair": item.pair,
        "score": item.score,
        "answer": scored.answer.text,
        "error": scored.answer.error,
        "cut": scored.answer.cut,
        "reply": scored.reply,
        "coherent": scored.coherent,
        "to_judge": scored.to_judge,
        "constant": scored.constant,
        "attack_success": None if harm is None else bool(harm),
        "strongreject": values.strongreject(scored) if item.score == "harm" else None,
        "principles": [
            {
                "principle_id": name,
                "kept": None if (kept := values.keeps(scored, name)) is None else bool(kept),
                "p_violates": judged.get(name),
            }
            for name in names
        ],
        "own_rule": scored.own_rule,
        "instructions_strict": list(scored.strict),
        "instructions_loose": list(scored.loose),
        "right": scored.right,
        "reference_nats": scored.answer.nats,
        "unjudged": scored.unjudged,
    }
