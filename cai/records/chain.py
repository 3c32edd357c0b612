"""An answer and its revisions, and what was said of them."""

from __future__ import annotations

from typing import Literal

from cai.records.base import Record
from cai.records.completion import ChoiceMethod
from cai.records.prompt import Prompt


class Verdict(Record):
    """The critic's answer to "is a change needed?", read as a probability in both label orders."""

    p_change: float
    order_gap: float
    label_mass: float

    @property
    def change(self) -> bool:
        return self.p_change > 0.5

    @property
    def consistent(self) -> bool:
        """Whether both orders pick the same option."""
        return _agree(self.p_change, self.order_gap)


def _agree(p: float, order_gap: float) -> bool:
    """Whether two orders agree, from the mean of a probability over them and their gap.

    With a and b how far it lies above a half in each order, |a + b| = |2p - 1| and the gap is
    |a - b|: a and b have one sign exactly if the first is greater.
    """
    return abs(2 * p - 1) > order_gap


class Assessment(Record):
    """Whether an answer breaks a principle: by a program (`check`), or by a model's probability.

    `p_violates` is the mean over both orders of the options, `order_gap` how far they are apart;
    `finding` is what a program found.
    """

    principle_id: str
    p_violates: float
    order_gap: float = 0.0
    label_mass: float = 1.0
    method: ChoiceMethod | Literal["check"] = "token"
    finding: str | None = None

    @property
    def consistent(self) -> bool:
        """Whether both orders pick the same option."""
        return _agree(self.p_violates, self.order_gap)

    @property
    def violates(self) -> bool:
        return self.consistent and self.p_violates > 0.5

    def cleared(self, max_p: float) -> bool:
        """Whether both orders say that nothing is broken, and clearly: p of `max_p` at most."""
        return self.consistent and self.p_violates <= max_p


class Cleaned(Record):
    """A text and what was taken off it (`preamble`, `quotes`, …), in the order of removal."""

    text: str
    removed: tuple[str, ...] = ()


class Finding(Record):
    """What a program found that breaks a rule, in words."""

    principle_id: str
    text: str


class RevisionStep(Record):
    """One turn of the loop; `revision` is None where the verdict was that nothing is wrong.

    With `findings` it is a revision for the rules that were broken, the first of which names it.
    """

    principle_id: str
    critique: str | None
    verdict: Verdict | None
    revision: str | None
    removed: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def principle_ids(self) -> tuple[str, ...]:
        """The principle of the round, or all rules that were broken."""
        return tuple(f.principle_id for f in self.findings) or (self.principle_id,)


class RevisionChain(Record):
    """A prompt, the first answer and its revisions (Bai et al. 2022, section 3.1)."""

    prompt: Prompt
    response: str
    steps: tuple[RevisionStep, ...] = ()
    removed: tuple[str, ...] = ()

    def plus(self, step: RevisionStep) -> RevisionChain:
        return self.model_copy(update={"steps": (*self.steps, step)})

    @property
    def texts(self) -> tuple[str, ...]:
        """The response and each revision, oldest first."""
        return (self.response, *(s.revision for s in self.steps if s.revision is not None))

    @property
    def final(self) -> str:
        return self.texts[-1]
