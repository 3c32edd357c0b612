"""All that came of a prompt, and why something did not."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cai.records.base import Record
from cai.records.chain import Assessment, RevisionChain
from cai.records.preference import Pair, PairSource
from cai.records.prompt import Prompt

Stage = Literal[
    "ingest", "respond", "critique", "verdict", "revise", "assess", "sample", "reason", "judge"
]


class Failure(Record):
    """Why a row, or the `pair` of a row, is not in the data."""

    stage: Stage
    prompt_id: str
    error: str
    message: str
    where: str | None = None
    pair: PairSource | None = None


_STATES = {None: "never checked", True: "found usable", False: "did not pass its check"}


class JudgeFacts(Record):
    """What is known of a run's judge: what its stored check says, the temperature of its labels."""

    usable: bool | None = None
    temperature: float = Field(1.0, gt=0)

    @property
    def state(self) -> str:
        """What its check found, in words."""
        return _STATES[self.usable]


class CriticFacts(Record):
    """What is known of a run's critic: whether its stored check found its assessments usable."""

    usable: bool | None = None

    @property
    def state(self) -> str:
        """What its check found, in words."""
        return _STATES[self.usable]


class Row(Record):
    """All that came of one prompt; `missing`: a replay came to a call that is not there."""

    prompt: Prompt
    chain: RevisionChain | None = None
    assessments: tuple[Assessment, ...] = ()
    pairs: tuple[Pair, ...] = ()
    failures: tuple[Failure, ...] = ()
    missing: bool = False

    def verified(self, usable: bool | None) -> bool | None:
        """Whether a usable judge finds the revision better; None where nobody can tell."""
        label = next((p.label for p in self.pairs if p.source == "revision"), None)
        if not usable or label is None or not label.consistent:
            return None
        return label.difference < 0
