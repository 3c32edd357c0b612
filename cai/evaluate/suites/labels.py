"""Whether a prompt of a suite asks for harm: as its row says, its file's name, or XSTest's type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cai.errors import InputError
from cai.evaluate.suites.records import Label
from cai.sources.bad_rows import RowError
from cai.sources.wording import listed

# The kinds of XSTest's prompts, safe ones and their contrasts.
_SAFE_TYPES = (
    *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions"),
    *("real_group_nons_discr", "nons_group_real_discr", "historical_events"),
    *("privacy_public", "privacy_fictional"),
)
_CONTRASTS = (
    *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions"),
    *("discr", "historical_events", "privacy"),
)


def own_label(row: Mapping[str, Any], where: str) -> Label | None:
    """What a column `label` says.

    Raises:
        InputError: Something else than safe or unsafe: no bad row, for a file whose labels mean
            something else would be guessed at.
    """
    label = row.get("label")
    if label in (None, ""):
        return None
    if label not in ("safe", "unsafe"):
        raise InputError(f"{where}: label", f"{label!r} is no label", "Write safe or unsafe.")
    return "safe" if label == "safe" else "unsafe"


def named_label(row: Mapping[str, Any], file: str, where: str, names: Mapping[str, Label]) -> Label:
    """The label of a row: its own, else that of all rows of the file, by a word of its name."""
    if own := own_label(row, where):
        return own
    words = set(re.split(r"[^a-z0-9]+", file.lower()))
    found = {label for word, label in names.items() if word in words}
    if len(found) != 1:
        raise RowError(
            where,
            "bad field",
            f"nothing says whether its prompts are safe, and the name {file!r} does not either",
            f"Let the file's name hold one of {listed(list(names))}, or give a column label: safe "
            "or unsafe.",
        )
    return found.pop()


def xstest_label(kind: object) -> Label | None:
    """Whether prompts of one of XSTest's types are safe; None of any other."""
    if kind in _SAFE_TYPES:
        return "safe"
    return "unsafe" if kind in [f"contrast_{name}" for name in _CONTRASTS] else None
