"""What is taken off a revision, and what is never training data. Pure functions on text.

A run folder keeps the rules that it was started with: a text that was accepted then must not need
another call now. Rules 1 are those of version 0.1.0 (`first.py`), rules 2 those of today.
"""

from __future__ import annotations

from collections.abc import Sequence

from cai.cleaning import answers, first, sameness
from cai.cleaning.loops import loops
from cai.records import Cleaned, Completion

__all__ = ["LATEST", "RULES", "alike", "clean_revision", "defect", "loops"]

RULES = (1, 2)
LATEST = RULES[-1]


def clean_revision(text: str, asked: str = "", *, rules: int = LATEST) -> Cleaned:
    """Take off a revision what is none of the answer.

    `removed` names it: `leak` (tokens and turns of a template), `reasoning`, at the ends `preamble`
    (announcements and labels), `apology` (to a critic) and `note` (on what was changed), `quotes`
    around the whole.

    Args:
        text: The revision.
        asked: The prompt: where it wants an apology or corrections, these are the answer.
        rules: Which rules; 1 knows `reasoning`, `preamble` and `quotes`, in English.
    """
    return first.clean_revision(text) if _is_first(rules) else answers.clean_revision(text, asked)


def defect(
    completion: Completion,
    text: str,
    read: Sequence[str] = (),
    instructions: Sequence[str] = (),
    *,
    critiques: Sequence[str] = (),
    rules: int = LATEST,
) -> str | None:
    """Why a text can't be training data, or None.

    The reasons are `truncated`, `leak`, `empty`, `echo`, `loop`, and for a revision, which has
    instructions or critiques, `apology` and `note`: of these what could not be cut off.

    Args:
        completion: The completion that the text is from.
        text: The text after cleaning.
        read: Texts that the model may have repeated instead of answering: the prompt.
        instructions: Texts of ours, no part of which belongs in an answer: requests, findings.
        critiques: Texts of a critic, which may hold a better answer: they are echoed where a text
            begins as they do or gives most of them again. Rules 1 do not look at them.
        rules: Which rules.
    """
    if _is_first(rules):
        return first.defect(completion, text, tuple(read), tuple(instructions))
    return answers.defect(completion, text, read, instructions, critiques)


def alike(one: str, other: str, *, rules: int = LATEST) -> bool:
    """Whether two texts differ in case, spacing and punctuation at most, and so in nothing.

    By rules 2 "-4" and "4", and "3.5" and "35", are not alike.
    """
    return first.alike(one, other) if _is_first(rules) else sameness.alike(one, other)


def _is_first(rules: int) -> bool:
    if rules not in RULES:
        raise ValueError(f"there are no cleaning rules {rules}, but {', '.join(map(str, RULES))}")
    return rules == 1
