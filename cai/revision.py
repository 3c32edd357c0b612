"""STAGE 1: respond, then (critique → verdict → revise) × N (Bai et al. 2022, section 3.1).

The critic and the reviser go on in the conversation as chat turns, so what they share is read once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cai.cleaning import clean_revision, defect
from cai.config import Settings
from cai.records import (
    Cleaned,
    Completion,
    Constitution,
    Message,
    Principle,
    Prompt,
    RevisionChain,
    RevisionStep,
    Verdict,
)
from cai.runtime.calls import Rejected, RowCalls
from cai.templates import Templates

LABELS = ("A", "B")
ANSWER_PREFIX = "The right option is ("


@dataclass(frozen=True)
class Method:
    """What the chain is made from, besides the prompt and the models."""

    constitution: Constitution
    templates: Templates
    settings: Settings

    def rounds(self, prompt: Prompt) -> int:
        if prompt.kind == "helpful" and self.settings.helpful == "plain":
            return 0
        return self.settings.revisions if self.constitution.for_revision(prompt) else 0

    def most_calls(self, prompt: Prompt) -> int:
        """The calls of a chain in which every verdict asks for a change and nothing is redrawn.

        A verdict is two, one per order of the options.
        """
        judged = self.settings.critique and self.settings.verdict
        per_round = 1 + self.settings.critique + 2 * judged
        return 1 + self.rounds(prompt) * per_round

    @cached_property
    def few_shot(self) -> tuple[Message, ...]:
        """The few-shot cases as chat turns; where nothing is wrong the answer is repeated."""
        turns: list[Message] = []
        for case in self.constitution.few_shot if self.settings.few_shot else ():
            principle = self.constitution.principle(case.principle)
            turns += [_user(case.prompt), _assistant(case.response)]
            if self.settings.critique:
                turns.append(_user(self.request("critique", principle)))
                turns.append(_assistant(case.critique or ""))
            turns.append(_user(self.request("revise", principle)))
            turns.append(_assistant(case.revision or case.response))
        return tuple(turns)

    @cached_property
    def verdict_questions(self) -> tuple[str, str]:
        """The question with "needed" as option A, and with the options swapped."""
        needed = self.templates.render("change_needed")
        fine = self.templates.render("no_change_needed")
        ask = self.templates.render
        return ask("verdict", first=needed, second=fine), ask("verdict", first=fine, second=needed)

    def request(self, name: str, principle: Principle) -> str:
        words = principle.critique if name == "critique" else principle.revise
        return self.templates.render(name, request=words, why=principle.why)


def draw_principle(seed: int, prompt_id: str, step: int, among: Sequence[Principle]) -> Principle:
    """Weighted rendezvous hashing: adding a principle moves draws to it and none between others.

    Each principle's score is -ln(u) / weight with u from SHA-256 of (seed, prompt, step,
    principle); the lowest wins, which is a draw in proportion to the weights.
    """

    def score(principle: Principle) -> float:
        address = f"{seed} {step} {principle.id} {prompt_id}"
        drawn = int.from_bytes(hashlib.sha256(address.encode()).digest()[:7], "big")
        return -math.log((drawn + 0.5) / 2**56) / principle.weight

    return min(among, key=score)


async def revise(prompt: Prompt, method: Method, calls: RowCalls) -> RevisionChain:
    """The chain of one prompt.

    Raises:
        Rejected: A call failed for good or an output was unusable twice.
        MissingCall: In a replay.
    """
    prompt = prompt.with_system(method.settings.system)
    response = await _respond(prompt, method, calls)
    chain = RevisionChain(prompt=prompt, response=response)
    for number in range(1, method.rounds(prompt) + 1):
        step = await _step(chain, number, method, calls)
        chain = chain.model_copy(update={"steps": (*chain.steps, step)})
        if step.revision is None:
            break
    return chain


async def _respond(prompt: Prompt, method: Method, calls: RowCalls) -> str:
    def problem(completion: Completion) -> str | None:
        return defect(completion, completion.text, (prompt.last_human_turn,))

    completion = await calls.generate(
        "respond", 0, prompt.messages, method.settings.sampling("policy"), problem
    )
    return completion.text.strip()


async def _step(chain: RevisionChain, number: int, method: Method, calls: RowCalls) -> RevisionStep:
    settings, prompt = method.settings, chain.prompt
    among = method.constitution.for_revision(prompt)
    principle = draw_principle(settings.seed, prompt.id, number, among)
    talk = _conversation(chain, method)
    critique, verdict = None, None
    if settings.critique:
        talk = (*talk, _user(method.request("critique", principle)))
        critique = await _critique(talk, number, method, calls)
        talk = (*talk, _assistant(critique))
        if settings.verdict:
            verdict = await _verdict(talk, method, calls)
    cleaned = None
    if verdict is None or verdict.change:
        talk = (*talk, _user(method.request("revise", principle)))
        cleaned = await _revision(talk, prompt, number, method, calls)
    return RevisionStep(
        principle_id=principle.id,
        critique=critique,
        verdict=verdict,
        revision=cleaned.text if cleaned else None,
        removed=cleaned.removed if cleaned else (),
    )


def _conversation(chain: RevisionChain, method: Method) -> tuple[Message, ...]:
    """System text, few-shot cases, the prompt's turns and the answer as it stands."""
    turns = chain.prompt.messages
    head = turns[:1] if turns[0].role == "system" else ()
    return (*head, *method.few_shot, *turns[len(head) :], _assistant(chain.final))


async def _critique(talk: tuple[Message, ...], number: int, method: Method, calls: RowCalls) -> str:
    def problem(completion: Completion) -> str | None:
        # A critique that was cut is still read; it never becomes training data.
        return defect(completion.model_copy(update={"finish_reason": "stop"}), completion.text)

    sampling = method.settings.sampling("critic")
    return (await calls.generate("critique", number, talk, sampling, problem)).text.strip()


async def _verdict(talk: tuple[Message, ...], method: Method, calls: RowCalls) -> Verdict:
    """Whether a change is needed: the labels' probabilities in both orders, never parsed text."""
    asked = await calls.choose("verdict", talk, method.verdict_questions, LABELS, ANSWER_PREFIX)
    mass = min(scores.mass for scores in asked)
    if mass < method.settings.min_label_mass:
        share = f"{mass:.2g} of the probability fell on the labels"
        raise Rejected(
            "verdict", "label mass", f"{share}, less than {method.settings.min_label_mass}"
        )
    needed_first, needed_second = asked[0].probabilities[0], asked[1].probabilities[1]
    return Verdict(
        p_change=(needed_first + needed_second) / 2,
        order_gap=abs(needed_first - needed_second),
        label_mass=mass,
    )


async def _revision(
    talk: tuple[Message, ...], prompt: Prompt, number: int, method: Method, calls: RowCalls
) -> Cleaned:
    # The requests for critique and revision are the user turns after the answer.
    last = len(talk) - 1
    requests = tuple(m.content for m in talk[last - 2 * method.settings.critique :: 2])

    def problem(completion: Completion) -> str | None:
        text = clean_revision(completion.text).text
        return defect(completion, text, (prompt.last_human_turn,), requests)

    sampling = method.settings.sampling("reviser")
    completion = await calls.generate("revise", number, talk, sampling, problem)
    cleaned = clean_revision(completion.text)
    if completion.reasoning is not None:
        return cleaned.model_copy(update={"removed": ("reasoning", *cleaned.removed)})
    return cleaned


def _user(text: str) -> Message:
    return Message(role="user", content=text)


def _assistant(text: str) -> Message:
    return Message(role="assistant", content=text)
