"""What a row is made by: the constitution, the words, the settings; which principle is drawn when.

It knows no model: the same method with other models is the same questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cai import files, templates
from cai.config import Role, Settings
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution, Principle
from cai.constitution.rules import broken
from cai.draws import draw_principles, half_of_lowest_order, of_order, on_topic
from cai.engines.labels import Labels
from cai.engines.local.fed import undated
from cai.errors import CaiError
from cai.records import (
    CriticFacts,
    Finding,
    JudgeFacts,
    Message,
    PairSource,
    Prompt,
    Verdict,
    assistant,
    digest,
    user,
)
from cai.review import flagged
from cai.templates import ASSESSMENT_TEMPLATES, Templates


@dataclass(frozen=True)
class Method:
    """What the chain is made from, besides the prompt and the models."""

    constitution: Constitution
    templates: Templates
    settings: Settings
    judge: JudgeFacts = field(default_factory=JudgeFacts)
    critic: CriticFacts = field(default_factory=CriticFacts)
    dropped: frozenset[str] = frozenset()  # prompts that a person leaves out of the data

    @property
    def revises(self) -> bool:
        """Whether the chain of revisions is needed: for SFT rows, or for pairs of it."""
        return "sft" in self.settings.stages or bool({"revision", "guided"} & set(self.sources))

    @property
    def sources(self) -> tuple[PairSource, ...]:
        """Where pairs come from; there are none if no principle compares, in words or as a rule."""
        compares = self._compares or any(p.check for p in self.constitution.principles)
        return self.settings.pairs if compares and "preferences" in self.settings.stages else ()

    def sources_for(self, prompt: Prompt) -> tuple[PairSource, ...]:
        constitution = self.constitution
        compares = constitution.for_comparison(prompt) or constitution.rules(prompt)
        return self.sources if compares else ()

    @property
    def _compares(self) -> bool:
        """Whether a model is asked which of two answers is better."""
        return any(p.compare is not None and p.check is None for p in self.constitution.principles)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that have something to do."""
        settings = self.settings
        roles: list[Role] = ["policy"] if self.revises else []
        if self.revises:
            rules = [p for p in self.constitution.principles if p.check]
            looks = settings.revisions > 0 and len(rules) < len(self.constitution.principles)
            roles += ["critic"] if (looks and settings.critique) or self._assesses else []
            roles += ["reviser"] if looks or rules else []
        if self.sources and self._compares:
            roles += ["judge"]
        if "sampled" in self.sources:
            roles += ["sampler"]
        return tuple(roles)

    @property
    def choosing_roles(self) -> frozenset[Role]:
        """The roles that pick labels."""
        judged = self.settings.critique and self.settings.verdict
        choosers: set[Role] = {"judge", "critic"} if judged or self._assesses else {"judge"}
        return frozenset(choosers & set(self.roles))

    @property
    def _assesses(self) -> bool:
        """Whether a model is asked what the final text breaks."""
        return self.settings.assess and any(p.assessable for p in self.constitution.principles)

    @property
    def version(self) -> int:
        """The rules by which rows are made; 1 are those of cai 0.1.0."""
        return self.settings.method_version

    def rounds(self, prompt: Prompt) -> int:
        """Rounds of critique and revision; for what breaks a rule there is one more."""
        if prompt.kind == "helpful" and self.settings.helpful == "plain":
            return 0
        return self.settings.revisions if self.constitution.for_revision(prompt) else 0

    def principle_of_round(self, prompt: Prompt, number: int) -> Principle:
        """The principle of the `number`-th round in which a model looks for faults, from 1."""
        among = self.drawn_from(prompt, number)
        return draw_principles(self.settings.seed, prompt.id, number, among)[0]

    def drawn_from(self, prompt: Prompt, number: int) -> tuple[Principle, ...]:
        """The principles among which that round draws."""
        settings, among = self.settings, self.constitution.for_revision(prompt)
        if self.version >= 2:
            among = of_order(among, number if settings.rising_order else 1)
        return on_topic(among, prompt) if settings.topics else among

    def broken(self, prompt: Prompt, text: str) -> tuple[Finding, ...]:
        """What a program finds in a text that breaks the rules for a prompt."""
        findings = []
        for rule in self.constitution.rules(prompt):
            if words := broken(rule, text):
                findings.append(Finding(principle_id=rule.id, text=words))
        return tuple(findings)

    def assessed_by(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles by which a model is asked of the final text whether it breaks them."""
        if not (self.settings.assess and self.revises):
            return ()
        return of_order(self.constitution.for_assessment(prompt), 1)

    def looked_at_by(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles that the final text is assessed by: by a model, and by a program."""
        if not self.revises:
            return ()
        return (*self.assessed_by(prompt), *self.constitution.rules(prompt))

    def asks_for_change(self, verdict: Verdict | None) -> bool:
        """Whether a revision is made: unless both orders agree, clearly, that nothing is wrong."""
        if verdict is None:
            return True
        if self.version == 1:
            return verdict.change
        return not verdict.consistent or verdict.p_change > self.settings.max_p_change

    def most_calls(self, prompt: Prompt) -> int:
        """The calls of a row in which every verdict asks for a change and nothing is redrawn.

        A verdict is two, one per order of the options; so is a judgement or an assessment.
        """
        settings, calls = self.settings, 0
        rounds = self.rounds(prompt)
        if self.revises:
            judged = settings.critique and settings.verdict
            calls += 1 + rounds * (1 + settings.critique + 2 * judged)
            calls += bool(self.constitution.rules(prompt)) + 2 * len(self.assessed_by(prompt))
        drawn = min(settings.judge_principles, len(self.constitution.for_comparison(prompt)))
        label = drawn * 2 * (2 if settings.cot else 1)
        texts = {"revision": 0, "sampled": 2, "guided": 1}
        for source in self.sources_for(prompt):
            if source != "revision" or rounds:
                calls += texts[source] + label
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
        render = self.templates.render
        options = render("change_needed"), render("no_change_needed")
        return self.templates.both_orders("verdict", options, labels.names)

    def assessment_questions(self, principle: Principle, labels: Labels) -> tuple[str, str]:
        """The question with "breaks it" as the first option, and with the options swapped."""
        first, swapped = self.templates.both_orders(
            "violation",
            (self.templates.render("broken"), self.templates.render("kept")),
            labels.names,
            violation=principle.violation,
            request=principle.critique,
            why=principle.why,
        )
        return f"\n\n{first}", f"\n\n{swapped}"

    def rules_request(self, findings: Sequence[Finding]) -> str:
        """What the reviser is asked for an answer that breaks these rules."""
        rules = [self.constitution.principle(f.principle_id) for f in findings]
        return self.templates.render(
            "revise_rules",
            findings="\n".join(f"- {f.text}" for f in findings),
            request="\n".join(f"- {rule.revise}" for rule in rules if rule.revise) or None,
        )

    def request(self, name: str, principle: Principle) -> str:
        words = principle.critique if name == "critique" else principle.revise
        return self.templates.render(name, request=words, why=principle.why)

    def critic_key(self, identity: str) -> str:
        """What an assessor's answers depend on besides the answer: the model and the words."""
        words = {name: self.templates.texts[name] for name in ASSESSMENT_TEMPLATES}
        return digest([undated(identity), words, self.constitution.digest])

    def compared_by(self, prompt: Prompt, source: str) -> tuple[Principle, ...]:
        """The principles of a comparison, drawn without replacement.

        Where a prompt may ask for harm, at least half of them are of the lowest order.
        """
        among = self.constitution.for_comparison(prompt)
        count = self.settings.judge_principles
        ranked = draw_principles(self.settings.seed, prompt.id, source, among, len(among))
        return half_of_lowest_order(ranked, count) if prompt.may_ask_for_harm else ranked[:count]


def load_method(settings: Settings) -> Method:
    """The constitution and the templates that settings name."""
    constitution = load_constitution(files.find_constitution(settings.constitution))
    override = Path(settings.templates) if settings.templates is not None else None
    dropped = flagged(Path(settings.drop)) if settings.drop is not None else frozenset()
    method = Method(constitution, templates.load(override), settings, dropped=dropped)
    if not method.roles:
        raise CaiError(
            f"{settings.constitution}: no principle has a comparison question, so nothing is made",
            "Give a principle `compare`, or make SFT data too: --stages sft,preferences.",
        )
    return method
