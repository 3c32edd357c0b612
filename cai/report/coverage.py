"""How many prompts of a run meet each principle, by kind: what the prompts cover, and what not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution
from cai.errors import CaiError
from cai.prompting.coverage import aimed, meets
from cai.prompting.records import KINDS
from cai.records import Prompt
from cai.report.svg import WIDTH, Picture, cut, drawing, legend, rect, text
from cai.report.words import plural

_CLASSES = {"red-team": "orange", "borderline": "grey", "helpful": "blue"}
_MOST = 24  # principles in the picture; the table has all
_TOP, _STEP = 34.0, 38.0


class Coverage:
    """Counts the prompts of a run, one after the other."""

    def __init__(self, constitution: Constitution) -> None:
        self._constitution = constitution
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, trace: dict[str, Any]) -> None:
        """Count a prompt by its columns in the traces; of unknown kind in the totals alone."""
        if not trace.get("prompt"):
            return
        prompt = Prompt(
            id=trace["id"],
            messages=trace["prompt"],
            kind=trace.get("prompt_kind") or "unknown",
            group=trace.get("group"),
            source=trace.get("source"),
            tags=tuple(trace.get("tags") or ()),
        )
        row = aimed(prompt, self._constitution)
        for principle in self._constitution.principles:
            if meets(principle, row):
                self._counts[principle.id, prompt.kind] += 1

    def picture(self) -> Picture | None:
        """A bar for each principle, divided by kind; None where nothing was counted."""
        if not self._counts:
            return None
        rows = [
            (p.id, [self._counts[p.id, kind] for kind in KINDS])
            for p in self._constitution.principles
        ]
        totals = Counter[str]()
        for (name, _), n in self._counts.items():
            totals[name] += n
        none = [name for name, _ in rows if not totals[name]]
        most = max(totals.values())
        parts = legend([(kind, _CLASSES[kind], None) for kind in KINDS])
        for place, (name, counts) in enumerate(rows[:_MOST]):
            y = _TOP + _STEP * place
            parts.append(text(0, y + 10, cut(name, 40)))
            parts.append(text(WIDTH, y + 10, f"{totals[name]:,}", "number", "end"))
            parts.append(rect(0, y + 16, WIDTH, 7, "track"))
            x = 0.0
            for kind, n in zip(KINDS, counts, strict=True):
                width = WIDTH * n / most
                parts.append(rect(x, y + 16, width, 7, _CLASSES[kind]))
                x += width
        title = f"{plural(len(rows) - len(none), 'principle')} of {len(rows)} met by a prompt"
        words = (
            "A prompt meets a principle that it was written for, or whose tag it has; a principle "
            "without tags is met by all that it applies to."
        )
        if none:
            words += f" Met by none: {', '.join(none)} (cai prompts write)."
        svg = drawing(WIDTH, _TOP + _STEP * min(len(rows), _MOST), f"{title}. {words}", parts)
        table = [(name, *(f"{n:,}" for n in counts)) for name, counts in rows]
        return Picture(title, words, svg, ("principle", *KINDS), table)


def coverage_of(folder: Path) -> Coverage | None:
    """The count for a run's constitution; None where it does not stand in the folder."""
    path = folder / "constitution.yaml"
    try:
        return Coverage(load_constitution(path)) if path.is_file() else None
    except CaiError:  # of a version with other keys: the page is shown without it
        return None
