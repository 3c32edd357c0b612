"""A text to be drawn: what is asked of which role, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cai.records import Completion, Message, Sampling, Stage

ROLE_OF: dict[Stage, str] = {
    "respond": "policy",
    "critique": "critic",
    "verdict": "critic",
    "revise": "reviser",
    "assess": "critic",
    "sample": "sampler",
    "reason": "judge",
    "judge": "judge",
}


@dataclass
class Draw:
    """A text to be drawn; `made` once the engine was asked for it."""

    stage: Stage
    step: int
    ordinal: int
    messages: tuple[Message, ...]
    sampling: Sampling
    defect: Callable[[Completion], str | None]
    tries: int
    longer: bool
    made: bool = False

    @property
    def role(self) -> str:
        return ROLE_OF[self.stage]
