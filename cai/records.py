"""The records that flow through a run: frozen, state in fields, everything derivable a property.

Long, as it is the vocabulary: every record that more than one room speaks of, in one place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]
Kind = Literal["red-team", "helpful", "borderline"]
KINDS: tuple[Kind, ...] = ("red-team", "helpful", "borderline")
FinishReason = Literal["stop", "length"]
PairSource = Literal["revision", "sampled"]
ChoiceMethod = Literal["token", "top_logprobs", "votes"]
Leak = Literal["cut", "torn"]
Stage = Literal["ingest", "respond", "critique", "verdict", "revise", "sample", "reason", "judge"]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Record):
    role: Role
    content: str


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def encodable(value: Any) -> bool:
    """Whether all text of a JSON value can be written in UTF-8 (no half of a surrogate pair)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


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


class Comparison(Record):
    """Two answers to one prompt, to be compared."""

    prompt: Prompt
    response_a: str
    response_b: str

    def swap(self) -> Comparison:
        return self.model_copy(
            update={"response_a": self.response_b, "response_b": self.response_a}
        )


def mean_p(q_ab: float, q_ba: float) -> float:
    """The probability of response_a over both orders, of that of the first option in each."""
    return (1 + (q_ab - q_ba)) / 2


class Judgement(Record):
    """What a judge said of a comparison by one principle, in both orders.

    `q_ab` is the renormalised probability of the first option when response_a stands first, `q_ba`
    when response_b does. `label_mass` is the smaller of the two orders, `method` is how the labels
    were scored.
    """

    principle_id: str
    q_ab: float
    q_ba: float
    label_mass: float
    method: ChoiceMethod = "token"
    reasoning: tuple[str, str] | None = None

    @property
    def p_a(self) -> float:
        return mean_p(self.q_ab, self.q_ba)

    def swap(self) -> Judgement:
        reasoning = self.reasoning and (self.reasoning[1], self.reasoning[0])
        return self.model_copy(
            update={"q_ab": self.q_ba, "q_ba": self.q_ab, "reasoning": reasoning}
        )


class PreferenceLabel(Record):
    """A soft label: K principles, each read in both orders, so that position cancels out.

    Swapping the answers negates `difference`, hence turns p_a into 1 - p_a.
    """

    comparison: Comparison
    judgements: tuple[Judgement, ...] = Field(min_length=1)

    @property
    def difference(self) -> float:
        """d: the sum over K of (q_ab - q_ba), over K; exactly rounded, so order plays no part."""
        terms = [q for j in self.judgements for q in (j.q_ab, -j.q_ba)]
        return math.fsum(terms) / len(self.judgements)

    @property
    def p_a(self) -> float:
        """The probability that response_a is the better one: (1 + d) / 2."""
        return (1 + self.difference) / 2

    @property
    def first_probabilities(self) -> tuple[float, float]:
        """The mean probability of the first option, with response_a and with response_b first."""
        count = len(self.judgements)
        return (
            math.fsum(j.q_ab for j in self.judgements) / count,
            math.fsum(j.q_ba for j in self.judgements) / count,
        )

    @property
    def order_gap(self) -> float:
        """How far apart p_a is in the two orders: 0 no position bias, 1 nothing else."""
        terms = [q for j in self.judgements for q in (j.q_ab, j.q_ba)]
        return abs(math.fsum(terms) / len(self.judgements) - 1)

    @property
    def consistent(self) -> bool:
        """Whether the means of the two orders prefer the same text."""
        a_first, b_first = self.first_probabilities
        return a_first > 0.5 > b_first or a_first < 0.5 < b_first

    @property
    def label_mass(self) -> float:
        return min(j.label_mass for j in self.judgements)

    @property
    def margin(self) -> float:
        return abs(self.difference)

    @property
    def chosen(self) -> str:
        c = self.comparison
        return c.response_a if self.difference > 0 else c.response_b

    @property
    def rejected(self) -> str:
        c = self.comparison
        return c.response_b if self.difference > 0 else c.response_a

    def swap(self) -> PreferenceLabel:
        return PreferenceLabel(
            comparison=self.comparison.swap(),
            judgements=tuple(j.swap() for j in self.judgements),
        )


class Pair(Record):
    """Two answers from one source, with their label, or why they have none.

    Of a `revision` pair, response_a is the first answer and response_b the final revision.
    """

    source: PairSource
    comparison: Comparison
    label: PreferenceLabel | None = None
    dropped: Literal["unchanged", "equal", "near-equal"] | None = None


class Failure(Record):
    """Why a row, or the `pair` of a row, is not in the data."""

    stage: Stage
    prompt_id: str
    error: str
    message: str
    where: str | None = None
    pair: PairSource | None = None


class JudgeFacts(Record):
    """What is known of a run's judge: what its stored check says, the temperature of its labels."""

    usable: bool | None = None
    temperature: float = Field(1.0, gt=0)

    @property
    def state(self) -> str:
        """What its check found, in words."""
        words = {None: "never checked", True: "found usable", False: "did not pass its check"}
        return words[self.usable]


class Row(Record):
    """All that came of one prompt; `missing`: a replay came to a call that is not there."""

    prompt: Prompt
    chain: RevisionChain | None = None
    pairs: tuple[Pair, ...] = ()
    failures: tuple[Failure, ...] = ()
    missing: bool = False

    def verified(self, usable: bool | None) -> bool | None:
        """Whether a usable judge finds the revision better; None where nobody can tell."""
        label = next((p.label for p in self.pairs if p.source == "revision"), None)
        if not usable or label is None or not label.consistent:
            return None
        return label.difference < 0
