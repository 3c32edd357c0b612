"""STAGE 1: respond, then (critique → verdict → revise) × N (Bai et al. 2022, section 3.1).

The critic and the reviser go on in the conversation as chat turns, so what they share is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from cai.cleaning import clean_revision, defect
from cai.constitution.records import Principle
from cai.guiding import with_guide
from cai.method import Method
from cai.records import (
    Cleaned,
    Completion,
    Finding,
    Message,
    Prompt,
    RevisionChain,
    RevisionStep,
    Verdict,
    assistant,
    user,
)
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.reasons import BREAKS

GUIDED_DRAWS = 2  # answers with the constitution in view, until one keeps the rules
RULE_DRAWS = 3  # revisions for the rules, until one keeps them


async def revise(prompt: Prompt, method: Method, calls: RowCalls) -> RevisionChain:
    """The chain of one prompt.

    A round first looks for broken rules, which are revised together; a principle in words is drawn
    only where none is broken. What the last round breaks is revised once more.

    Raises:
        Rejected: A call failed for good or an output was unusable twice.
        MissingCall: In a replay.
    """
    prompt = prompt.with_system(method.settings.system)
    chain = RevisionChain(prompt=prompt, response=await respond(prompt, method, calls))
    rounds, drawn = method.rounds(prompt), 0
    for number in range(1, rounds + 1):
        findings = method.broken(prompt, chain.final)
        if findings:
            chain = chain.plus(await _rules_step(chain, findings, number, method, calls))
            continue
        drawn += 1
        principle = method.principle_of_round(prompt, drawn)
        step = await revise_by(principle, chain, number, method, calls)
        chain = chain.plus(step)
        if step.revision is None and method.version == 1:
            break
    findings = method.broken(prompt, chain.final)
    if findings:
        chain = chain.plus(await _rules_step(chain, findings, rounds + 1, method, calls))
    return chain


async def respond(prompt: Prompt, method: Method, calls: RowCalls) -> str:
    """The first answer; with the constitution in view it is drawn until it keeps the rules."""
    settings = method.settings
    messages = with_guide(prompt, method) if settings.guided else prompt.messages

    def problem(completion: Completion) -> str | None:
        what = defect(completion, completion.text, (prompt.last_human_turn,), rules=method.version)
        # What was cut and breaks a rule as it stands is revised anyway.
        cut = what == "truncated" and method.broken(prompt, completion.text.strip())
        return None if cut else what

    sampling, longer = settings.sampling("policy"), method.version >= 2
    draw = partial(calls.generate, "respond", 0, messages, sampling, problem, longer=longer)
    text = (await draw()).text.strip()
    for ordinal in range(1, GUIDED_DRAWS if settings.guided else 1):
        if not method.broken(prompt, text):
            break
        with suppress(Rejected):  # then the one before it is revised
            text = (await draw(ordinal=ordinal)).text.strip()
    return text


async def revise_by(
    principle: Principle, chain: RevisionChain, number: int, method: Method, calls: RowCalls
) -> RevisionStep:
    """A round in which a model looks for faults by one principle.

    Raises:
        Rejected, MissingCall: As `revise`.
    """
    settings, prompt = method.settings, chain.prompt
    talk = conversation(prompt, chain.final, method)
    critique, verdict = None, None
    if settings.critique:
        talk = (*talk, user(method.request("critique", principle)))
        critique = await ask_critique(talk, number, method, calls)
        talk = (*talk, assistant(critique))
        if settings.verdict:
            verdict = await ask_verdict(talk, method, calls)
    cleaned = None
    if method.asks_for_change(verdict):
        talk = (*talk, user(method.request("revise", principle)))
        cleaned = await _revision(talk, prompt, number, method, calls)
    return RevisionStep(
        principle_id=principle.id,
        critique=critique,
        verdict=verdict,
        revision=cleaned.text if cleaned else None,
        removed=cleaned.removed if cleaned else (),
    )


async def _rules_step(
    chain: RevisionChain,
    findings: Sequence[Finding],
    number: int,
    method: Method,
    calls: RowCalls,
) -> RevisionStep:
    """A round for broken rules: what a program found is the critique of all of them."""
    request = user(method.rules_request(findings))
    talk = (*conversation(chain.prompt, chain.final, method), request)
    said = ((request.content,), tuple(f.text for f in findings))
    cleaned = await _drawn_revision(talk, chain.prompt, number, said, method, calls, for_rules=True)
    return RevisionStep(
        principle_id=findings[0].principle_id,
        critique=None,
        verdict=None,
        revision=cleaned.text,
        removed=cleaned.removed,
        findings=tuple(findings),
    )


def conversation(prompt: Prompt, answer: str, method: Method) -> tuple[Message, ...]:
    """System text, few-shot cases, the prompt's turns and the answer as it stands."""
    turns = prompt.messages
    head = turns[:1] if turns[0].role == "system" else ()
    return (*head, *method.few_shot, *turns[len(head) :], assistant(answer))


