"""The rules of today: what is taken off a revision, and what is never training data."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cai.cleaning.echoes import copied_share, copies_a_run, echoes, repeats
from cai.cleaning.ends import cut_ends, left_over
from cai.cleaning.first import _ANNOUNCEMENT, _LABEL, _REASONING, _unquoted
from cai.cleaning.leaks import trimmed
from cai.cleaning.loops import loops
from cai.cleaning.phrases import anywhere, starts
from cai.records import Cleaned, Completion

_HEAD = 1200  # characters
_FIRST_LINE = re.compile(r"[^\n]{1,80}\n")


def clean_revision(text: str, asked: str = "") -> Cleaned:
    """Take what is none of the answer off a revision.

    That is `leak` (tokens and turns of a template), `reasoning`, at the ends `preamble`, `apology`
    and `note`, and `quotes` around the whole.

    Args:
        text: The revision.
        asked: The prompt: where it wants an apology or corrections, these are the answer.
    """
    whole = trimmed(text.strip())
    text, removed = whole.text.strip(), ["leak"] if whole.leak == "cut" else []
    for name, pattern, window in (
        ("reasoning", _REASONING, len(text)),
        ("preamble", _ANNOUNCEMENT, _HEAD),  # it looks for two words in each other's company
        ("preamble", _LABEL, _HEAD),
    ):
        if match := pattern.match(text[:window]):
            text = text[match.end() :].strip()
            removed.append(name)
    apologies, notes = _unasked(text, asked)
    text, more = cut_ends(text, apologies, notes)
    removed += more
    inside = None if anywhere("asked_quotes").search(asked) else _unquoted(text)
    if inside is not None:
        text, more = cut_ends(inside, apologies, notes)
        removed += ["quotes", *more]
    return Cleaned(text=text, removed=tuple(dict.fromkeys(removed)))


def defect(
    completion: Completion,
    text: str,
    read: Sequence[str] = (),
    instructions: Sequence[str] = (),
    critiques: Sequence[str] = (),
) -> str | None:
    """Why a text can't be training data, or None; the arguments are those of `cai.cleaning`."""
    # What was cut off was no part of the answer, however long it went on.
    if completion.finish_reason == "length" and completion.leak != "cut":
        return "truncated"
    if completion.leak == "torn" or trimmed(text).leak is not None:
        return "leak"
    if not text.strip():
        return "empty"
    if any(echoes(text, source) for source in read):
        return "echo"
    if copies_a_run(text, instructions) or copied_share(text, instructions) > 0.5:
        return "echo"
    if any(repeats(text, critique) for critique in critiques):
        return "echo"
    if loops(text):
        return "loop"
    if not instructions and not critiques:
        return None  # no revision: nobody has criticised it, and a critique may speak of the answer
    return left_over(text, *_unasked(text, "\n".join(read)))


def _unasked(text: str, asked: str) -> tuple[bool, bool]:
    """Whether an apology, and a note on what was changed, can be none of the answer."""
    letter = _FIRST_LINE.match(text) and starts("letter").match(text)
    apologies = not letter and not anywhere("asked_apology").search(asked)
    return apologies, not anywhere("asked_note").search(asked)
