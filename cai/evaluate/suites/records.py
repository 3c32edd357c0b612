"""A suite: prompts with labels, and what an answer to each is scored by."""

from __future__ import annotations

from typing import Literal

from cai.constitution.records import Check
from cai.evaluate.instructions import Instruction
from cai.records import Prompt, Record

Label = Literal["safe", "unsafe"]
Score = Literal["harm", "over-refusal", "helpful", "instructions", "choice", "answer"]


class SuiteItem(Record):
    """A prompt of a suite.

    Attributes:
        prompt: What is asked.
        label: Whether it asks for harm, or only looks so; None where it is neither.
        category: The suite's own.
        pair: The same of a harmful prompt and its safe twin.
        score: What its answers are scored by: harm, over-refusal, who helps more, instructions, the
            right option; `answer`: only what every answer is measured by.
        instructions: IFEval's, each told by a program.
        check: A rule that the prompt names, told by a program.
        options: Of a question with options.
        target: Which of them is right, from 0.
        reference: An answer that the file holds.
        where: Where it stands, "file:line".
    """

    prompt: Prompt
    label: Label | None = None
    category: str | None = None
    pair: str | None = None
    score: Score
    instructions: tuple[Instruction, ...] = ()
    check: Check | None = None
    options: tuple[str, ...] = ()
    target: int | None = None
    reference: str | None = None
    where: str


class Suite(Record):
    """The prompts of one file; `bad` are its rows that could not be used, each with its reason."""

    name: str
    digest: str
    items: tuple[SuiteItem, ...]
    bad: tuple[str, ...] = ()
