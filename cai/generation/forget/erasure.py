"""What is taken out of a run folder, as a plan that outlives the process that made it."""

from __future__ import annotations

from typing import Any, Literal

from cai.generation.forget.holders import Holders
from cai.records import Record


class Erasure(Record):
    """What is taken out of a run folder, without its text.

    Attributes:
        time: When it was asked for; UTC, ISO 8601.
        ids: The prompts, by id.
        failed: Input that was no prompt, by the id of its failure.
        digests: Tombstones: digests of the prompts' texts.
        counts: What goes: prompts, calls, rows by dataset, lines of failures and dropped rows.
        holders: What held it and is not changed.
        manifest: The manifest of what stays; None where there is none.
    """

    version: Literal[1] = 1
    time: str
    ids: tuple[str, ...]
    failed: tuple[str, ...]
    digests: tuple[str, ...]
    counts: dict[str, int]
    holders: Holders
    manifest: dict[str, Any] | None

    @property
    def line(self) -> dict[str, Any]:
        """What the folder keeps of it; ids are left out, as they may name a person."""
        return {
            "time": self.time,
            "digests": list(self.digests),
            "counts": self.counts,
            **self.holders.model_dump(mode="json"),
        }
