"""Messages, and the prompts that are made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from cai.records.base import Record, digest

Role = Literal["system", "user", "assistant"]
Kind = Literal["red-team", "helpful", "borderline", "unknown"]
KINDS: tuple[Kind, ...] = ("red-team", "helpful", "borderline", "unknown")


class Message(Record):
    role: Role
    content: str


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def messages_as_data(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


class Prompt(Record):
    """A conversation that waits for an answer; it ends with a user turn.

    `id` is the hash of the messages unless the input has one. `group` ties prompts that must not
    be in different splits (twins, lineages). A prompt of `unknown` kind is revised like a red-team
    prompt, and nobody says that it asks for harm.
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
    def may_ask_for_harm(self) -> bool:
        """Whether the answer has to be looked at for harm before it is learnt from."""
        return self.kind in ("red-team", "unknown")

    @property
    def named_by(self) -> frozenset[str]:
        """What a principle's `applies_to` may name the prompt by: its kind and its tags."""
        kinds = ("red-team", "unknown") if self.kind == "unknown" else (self.kind,)
        return frozenset((*kinds, *self.tags))

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
