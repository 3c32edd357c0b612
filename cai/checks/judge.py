"""Is a judge worth its labels? It labels pairs of which people say which answer is better."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cai.checks import results
from cai.checks.asking import ask_all, folder_for, written_after
from cai.checks.figures import Scored, measure
from cai.checks.labelled import Skipped, digest_of, sample
from cai.checks.pairs import LabelledPair, read_pairs
from cai.checks.results import JudgeResult
from cai.config import Settings, settings_of
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.feedback import judge
from cai.files import pairs_file, replacing
from cai.method import Method, load_method
from cai.plots import reliability_diagram
from cai.records import Comparison
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress


def judge_check(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    pairs: str | Path | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engine: Engine | None = None,
    **given: Any,
) -> JudgeResult:
    """Let a judge label pairs, measure it, and keep the result under the judge's identity.

    Args:
        settings: `Settings` or their values; those that concern the judge count.
        pairs: A file of labelled pairs, or `hf:…`; the shipped ones by default.
        limit: Take this many pairs, drawn by a hash of their ids.
        out: The folder of the calls and the result.
        retry_failed: Ask again where the judge could not answer.
        progress: Shows how far the job is.
        engine: A judge that is there already.
        **given: Single settings (`judge="…"`), which win over `settings`.

    Raises:
        CaiError: Bad settings or pairs, a folder in use, a judge that does not load or answer.
    """
    settings = settings_of(settings, {**given, "stages": ("preferences",)})
    method = load_method(settings)
    path = pairs if pairs is not None else pairs_file()
    labelled, skipped = read_pairs(path)
    chosen = sample(usable := _usable(labelled, method), limit)
    folder = Path(out) if out is not None else default_folder(settings)
    asked = ask_all(
        method,
        ["judge"],
        [(pair.prompt.id, pair) for pair in chosen],
        partial(_score, method),
        folder=folder,
        phase="judging",
        engine=engine,
        retry_failed=retry_failed,
        progress=progress,
    )
    facts = _facts(method, asked.engines["judge"].identity) | {
        "labels": asked.labels_of("judge"),
        "pairs": {
            "file": pairs_file().name if pairs is None else str(path),
            "sha256": digest_of(path, labelled),
            "used": len(chosen),
            "skipped": len(skipped),
            "without a principle": len(labelled) - len(usable),
        },
    }
    result = measure(asked.results, facts)
    with written_after(folder, "judge"):
        _write(folder, result, asked.results, skipped)
        results.store(result)
    return result


def _facts(method: Method, identity: str) -> dict[str, Any]:
    """What a result is of."""
    settings, constitution = method.settings, method.constitution
    return {
        "key": results.judge_key(method, identity),
        "judge": identity,
        "model": settings.model_of("judge"),
        "cot": settings.cot,
        "principles": settings.judge_principles,
        "constitution": {"name": constitution.name, "digest": constitution.digest},
    }


def default_folder(settings: Settings) -> Path:
    return folder_for("judge-check", settings.model_of("judge"))


def _usable(pairs: Sequence[LabelledPair], method: Method) -> list[LabelledPair]:
    """The pairs that a principle of the constitution is for."""
    usable = [pair for pair in pairs if method.constitution.for_comparison(pair.prompt)]
    if not usable:
        raise CaiError(
            f"{method.settings.constitution}: no principle with `compare` is for any of the pairs",
            "Give pairs a prompt_kind, or choose another constitution.",
        )
    return usable


async def _score(method: Method, pair: LabelledPair, calls: RowCalls) -> Scored:
    principles = method.compared_by(pair.prompt, "check")
    comparison = Comparison(prompt=pair.prompt, response_a=pair.chosen, response_b=pair.rejected)
    try:
        return Scored(pair, await judge(comparison, principles, method, calls))
    except Rejected as reason:
        return Scored(pair, None, reason.error, reason.message)


def _write(
    folder: Path, result: JudgeResult, scored: Sequence[Scored], skipped: Sequence[Skipped]
) -> None:
    with replacing(folder / "pairs.jsonl") as file:
        for one in scored:
            row: dict[str, Any] = {"id": one.pair.prompt.id, "kind": one.pair.kind}
            if one.label is not None:
                row |= {
                    "p_right": one.label.p_a,
                    "order_gap": one.label.order_gap,
                    "consistent": one.label.consistent,
                    "label_mass": one.label.label_mass,
                    "judgements": [j.model_dump(mode="json") for j in one.label.judgements],
                }
            else:
                row |= {"error": one.error, "message": one.message}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for none in skipped:
            file.write(json.dumps({"where": none.where, "skipped": none.why}) + "\n")
    reliability_diagram(
        result.bins, folder / "reliability", f"Reliability of {result.model}", result.words
    )
    with replacing(folder / "result.json") as file:
        file.write(result.model_dump_json(indent=2) + "\n")
