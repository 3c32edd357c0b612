"""The one seam to a language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from cai.errors import CaiError
from cai.records import ChoiceScores, Completion, Likelihood, Message, Sampling

# What reads as structure in the chat templates of the families in use; only a tokenizer knows all.
CONTROL_TOKENS = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
)


class Capacity(NamedTuple):
    """How many calls an engine can usefully hold at once."""

    slots: int


class Caller(NamedTuple):
    """Who makes a call. It does not change the answer.

    Attributes:
        row: The row; its calls share a prefix, so one server does best.
        urgency: How soon the answer is needed, less being sooner, for servers that order them.
    """

    row: str | None = None
    urgency: int = 0


NOBODY = Caller()


class Engine(Protocol):
    """A language model: it writes (`generate`) and it picks one of a few labels (`choose`).

    Raises `CallError` for a call that will never succeed (too long, NaN), `EngineBusy` for one
    that may succeed later, and `CaiError` when the engine itself cannot go on.

    Attributes:
        one_suffix_a_call: Whether `choose` is to be called once per suffix: each takes a slot.
        reads_control_tokens: Whether the name of a special token in a text is read as the token.
    """

    one_suffix_a_call: bool
    reads_control_tokens: bool

    @property
    def identity(self) -> str:
        """Digest of the weights or the served name, with dtype and chat template; no URL."""
        ...

    def known_identity(self) -> str | None:
        """The identity if it is known without a download or a conversion, else None."""
        ...

    def feeding(self) -> dict[str, str]:
        """What the model's template adds to the texts, by name, in words; empty if nothing."""
        ...

    async def start(self) -> None:
        """Load the model; raises `CaiError` when it cannot serve. Called once before any call."""
        ...

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        """Answer a conversation that ends with a user turn."""
        ...

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        """Score single-token labels after `answer_prefix`, once per suffix (see `joined`)."""
        ...

    def check_labels(self, choices: Sequence[str], answer_prefix: str) -> object:
        """Raise `CaiError` unless each label is one token of its own; needs a started engine."""
        ...

    async def capacity(self) -> Capacity: ...

    async def close(self) -> None: ...


@runtime_checkable
class Likelihoods(Protocol):
    """An engine that can also say how likely it finds an answer that somebody else wrote."""

    async def likelihood(
        self, messages: Sequence[Message], answer: str, caller: Caller = NOBODY
    ) -> Likelihood:
        """The negative log-likelihood of an answer to a conversation."""
        ...


class Absent:
    """A model that is not here and known by its identity: only what it once answered is read."""

    one_suffix_a_call = reads_control_tokens = False

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def known_identity(self) -> str | None:
        return self.identity

    def feeding(self) -> dict[str, str]:
        return {}

    async def start(self) -> None:
        raise CaiError(
            f"a call of {self.identity} is missing, and no model is asked here",
            "Run the job that should have made it to its end.",
        )

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        raise NotImplementedError

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        raise NotImplementedError

    def check_labels(self, choices: Sequence[str], answer_prefix: str) -> object:
        raise NotImplementedError

    async def capacity(self) -> Capacity:
        return Capacity(slots=1)

    async def close(self) -> None:
        """Nothing is open."""


def joined(prefix: Sequence[Message], suffix: str) -> tuple[Message, ...]:
    """The conversation of one suffix: it goes on in the last user turn or is a turn of its own.

    What many suffixes share stands first, so that an engine computes it once.
    """
    if prefix and prefix[-1].role == "user":
        last = Message(role="user", content=prefix[-1].content + suffix)
        return (*prefix[:-1], last)
    return (*prefix, Message(role="user", content=suffix))
