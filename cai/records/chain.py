"""An answer and its revisions, and what was said of them."""

from __future__ import annotations

from cai.records.base import Record
from cai.records.prompt import Prompt


class Verdict(Record):
    """The critic's answer to "is a change needed?", read as a probability in both label orders."""

    p_change: float
    order_gap: float
    label_mass: float

    @property
    def change(self) -> bool:
        return self.p_change > 0.5


class Cleaned(Record):
    """A text and what was taken off it (`preamble`, `quotes`, …), in the order of removal."""

    text: str
    removed: tuple[str, ...] = ()


class RevisionStep(Record):
    """One turn of the loop; `revision` is None where the verdict was that nothing is wrong."""

    principle_id: str
    critique: str | None
    verdict: Verdict | None
    revision: str | None
    removed: tuple[str, ...] = ()


class RevisionChain(Record):
    """A prompt, the first answer and its revisions (Bai et al. 2022, section 3.1)."""

    prompt: Prompt
    response: str
    steps: tuple[RevisionStep, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The response and each revision, oldest first."""
        return (self.response, *(s.revision for s in self.steps if s.revision is not None))

    @property
    def final(self) -> str:
        return self.texts[-1]
