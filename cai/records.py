"""The records that flow through a run: frozen, state in fields, everything derivable a property."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["system", "user", "assistant"]
Kind = Literal["red-team", "helpful", "borderline"]
KINDS: tuple[Kind, ...] = ("red-team", "helpful", "borderline")
FinishReason = Literal["stop", "length"]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Record):
    role: Role
    content: str


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def messages_as_data(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


class Prompt(Record):
    """A conversation that waits for an answer; it ends with a user turn.

    `id` is the hash of the messages unless the input has one. `group` ties prompts that must not
    be in different splits (twins, lineages).
    """

    id: str = Field(min_length=1)
    messages: tuple[Message, ...]
    kind: Kind
    group: str | None = None
    source: str | None = None
    licence: str | None = None
    tags: tuple[str, ...] = ()

    @staticmethod
    def id_of(messages: Iterable[Message]) -> str:
        return digest(messages_as_data(messages))[:16]

    @property
    def text_digest(self) -> str:
        """The hash of the messages: two ids with one digest are duplicates."""
        return digest(messages_as_data(self.messages))

    @property
    def first_human_turn(self) -> str:
        return next((m.content for m in self.messages if m.role == "user"), "")

    @property
    def last_human_turn(self) -> str:
        return self.messages[-1].content

    def with_system(self, system: str | None) -> Prompt:
        """The prompt with a system message in front, unless it has one of its own."""
        if not system or self.messages[0].role == "system":
            return self
        head = Message(role="system", content=system)
        return self.model_copy(update={"messages": (head, *self.messages)})


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


class Sampling(Record):
    """How one completion is drawn; `seed` is part of it, so that a re-run draws the same."""

    temperature: float = Field(ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(ge=1)
    seed: int = 0


class Usage(Record):
    input_tokens: int = 0
    output_tokens: int = 0


class Completion(Record):
    """What a model wrote. `text` holds no reasoning; that is in `reasoning`."""

    text: str
    reasoning: str | None = None
    finish_reason: FinishReason
    usage: Usage = Usage()
    model: str


class ChoiceScores(Record):
    """Log-probabilities of the labels (natural log, over the whole vocabulary) after one suffix."""

    logprobs: tuple[float, ...]
    usage: Usage = Usage()
    model: str

    @property
    def mass(self) -> float:
        """The probability that fell on the labels, in [0, 1]."""
        import math

        return math.fsum(math.exp(x) for x in self.logprobs)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probabilities of the labels, renormalised over them."""
        import math

        top = max(self.logprobs)
        weights = [math.exp(x - top) for x in self.logprobs]
        return tuple(w / math.fsum(weights) for w in weights)


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


Stage = Literal["ingest", "respond", "critique", "verdict", "revise"]


class Failure(Record):
    """Why a row is not in the data."""

    stage: Stage
    prompt_id: str
    error: str
    message: str
    where: str | None = None


class Manifest(Record):
    """What a run was made of; it holds timings, so its bytes are not promised."""

    version: Literal[1] = 1
    constitution: dict[str, str]
    templates: dict[str, str]
    models: dict[str, str]
    seed: int
    packages: dict[str, str]
    prompts: dict[str, Any]
    counts: dict[str, int]
    calls: dict[str, int]
    tokens: dict[str, dict[str, int]]
    timings: dict[str, Any]

    @model_validator(mode="after")
    def _roles_have_models(self) -> Manifest:
        if not self.models:
            raise ValueError("a run has at least one model")
        return self
