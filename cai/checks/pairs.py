"""Labelled pairs: two answers to a prompt, of which people say which is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cai.checks.labelled import Form, Labelled, Skipped, prompt_of, read_labelled, word
from cai.sources.conversations import SYSTEM, answered, check_answers

PAIRS = Form(
    noun="pair",
    formats="Give .jsonl, .csv or .parquet with prompt, chosen and rejected, or hh-rlhf's two "
    "texts.",
    shape="Each row has `prompt`, `chosen` and `rejected` (texts or messages), or `chosen` and "
    "`rejected` as whole conversations that differ in the last answer.",
    required=("chosen", "rejected"),
    columns=("id", "prompt", "chosen", "rejected", "prompt_kind", "kind", "difficulty", *SYSTEM),
)


class LabelledPair(Labelled):
    """`chosen` is the better answer; `kind` and `difficulty` group the figures of a check."""

    chosen: str
    rejected: str
    kind: str | None = None
    difficulty: str | None = None


def read_pairs(path: Path | str) -> tuple[list[LabelledPair], list[Skipped]]:
    """The pairs of a file or `hf:…`; rows without two answers that differ are set aside.

    Raises:
        InputError: The file cannot be read, or a row has another shape; says where.
    """
    return read_labelled(path, PAIRS, _pair)


def _pair(row: dict[str, Any], where: str) -> LabelledPair:
    kind, difficulty = (word(row, name, where) for name in ("kind", "difficulty"))
    turns, answers = answered(row, ("chosen", "rejected"), where)
    prompt = prompt_of(row, turns, answers, where)
    check_answers(answers, where)
    chosen, rejected = (answer.strip() for answer in answers)
    return LabelledPair(
        prompt=prompt, chosen=chosen, rejected=rejected, kind=kind, difficulty=difficulty
    )
