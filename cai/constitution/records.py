"""A constitution and its principles."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

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


class Check(Record):
    """A rule that a program checks; a closed list, of which one check may set several.

    Each is explained by `cai.constitution.rules`, which finds what a text breaks. Written out, a
    check has only the keys that were set.
    """

    max_words: int | None = Field(None, ge=0)
    min_words: int | None = Field(None, ge=0)
    max_sentences: int | None = Field(None, ge=0)
    min_sentences: int | None = Field(None, ge=0)
    max_paragraphs: int | None = Field(None, ge=0)
    min_paragraphs: int | None = Field(None, ge=0)
    max_characters: int | None = Field(None, ge=0)
    min_characters: int | None = Field(None, ge=0)
    forbid: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    starts_with: str | None = None
    ends_with: str | None = None
    ends_with_question: bool | None = None
    lists: Literal[False] | None = None
    headings: Literal[False] | None = None
    links: Literal[False] | None = None
    emoji: Literal[False] | None = None
    exclamation_marks: Literal[False] | None = None
    personal_data: Literal[False] | None = None
    language: str | None = None
    valid_json: Literal[True] | None = None

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_defaults(self, written(self), tuple(type(self).model_fields))


class Principle(Record):
    """One rule, in words or as a check, or both.

    In words it serves revision (`critique` and `revise`), comparison (`compare`) or both. With a
    `check` a program decides what breaks it; its words then say how to mend what was found, and no
    model is asked for a verdict or a label.
    """

    id: str
    critique: str | None = None
    revise: str | None = None
    compare: str | None = None
    violation: str | None = None
    check: Check | None = None
    order: int = Field(1, ge=1)
    why: str | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    applies_to: tuple[str, ...] = ()
    examples: tuple[Case, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Journals hold constitutions from before these keys, and are compared with them.
        return _without_defaults(self, written(self), ("violation", "check", "order"))

    @property
    def revises(self) -> bool:
        return self.critique is not None and self.revise is not None

    @property
    def assessable(self) -> bool:
        """Whether a model can be asked of an answer alone whether it breaks the principle."""
        return self.check is None and (self.violation or self.critique) is not None

    def applies(self, prompt: Prompt) -> bool:
        """Whether the principle is for this prompt: no limit, or its kind or a tag is named."""
        return not self.applies_to or bool(prompt.named_by & set(self.applies_to))


class Conflict(Record):
    """Two principles that pull apart, and a prompt where they do."""

    between: tuple[str, str]
    prompt: str


class Constitution(Record):
    name: str
    version: Literal[1] = 1
    description: str | None = None
    principles: tuple[Principle, ...]
    few_shot: tuple[FewShot, ...] = ()
    conflicts: tuple[Conflict, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_defaults(self, written(self), ("conflicts",))

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

    def principle(self, principle_id: str) -> Principle:
        return next(p for p in self.principles if p.id == principle_id)

    def rules(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles for this prompt that a program checks."""
        return tuple(p for p in self.principles if p.check is not None and p.applies(prompt))

    def for_revision(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles for this prompt by which a model criticises and revises: no rules."""
        return tuple(p for p in self._worded(prompt) if p.revises)

    def for_assessment(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles for this prompt by which a model assesses one answer: no rules."""
        return tuple(p for p in self._worded(prompt) if p.assessable)

    def for_comparison(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles for this prompt by which a model compares two answers: no rules."""
        return tuple(p for p in self._worded(prompt) if p.compare is not None)

    def _worded(self, prompt: Prompt) -> tuple[Principle, ...]:
        return tuple(p for p in self.principles if p.check is None and p.applies(prompt))


def _without_defaults(
    record: Record, data: dict[str, Any], names: tuple[str, ...]
) -> dict[str, Any]:
    fields = type(record).model_fields
    unset = {name for name in names if getattr(record, name) == fields[name].default}
    return {key: value for key, value in data.items() if key not in unset}
