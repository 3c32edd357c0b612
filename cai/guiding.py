"""The constitution in view of the one who answers: context distillation.

An answer that was written with the principles in view is learnt without them (Askell et al. 2021,
section 2; Open Character Training, arXiv 2511.01689).
"""

from __future__ import annotations

from cai.constitution.records import Principle
from cai.constitution.rule_words import allowed
from cai.method import Method
from cai.records import Message, Prompt, assistant, digest, user

EXAMPLES = 2  # in view beside the principles; a small model keeps to a form that it sees


def with_guide(prompt: Prompt, method: Method) -> tuple[Message, ...]:
    """A prompt's turns behind the constitution as system text, before one that is there."""
    principles = [p for p in method.constitution.principles if p.applies(prompt)]
    lines = [f"- {words}" for p in principles if (words := in_words(p)) is not None]
    guide = method.templates.render("guide", principles="\n".join(lines))
    turns = prompt.messages
    if turns[0].role == "system":
        guide, turns = f"{guide}\n\n{turns[0].content}", turns[1:]
    return (Message(role="system", content=guide), *_examples(prompt, method), *turns)


def in_words(principle: Principle) -> str | None:
    """What a principle asks of an answer, in words, with its reason."""
    words = principle.revise or principle.violation
    if principle.check is not None:
        words = " ".join(filter(None, (allowed(principle.check), principle.revise)))
    reason = f" ({principle.why.rstrip('.')}.)" if principle.why else ""
    return f"{words}{reason}" if words else None


def _examples(prompt: Prompt, method: Method) -> tuple[Message, ...]:
    """Examples of the principles that apply, with answers that keep every rule, by a hash."""
    cases = [
        (case.prompt, text)
        for p in method.constitution.principles
        if p.applies(prompt)
        for case in p.examples
        if (text := case.response if case.verdict == "fine" else case.revision) is not None
        and not method.broken(prompt, text)
    ]
    ranked = sorted(cases, key=lambda case: digest([method.settings.seed, prompt.id, *case]))
    return tuple(m for asked, text in ranked[:EXAMPLES] for m in (user(asked), assistant(text)))
