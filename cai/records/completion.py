"""What a model is asked with, and what it gives back."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import ConfigDict, Field

from cai.records.base import Record

FinishReason = Literal["stop", "length"]
ChoiceMethod = Literal["token", "top_logprobs", "votes"]
Leak = Literal["cut", "torn"]


class Sampling(Record):
    """How one completion is drawn; `seed` is part of it, so that a re-run draws the same."""

    temperature: float = Field(ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(ge=1)
    seed: int = 0


class Usage(Record):
    """Tokens of a call; `cached_tokens` of the input were not computed again, if that is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None

    def plus(self, more: Usage) -> Usage:
        """Of two calls together; what was cached is not added up."""
        return Usage(
            input_tokens=self.input_tokens + more.input_tokens,
            output_tokens=self.output_tokens + more.output_tokens,
        )


class Completion(Record):
    """What a model wrote. `text` holds no reasoning; that is in `reasoning`.

    `leak`: a server let tokens or turns of the model's template through; they are `cut` off a whole
    answer, or the text is `torn` by them.
    """

    text: str
    reasoning: str | None = None
    leak: Leak | None = None
    finish_reason: FinishReason
    usage: Usage = Usage()
    model: str


class Likelihood(Record):
    """How likely a model finds an answer: -log p of its tokens and of its end, summed, in nats."""

    nats: float
    tokens: int
    usage: Usage = Usage()
    model: str

    @property
    def per_token(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens


class ChoiceScores(Record):
    """Log-probabilities of the labels (natural log, over the whole vocabulary) after one suffix.

    A label that cannot follow has -inf. `method`: from the labels' own tokens, from the likeliest
    tokens that name a label, or from the shares of drawn answers.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")

    logprobs: tuple[float, ...]
    usage: Usage = Usage()
    model: str
    method: ChoiceMethod = "token"

    @property
    def mass(self) -> float:
        """The probability that fell on the labels, in [0, 1]."""
        return math.fsum(math.exp(x) for x in self.logprobs)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probabilities of the labels, renormalised over them."""
        top = max(self.logprobs)
        weights = [math.exp(x - top) for x in self.logprobs]
        return tuple(w / math.fsum(weights) for w in weights)
