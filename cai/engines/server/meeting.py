"""The first questions to a server: what the run will send is tried, and what works is kept."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from cai.engines.server.abilities import Abilities, Question, Trial
from cai.engines.server.labelling import mean_mass, settle_labels
from cai.engines.server.reasoning import reasons, settle_date, settle_reasoning
from cai.engines.server.trying import Line, Trying
from cai.errors import CallError
from cai.records import Sampling, user

GENERAL = Trial(
    samplings=(Sampling(temperature=0.7, max_tokens=512, seed=1),),
    questions=(
        Question(
            messages=(
                user(
                    "Which of these words is the name of a colour?\n(A) green\n(B) table\n\n"
                    "Name the label of the right option: A or B."
                ),
            ),
            labels=("A", "B"),
            answer_prefix="The right option is (",
        ),
    ),
)


async def meet(
    line: Line,
    trial: Trial,
    day: date | None,
    *,
    owner: str,
    orders: bool,
    context: int | None = None,
    known: Abilities | None = None,
) -> Abilities:
    """What a server takes and does.

    Args:
        line: The way to it.
        trial: What will be asked of it.
        day: The date for its template.
        owner: Who owns the model, as it says.
        orders: Whether it may take priorities.
        context: Of the model, in tokens, where that is told.
        known: What was found before; it is kept while all of it still works.

    Raises:
        CallError: It refuses a short question in every form.
        CaiError: Its answers are a model's channels.
        NoAnswer: It does not answer.
    """
    if known is not None:
        abilities = known.model_copy(update={"orders": orders})
        trying = Trying(line, trial, day, context, abilities)
        if await _still(trying):
            return trying.able
    switch = "enable_thinking" if owner == "vllm" else ""
    able = Abilities(owner=owner, orders=orders, switch=switch)
    trying = Trying(line, trial, day, context, able)
    await _settle(trying)
    return trying.able


async def _settle(trying: Trying) -> None:
    answer: dict[str, Any] = {}
    for sampling in trying.samplings():
        answer = await trying.adapted(partial(trying.drawn, sampling))
    if trying.able.api == "chat":
        await settle_reasoning(trying, answer)
        await settle_date(trying)
    if trying.trial.questions:
        await settle_labels(trying)


async def _still(trying: Trying) -> bool:
    """Whether what was known works as before."""
    able = trying.able
    if trying.trial.questions and not able.labelled:
        return False
    try:
        for sampling in trying.samplings():
            answer = await trying.post(trying.drawn(sampling))
        if reasons(trying, answer) and not able.thinks and not able.opens:
            return False
        if trying.trial.questions:
            mass = await mean_mass(trying)
            # A share of a few votes says little of another.
            least = able.mass / 4 if able.mass and able.method != "votes" else -1.0
            return mass is not None and mass > least
    except CallError:
        return False
    return True
