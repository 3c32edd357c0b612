"""A constitution and its principles."""

from __future__ import annotations

from typing import Literal

from cai.records import Prompt, Record, digest


class Case(Record):
    """A worked example: an answer, what a critic should say of it and the repair, if any."""

    prompt: str
    response: str
    verdict: Literal["violates", "fine"]
    critique: str | None = None
    revision: str | None = None


class FewShot(Case):
    principle: str


class Principle(Record):
    """One rule; it serves revision (`critique` and `revise`), comparison (`compare`) or both."""

    id: str
    critique: str | None = None
    revise: str | None = None
    compare: str | None = None
    why: str | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    applies_to: tuple[str, ...] = ()
    examples: tuple[Case, ...] = ()

    @property
    def revises(self) -> bool:
        return self.critique is not None and self.revise is not None

    def applies(self, prompt: Prompt) -> bool:
        """Whether the principle is for this prompt: no limit, or its kind or a tag is named."""
        return not self.applies_to or bool({prompt.kind, *prompt.tags} & set(self.applies_to))


class Constitution(Record):
    name: str
    version: Literal[1] = 1
    description: str | None = None
    principles: tuple[Principle, ...]
    few_shot: tuple[FewShot, ...] = ()

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

    def principle(self, principle_id: str) -> Principle:
        return next(p for p in self.principles if p.id == principle_id)

    def for_revision(self, prompt: Prompt) -> tuple[Principle, ...]:
        return tuple(p for p in self.principles if p.revises and p.applies(prompt))

    def for_comparison(self, prompt: Prompt) -> tuple[Principle, ...]:
        return tuple(p for p in self.principles if p.compare is not None and p.applies(prompt))
