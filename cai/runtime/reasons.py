"""Why a text that a model wrote is not used: a word for each reason, and what it means."""

from __future__ import annotations

BREAKS = "breaks a rule"

MEANING = {
    "empty": "nothing was written",
    "truncated": "the text was cut at the token limit",
    "leak": "tokens or turns of a template stand in the text, and no whole answer before them",
    "echo": "the text repeats what was asked and nothing else",
    "loop": "the text repeats itself",
    "apology": "the text apologises to a critic whom its reader never saw",
    "note": "the text tells what was changed in it",
}
