"""What a server takes and does, found by asking it; what of that is fed otherwise than before."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, NamedTuple

from cai.records import ChoiceMethod, Message, Record, Sampling

Api = Literal["chat", "completions"]
# How the answer's first words are given before a label: as a last assistant message that the server
# is told to go on from, as one alone, as one with Mistral's and DeepSeek's mark, or in words.
Manner = Literal["continued", "assistant", "prefix", "asked"]

# Ways to switch thinking off, by name, in the order in which they are tried.
SWITCHES: dict[str, dict[str, Any]] = {
    "enable_thinking": {"chat_template_kwargs": {"enable_thinking": False}},
    "thinking": {"chat_template_kwargs": {"thinking": False}},
    "reasoning_effort": {"reasoning_effort": "none"},
    "think": {"think": False},
    "reasoning.enabled": {"reasoning": {"enabled": False}},
    "thinking.type": {"thinking": {"type": "disabled"}},
    "reasoning_effort.minimal": {"reasoning_effort": "minimal"},
}
# Fields of a request that are left out where they are refused, the least important first. With
# both top_p and temperature refused together it is top_p that goes.
OPTIONAL = ("priority", "chat_template_kwargs", "seed", "top_p", "temperature")
_TOLD = ("seed", "top_p", "temperature", "chat_template_kwargs")


class Question(Record):
    """A label question: the conversation, the labels, and the answer's first words."""

    messages: tuple[Message, ...]
    labels: tuple[str, ...]
    answer_prefix: str


class Trial(NamedTuple):
    """What a run will ask of a server, to be tried before its first call."""

    samplings: tuple[Sampling, ...]
    questions: tuple[Question, ...]


class Abilities(Record):
    """What was found by asking a server.

    Attributes:
        owner: Who owns the model, as the server says; version 0.1.0 went by that.
        api: The endpoint that takes conversations.
        limit_key: The field for the most tokens of an answer.
        left_out: Fields that it refuses.
        switch: By which of `SWITCHES` thinking is switched off; empty if by none.
        thinks: Whether the model reasons before its answers all the same.
        waits: Whether labels are read after the reasoning.
        opens: Whether a prompt ends inside a block of reasoning; None if the server does not tell.
        method: How labels are scored.
        manner: How the answer's first words are given.
        zero: Whether it takes a temperature of 0.
        top: Log-probabilities of the likeliest tokens that it gives.
        votes_a_call: Answers that it draws in one call.
        labelled: Whether a label question was tried.
        mass: Of the probability, what fell on the labels of the trial's questions.
        dated: Whether its template writes today's date; None if the server does not tell.
        date_argument: The argument by which its template takes another date.
        date_format: How the date is written, as in `strftime`.
        orders: Whether it takes priorities.
    """

    owner: str = ""
    api: Api = "chat"
    limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    left_out: tuple[str, ...] = ()
    switch: str = ""
    thinks: bool = False
    waits: bool = False
    opens: bool | None = None
    method: ChoiceMethod = "top_logprobs"
    manner: Manner = "asked"
    zero: bool = True
    top: int = 20
    votes_a_call: int = 16
    labelled: bool = False
    mass: float | None = None
    dated: bool | None = None
    date_argument: str = ""
    date_format: str = ""
    orders: bool = False

    @property
    def first_switch(self) -> str:
        """What version 0.1.0 switched thinking off by."""
        return "enable_thinking" if self.owner == "vllm" else ""

    @property
    def first_manner(self) -> Manner:
        """How version 0.1.0 gave the answer's first words."""
        return "continued" if self.owner == "vllm" else "asked"

    def fields(self, day: date | None) -> dict[str, Any]:
        """What goes into every chat besides the conversation: the switch, the date."""
        extra: dict[str, Any] = {}
        extra |= SWITCHES.get(self.switch, {})
        if self.date_argument and day is not None:
            arguments = extra.get("chat_template_kwargs", {})
            argument = {self.date_argument: day.strftime(self.date_format)}
            extra["chat_template_kwargs"] = {**arguments, **argument}
        return extra

    def differences(self, day: date | None) -> dict[str, str]:
        """What a model is fed otherwise than by version 0.1.0, by name."""
        differences: dict[str, str] = {}
        if self.api == "chat":
            # Version 0.1.0 took the words of this refusal for a model without a template.
            if self.owner == "vllm" and "chat_template_kwargs" in self.left_out:
                differences["api"] = "chat"
            elif self.switch != self.first_switch:
                differences["thinking"] = self.switch
            if self.labelled and self.manner != self.first_manner:
                differences["prefix"] = self.manner
            if self.waits:
                differences["labels"] = "waited"
            if self.opens:
                differences["reasoning"] = "opened"
            if self.date_argument and day is not None:
                differences["date"] = day.isoformat()
        without = [f for f in self.left_out if f in ("seed", "top_p", "temperature")]
        if without:
            differences["without"] = ",".join(sorted(without))
        return differences

    def words(self, day: date | None) -> dict[str, str]:
        """What the server is fed besides the texts, and what it does not take, by name."""
        words: dict[str, str] = {}
        if names := [field for field in _TOLD if field in self.left_out]:
            words["left out, as the server refuses it"] = ", ".join(names)
        if self.switch:
            words["thinking"] = f"switched off ({self.switch})"
        if self.thinks:
            read = "; labels are read after it" if self.waits else ""
            words["thinking"] = f"cannot be switched off{read}"
        if self.api == "chat" and self.labelled:
            words["labels"] = _MANNERS[self.manner]
        if self.date_argument and day is not None:
            words["date in the template"] = f"{day.isoformat()} ({self.date_argument})"
        elif self.dated:
            words["date in the template"] = "the server's own day: it cannot be fixed"
        return words

    def warnings(self) -> list[str]:
        """What somebody who reads the data has to know."""
        warnings = []
        for field, effect in _WITHOUT.items():
            if field in self.left_out:
                warnings.append(f"the server refuses `{field}`, so it is left out: {effect}")
        if self.thinks:
            warnings.append(
                "the model reasons before each answer and cannot be told not to: answers that are "
                "cut in it fail, so give it room (--set policy_max_tokens=4096 and the like)"
            )
        if self.dated and not self.date_argument:
            warnings.append(
                "the server's template writes the day on which it is asked, which cannot be fixed: "
                "the same run on another day is another one"
            )
        if self.mass is not None and self.mass < 0.1:
            warnings.append(
                f"only {self.mass:.2g} of the probability falls on the labels that this model is "
                "asked for: its verdicts and labels are worth little"
            )
        return warnings


_MANNERS: dict[Manner, str] = {
    "continued": "after the answer's first words, which the model goes on from",
    "assistant": "after the answer's first words, as a last assistant message",
    "prefix": "after the answer's first words, as a last assistant message marked `prefix`",
    "asked": "asked for in words",
}
_WITHOUT = {
    "seed": "what it draws cannot be drawn again",
    "temperature": "it draws at a temperature of its own",
    "top_p": "it draws from a nucleus of its own, if it has one",
}