async def verdict_of(
    principle: Principle, prompt: Prompt, answer: str, method: Method, calls: RowCalls
) -> Verdict:
    """What a critic says of an answer by one principle, after a critique, as in the chain.

    Raises:
        Rejected, MissingCall: As `revise`.
    """
    request = user(method.request("critique", principle))
    talk = (*conversation(prompt, answer, method), request)
    critique = await ask_critique(talk, 1, method, calls)
    return await ask_verdict((*talk, assistant(critique)), method, calls)


async def ask_critique(
    talk: tuple[Message, ...], number: int, method: Method, calls: RowCalls
) -> str:
    """What the critic says to a conversation that ends with the critique request."""

    def problem(completion: Completion) -> str | None:
        # A critique that was cut is still read; it never becomes training data.
        whole = completion.model_copy(update={"finish_reason": "stop"})
        return defect(whole, completion.text, rules=method.version)

    sampling = method.settings.sampling("critic")
    return (await calls.generate("critique", number, talk, sampling, problem)).text.strip()


async def ask_verdict(talk: tuple[Message, ...], method: Method, calls: RowCalls) -> Verdict:
    """Whether a change is needed: the labels' probabilities in both orders, never parsed text."""
    labels = await calls.labels("verdict")
    least = method.settings.min_label_mass
    questions = method.verdict_questions(labels)
    answers = await calls.choose("verdict", talk, questions, labels, least=least)
    # Of the first option in each order: a critic of positions gives the same, hence exactly 0.5.
    needed, fine = (scores.probabilities[0] for scores in answers)
    return Verdict(
        p_change=(1 + (needed - fine)) / 2,
        order_gap=abs(needed + fine - 1),
        label_mass=min(scores.mass for scores in answers),
    )


async def _revision(
    talk: tuple[Message, ...], prompt: Prompt, number: int, method: Method, calls: RowCalls
) -> Cleaned:
    # The requests for critique and revision are the user turns after the answer.
    last = len(talk) - 1
    requests = tuple(m.content for m in talk[last - 2 * method.settings.critique :: 2])
    critiques = tuple(m.content for m in talk[last - method.settings.critique : last])
    return await _drawn_revision(talk, prompt, number, (requests, critiques), method, calls)


async def _drawn_revision(
    talk: tuple[Message, ...],
    prompt: Prompt,
    number: int,
    said: tuple[tuple[str, ...], tuple[str, ...]],
    method: Method,
    calls: RowCalls,
    *,
    for_rules: bool = False,
) -> Cleaned:
    """A revision, cleaned; `said` are requests and critiques that it must not repeat.

    Raises:
        Rejected: No draw is usable; one `for_rules` has to keep them all.
    """
    asked, version = prompt.last_human_turn, method.version
    requests, critiques = said

    def problem(completion: Completion) -> str | None:
        text = clean_revision(completion.text, asked, rules=version).text
        what = defect(completion, text, (asked,), requests, critiques=critiques, rules=version)
        broken = method.broken(prompt, text) if for_rules and what is None else ()
        return f"{BREAKS}: {' '.join(f.text for f in broken)}" if broken else what

    completion = await calls.generate(
        "revise",
        number,
        talk,
        method.settings.sampling("reviser"),
        problem,
        tries=RULE_DRAWS if for_rules else 2,
        longer=version >= 2,
    )
    cleaned = clean_revision(completion.text, asked, rules=version)
    parts = [*(["reasoning"] if completion.reasoning is not None else [])]
    parts += ["leak"] if completion.leak is not None else []
    return cleaned.model_copy(update={"removed": (*parts, *cleaned.removed)}) if parts else cleaned
