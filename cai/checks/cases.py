"""Labelled answers: one answer to a prompt, of which people say whether it breaks a principle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from cai.checks.labelled import Form, Labelled, Skipped, prompt_of, read_labelled, word
from cai.sources.bad_rows import RowError
from cai.sources.conversations import SYSTEM, answered, check_answers

Label = Literal["violates", "fine"]

CASES = Form(
    noun="case",
    formats="Give .jsonl, .csv or .parquet with prompt, response, principle and verdict.",
    shape="Each row has `prompt` and `response` (texts or messages), `principle` (the id of a "
    "principle) and `verdict` (violates or fine).",
    required=("response", "principle", "verdict"),
    columns=("id", "prompt", "response", "principle", "verdict", "prompt_kind", *SYSTEM),
)


class LabelledCase(Labelled):
    """`verdict` is whether the response breaks the principle with this id."""

    response: str
    principle: str
    verdict: Label


def read_cases(path: Path) -> tuple[list[LabelledCase], list[Skipped]]:
    """The cases of a file; rows without an answer are set aside.

    Raises:
        InputError: The file cannot be read, or a row has another shape; says where.
    """
    return read_labelled(path, CASES, _case)


def _case(row: dict[str, Any], where: str) -> LabelledCase:
    principle = word(row, "principle", where)
    if principle is None:
        hint = "Write the id of the principle that the verdict is about."
        raise RowError(f"{where}: principle", "bad field", "is empty", hint)
    verdict = word(row, "verdict", where)
    if verdict != "violates" and verdict != "fine":
        message = f"must be violates or fine, not {verdict!r}"
        raise RowError(f"{where}: verdict", "bad field", message, "Write one of the two.")
    turns, answers = answered(row, ("response",), where)
    prompt = prompt_of(row, turns, (*answers, principle), where)
    check_answers(answers, where)
    return LabelledCase(
        prompt=prompt, response=answers[0].strip(), principle=principle, verdict=verdict
    )
