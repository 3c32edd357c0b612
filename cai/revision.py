"""STAGE 1: respond, then (critique → verdict → revise) × N (Bai et al. 2022, section 3.1).

The critic and the reviser go on in the conversation as chat turns, so what they share is read once.
"""

from __future__ import annotations

from cai.cleaning import clean_revision, defect
from cai.method import Method, draw_principles
from cai.records import (
    Cleaned,
    Completion,
    Message,
    Prompt,
    RevisionChain,
    RevisionStep,
    Verdict,
    assistant,
    user,
)
from cai.runtime.calls import RowCalls


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
    principle = draw_principles(settings.seed, prompt.id, number, among)[0]
    talk = _conversation(chain, method)
    critique, verdict = None, None
    if settings.critique:
        talk = (*talk, user(method.request("critique", principle)))
        critique = await ask_critique(talk, number, method, calls)
        talk = (*talk, assistant(critique))
        if settings.verdict:
            verdict = await ask_verdict(talk, method, calls)
    cleaned = None
    if verdict is None or verdict.change:
        talk = (*talk, user(method.request("revise", principle)))
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
    return (*head, *method.few_shot, *turns[len(head) :], assistant(chain.final))


async def ask_critique(
    talk: tuple[Message, ...], number: int, method: Method, calls: RowCalls
) -> str:
    """What the critic says to a conversation that ends with the critique request."""

    def problem(completion: Completion) -> str | None:
        # A critique that was cut is still read; it never becomes training data.
        return defect(completion.model_copy(update={"finish_reason": "stop"}), completion.text)

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

    def problem(completion: Completion) -> str | None:
        text = clean_revision(completion.text, prompt.last_human_turn).text
        return defect(completion, text, (prompt.last_human_turn,), requests, critiques=critiques)

    sampling = method.settings.sampling("reviser")
    completion = await calls.generate("revise", number, talk, sampling, problem)
    cleaned = clean_revision(completion.text, prompt.last_human_turn)
    parts = [*(["reasoning"] if completion.reasoning is not None else [])]
    parts += ["leak"] if completion.leak is not None else []
    return cleaned.model_copy(update={"removed": (*parts, *cleaned.removed)}) if parts else cleaned
