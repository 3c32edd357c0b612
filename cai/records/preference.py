"""Two answers and the label of which is better."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from cai.records.base import Record
from cai.records.completion import ChoiceMethod
from cai.records.prompt import Prompt

PairSource = Literal["revision", "sampled", "guided"]


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
    were scored; `check`: by a program.
    """

    principle_id: str
    q_ab: float
    q_ba: float
    label_mass: float
    method: ChoiceMethod | Literal["check"] = "token"
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

    Of a `revision` pair, response_a is the first answer and response_b the final revision; of a
    `guided` pair, response_a was written without the constitution in view, response_b with it.
    """

    source: PairSource
    comparison: Comparison
    label: PreferenceLabel | None = None
    dropped: Literal["unchanged", "equal", "near-equal", "alike by the rules"] | None = None
