"""What a row is made by: the constitution, the words, the settings; which principle is drawn when.

It knows no model: the same method with other models is the same questions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cai import files, templates
from cai.config import Role, Settings
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution, Principle
from cai.engines.labels import Labels
from cai.engines.local.fed import undated
from cai.errors import CaiError
from cai.records import JudgeFacts, Message, PairSource, Prompt, assistant, digest, user
from cai.templates import JUDGE_TEMPLATES, Templates


@dataclass(frozen=True)
class Method:
    """What the chain is made from, besides the prompt and the models."""

    constitution: Constitution
    templates: Templates
    settings: Settings
    judge: JudgeFacts = field(default_factory=JudgeFacts)

    @property
    def revises(self) -> bool:
        """Whether the chain of revisions is needed: for SFT rows, or for pairs of it."""
        return "sft" in self.settings.stages or "revision" in self.sources

    @property
    def sources(self) -> tuple[PairSource, ...]:
        """Where pairs come from; there are none if no principle has a comparison question."""
        compares = any(p.compare is not None for p in self.constitution.principles)
        return self.settings.pairs if compares and "preferences" in self.settings.stages else ()

    def sources_for(self, prompt: Prompt) -> tuple[PairSource, ...]:
        return self.sources if self.constitution.for_comparison(prompt) else ()

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that have something to do."""
        settings = self.settings
        roles: list[Role] = ["policy"] if self.revises else []
        if self.revises and settings.revisions:
            roles += ["critic"] if settings.critique else []
            roles += ["reviser"]
        if self.sources:
            roles += ["judge"]
        if "sampled" in self.sources:
            roles += ["sampler"]
        return tuple(roles)

    @property
    def choosing_roles(self) -> frozenset[Role]:
        """The roles that pick labels."""
        judged = self.settings.critique and self.settings.verdict
        choosers: set[Role] = {"judge", "critic"} if judged else {"judge"}
        return frozenset(choosers & set(self.roles))

    def rounds(self, prompt: Prompt) -> int:
        if prompt.kind == "helpful" and self.settings.helpful == "plain":
            return 0
        return self.settings.revisions if self.constitution.for_revision(prompt) else 0

    def most_calls(self, prompt: Prompt) -> int:
        """The calls of a row in which every verdict asks for a change and nothing is redrawn.

        A verdict is two, one per order of the options; so is a judgement.
        """
        settings, calls = self.settings, 0
        if self.revises:
            judged = settings.critique and settings.verdict
            calls += 1 + self.rounds(prompt) * (1 + settings.critique + 2 * judged)
        drawn = min(settings.judge_principles, len(self.constitution.for_comparison(prompt)))
        label = drawn * 2 * (2 if settings.cot else 1)
        if "revision" in self.sources_for(prompt) and self.rounds(prompt):
            calls += label
        if "sampled" in self.sources_for(prompt):
            calls += 2 + label
        return calls

    @cached_property
    def few_shot(self) -> tuple[Message, ...]:
        """The few-shot cases as chat turns; where nothing is wrong the answer is repeated."""
        turns: list[Message] = []
        for case in self.constitution.few_shot if self.settings.few_shot else ():
            principle = self.constitution.principle(case.principle)
            turns += [user(case.prompt), assistant(case.response)]
            if self.settings.critique:
                turns.append(user(self.request("critique", principle)))
                turns.append(assistant(case.critique or ""))
            turns.append(user(self.request("revise", principle)))
            turns.append(assistant(case.revision or case.response))
        return tuple(turns)

    def verdict_questions(self, labels: Labels) -> tuple[str, str]:
        """The question with "needed" as the first option, and with the options swapped."""
        needed = self.templates.render("change_needed")
        fine = self.templates.render("no_change_needed")
        names = {"first_label": labels.first, "second_label": labels.second}
        ask = self.templates.render
        return (
            ask("verdict", first=needed, second=fine, **names),
            ask("verdict", first=fine, second=needed, **names),
        )

    def request(self, name: str, principle: Principle) -> str:
        words = principle.critique if name == "critique" else principle.revise
        return self.templates.render(name, request=words, why=principle.why)

    def judge_key(self, identity: str) -> str:
        """What a judge's labels depend on besides the pair: itself, K, and what it is asked by.

        A temperature that fits the mean of 4 principles is wrong by far for that of 1 or 16, and
        other principles are other questions.
        """
        asked = [self.settings.judge_principles, self.constitution.digest]
        return f"{self.judge_itself(identity)}-{digest(asked)}"

    def judge_itself(self, identity: str) -> str:
        """The beginning of a judge's keys: the model, the words around a question, reasoning."""
        words = {name: self.templates.texts[name] for name in JUDGE_TEMPLATES}
        return digest([undated(identity), words, self.settings.cot])

    def compared_by(self, prompt: Prompt, source: str) -> tuple[Principle, ...]:
        """The principles of a comparison, drawn without replacement."""
        among = self.constitution.for_comparison(prompt)
        count = self.settings.judge_principles
        return draw_principles(self.settings.seed, prompt.id, source, among, count)


def draw_principles(
    seed: int, prompt_id: str, step: int | str, among: Sequence[Principle], count: int = 1
) -> tuple[Principle, ...]:
    """Weighted rendezvous hashing: adding a principle moves draws to it and none between others.

    Each principle's score is -ln(u) / weight with u from SHA-256 of (seed, prompt, step,
    principle); the lowest win, which is a draw in proportion to the weights, without replacement.
    """

    def score(principle: Principle) -> float:
        address = f"{seed} {step} {principle.id} {prompt_id}"
        drawn = int.from_bytes(hashlib.sha256(address.encode()).digest()[:7], "big")
        return -math.log((drawn + 0.5) / 2**56) / principle.weight

    return tuple(sorted(among, key=score)[:count])


def load_method(settings: Settings) -> Method:
    """The constitution and the templates that settings name."""
    constitution = load_constitution(files.find_constitution(settings.constitution))
    override = Path(settings.templates) if settings.templates is not None else None
    method = Method(constitution, templates.load(override), settings)
    if not method.roles:
        raise CaiError(
            f"{settings.constitution}: no principle has a comparison question, so nothing is made",
            "Give a principle `compare`, or make SFT data too: --stages sft,preferences.",
        )
    return method
