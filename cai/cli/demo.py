"""`cai demo`: from a rule in a YAML file to a model that keeps it, on two cores."""

from __future__ import annotations

import json
import time
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, stderr
from cai.cli.options import Json
from cai.cli.show import show
from cai.errors import CaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cai.dataset.run import Run
    from cai.evaluate.scorecard import Card
    from cai.records import Prompt

RULES = "plain-answers.yaml"
COUNT = 64  # prompts to learn from, and as many others to be measured on
# Low temperatures and short answers help so small a model; both models are asked alike.
ROOM = 96  # tokens of an answer; forty words are about sixty
DATA = {
    "constitution": RULES,
    "preset": "distil",
    "stages": ("sft",),
    "policy_temperature": 0.5,
    "reviser_temperature": 0.5,
    "policy_max_tokens": ROOM,
    "reviser_max_tokens": ROOM,
    "test_share": 0.0,
}
LEARNING = {
    "lora": None,
    "learning_rate": 2e-5,
    "epochs": 3.0,
    "batch_size": 8,
    "micro_batch_size": 8,
    "max_length": 512,
    "eval_every": None,
}


def demo(
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder of data, model and scorecard."),
    ] = Path("outputs/demo"),
    as_json: Json = False,
) -> None:
    """The small model answers 64 prompts with the rules of plain-answers.yaml in view.

    What keeps the rules is learnt without them; then both models answer 64 other prompts, and a
    program counts the answers that keep every rule. Running again goes on where it stopped.
    """
    from cai.evaluate.scorecard import SCORECARD
    from cai.extras import require
    from cai.report.page import PAGE

    require("local", "cai demo")
    require("train", "cai demo")
    began = time.monotonic()
    held_out = _prompts(out)
    stderr.print(plain("1 of 3  data: answers that keep the rules", "bold"))
    run = _generated(out)
    stderr.print(plain("2 of 3  training: the same answers, without the rules in view", "bold"))
    model = _trained(out)
    stderr.print(plain("3 of 3  measuring: both models answer other prompts", "bold"))
    card = _evaluated(str(model), held_out, out)
    if as_json:
        typer.echo((out / "card" / SCORECARD).read_text(encoding="utf-8"), nl=False)
        return
    _print_measures(card)
    _print_answers(out / "card")
    console.print(plain("\nOne chain of what was learnt", "bold"))
    show(run.folder, None, first=True, failed=False, ids=False)
    minutes = (time.monotonic() - began) / 60
    console.print(plain(f"{minutes:.1f} minutes; everything is in {out}"), soft_wrap=True)
    console.print(plain(f"A page to look at: {run.folder / PAGE}"), soft_wrap=True)


def _prompts(out: Path) -> list[Prompt]:
    """Helpful and borderline seeds, one half to learn from, in a file; returns the other half.

    A text, or a group of twins, is on one side only.
    """
    from cai.dataset.schema import text_key
    from cai.prompts import Intake
    from cai.records import Prompt, messages_as_data

    kinds = [
        [p for p in Intake(f"seeds:{kind}") if isinstance(p, Prompt)]
        for kind in ("helpful", "borderline")
    ]
    mixed = [p for turn in zip_longest(*kinds) for p in turn if p is not None]
    single = [p for p in mixed if len(p.messages) == 1]
    sides: tuple[list[Prompt], list[Prompt]] = (single[: 2 * COUNT : 2], single[1 : 2 * COUNT : 2])
    keys = [{p.group or text_key(p.first_human_turn) for p in side} for side in sides]
    if keys[0] & keys[1]:
        raise CaiError("a prompt is on both sides of the demo", "Please report it.")
    out.mkdir(parents=True, exist_ok=True)
    for name, side in zip(("learnt", "held-out"), sides, strict=True):
        rows = [
            {"id": p.id, "messages": messages_as_data(p.messages), "kind": p.kind} for p in side
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return sides[1]


def _generated(out: Path) -> Run:
    from cai.engines.local.model import fastest_on_cpu
    from cai.generation.job import generate
    from cai.runtime.progress import Shown

    with closing(Shown(stderr)) as progress:
        return generate(
            DATA,
            out=out / "data",
            prompts=str(out / "learnt.jsonl"),
            dtype=fastest_on_cpu(),
            progress=progress,
        )


def _trained(out: Path) -> Path:
    from cai.train.config import resolve_training
    from cai.train.run import train

    given: dict[str, Any] = {"data": str(out / "data"), "out": str(out / "model"), **LEARNING}
    return train(resolve_training("sft", given, None, ()), console=stderr)


def _evaluated(model: str, prompts: Sequence[Prompt], out: Path) -> Card:
    from cai.engines.local.model import fastest_on_cpu
    from cai.evaluate.run import evaluate
    from cai.evaluate.suites.read import suite_of_prompts
    from cai.runtime.progress import Shown

    with closing(Shown(stderr)) as progress:
        return evaluate(
            model,
            baseline="default",
            suites=[suite_of_prompts("held-out", prompts)],
            constitution=RULES,
            dtype=fastest_on_cpu(),
            policy_temperature=0.0,
            policy_max_tokens=ROOM,
            out=out / "card",
            progress=progress,
        )


def _print_measures(card: Card) -> None:
    from rich.table import Table

    table = Table("answers that keep", "before", "after", "difference (95 % interval)")
    for name, m in card.measures.items():
        if not (name.startswith("adherence.") or name == "incoherence") or m.difference is None:
            continue
        words = name.removeprefix("adherence.").replace("all", "every rule")
        row = "incoherent ones" if name == "incoherence" else words
        interval = f"{m.difference:+.0%} ({m.difference_low:+.0%} to {m.difference_high:+.0%})"
        table.add_row(plain(row), f"{m.baseline:.0%}", f"{m.value:.0%}", interval)
    console.print(table)


def _print_answers(folder: Path) -> None:
    """One answer before and after: the first that keeps every rule now and did not."""
    import pyarrow.parquet as pq

    from cai.evaluate.rows import ANSWERS

    sides: dict[str, dict[str, Any]] = {"model": {}, "baseline": {}}
    for row in pq.read_table(folder / ANSWERS).to_pylist():
        sides[row["side"]][row["id"]] = row
    kept = {
        side: {name: all(p["kept"] for p in row["principles"]) for name, row in rows.items()}
        for side, rows in sides.items()
    }
    changed = (name for name, now in kept["model"].items() if now and not kept["baseline"][name])
    shown = next(changed, next(iter(sides["model"])))
    after, before = (sides[side][shown] for side in ("model", "baseline"))
    for name, text in (
        ("asked", after["prompt"][-1]["content"]),
        ("before", before["answer"]),
        ("after", after["answer"]),
    ):
        console.print(plain(name, "bold cyan"))
        console.print(plain(text.strip()), soft_wrap=True)
