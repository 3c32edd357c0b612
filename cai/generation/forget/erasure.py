"""What is taken out of a run folder, as a plan that outlives the process that made it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from cai.generation.forget.copies import Copy
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
        exports: Folders of exports that are written anew.
        pages: Pages in the folder that are written anew: by name, whether they show chains.
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
    exports: tuple[str, ...] = ()
    pages: dict[str, bool] = Field(default_factory=dict)

    def with_left(self, copies: tuple[Copy, ...]) -> Erasure:
        """As it came out: with exports that could not be written anew."""
        paths = {copy.path for copy in copies}
        return self.model_copy(
            update={
                "exports": tuple(path for path in self.exports if path not in paths),
                "holders": self.holders.model_copy(
                    update={"copies": (*self.holders.copies, *copies)}
                ),
            }
        )

    @property
    def line(self) -> dict[str, Any]:
        """What the folder keeps of it; ids are left out, as they may name a person."""
        return {
            "time": self.time,
            "digests": list(self.digests),
            "counts": self.counts,
            "exports": list(self.exports),
            **self.holders.model_dump(mode="json"),
        }
