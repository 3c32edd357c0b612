"""How a server is asked for labels: the way in which most of the probability falls on them."""

from __future__ import annotations

import math
from typing import Any

from cai.engines.labels import CANDIDATES
from cai.engines.server import requests
from cai.engines.server.abilities import Abilities, Manner, Question
from cai.engines.server.answers import choice_of, choices_of
from cai.engines.server.refusals import names_field
from cai.engines.server.scores import by_ids, by_top, by_votes
from cai.engines.server.trying import Trying
from cai.errors import CallError, EngineBusy
from cai.records import ChoiceMethod, messages_as_data

_FEWER_TOP = 5
_VOTES = 4  # drawn to compare two ways of asking
# Another way than version 0.1.0's must be better by so much: its calls stay usable otherwise.
_MARGIN = 0.05
_GOOD = 0.5
_GIVEN: tuple[Manner, ...] = ("continued", "assistant", "prefix")


async def settle_labels(trying: Trying) -> None:
    """How labels are scored and asked for: the way in which most probability falls on them."""
    trying.learn(labelled=True)
    tokens = await _by_tokens(trying) if trying.able.api == "chat" else None
    if tokens is not None and (tokens.mass is None or tokens.mass >= _GOOD):
        trying.able = tokens
        return
    candidates = [tokens]
    candidates.append(await _try(trying, "top_logprobs", "asked"))
    for manner in _GIVEN if candidates[-1] is not None and trying.able.api == "chat" else ():
        candidates.append(await _try(trying, "top_logprobs", manner))
    there = [able for able in candidates if able is not None]
    if not there:
        await _settle_votes(trying)
        return
    trying.able = best = max(there, key=_worth)
    if best.thinks and (best.mass or 0.0) < _GOOD:
        trying.learn(waits=True)
        waited = await _try(trying, "top_logprobs", "asked")
        trying.able = waited if waited and _worth(waited) > _worth(best) else best


async def _by_tokens(trying: Trying) -> Abilities | None:
    """Labels by the ids of their tokens, after the answer's first words; None if it cannot."""
    question = trying.trial.questions[0]
    if await trying.line.label_ids(question.labels, question.answer_prefix) is not None:
        return await _try(trying, "token", "continued")
    # Other labels than those of the question are single tokens of this model: they will be taken.
    for labels in CANDIDATES:
        ids = await trying.line.label_ids(labels.names, labels.answer_prefix)
        if ids is None:
            continue
        other = question.model_copy(update={"answer_prefix": labels.answer_prefix})
        trying.learn(method="token", manner="continued")
        body = _for_label(trying, other) | requests.scoring(trying.able, ids)
        try:
            by_ids(choice_of(await trying.post(body)), ids, trying.able)
        except (CallError, EngineBusy):
            return None
        return trying.able
    return None


async def _try(trying: Trying, method: ChoiceMethod, manner: Manner) -> Abilities | None:
    """One way of asking, with the mass of the labels; None where the server cannot."""
    trying.learn(method=method, manner=manner)
    try:
        mass = await mean_mass(trying)
    except CallError as error:
        refusal = str(error)
        if trying.able.zero and names_field(refusal, "temperature"):
            trying.learn(zero=False)
        elif method != "token" and "logprobs" in refusal and trying.able.top > _FEWER_TOP:
            trying.learn(top=_FEWER_TOP)
        else:
            return None
        return await _try(trying, method, manner)
    if mass is None:
        return None
    trying.learn(mass=mass)
    return trying.able


async def mean_mass(trying: Trying) -> float | None:
    """The mean mass over the trial's questions; None where there are no log-probabilities."""
    masses = []
    for question in trying.trial.questions:
        mass = await _mass_of(trying, question)
        if mass is None:
            return None
        masses.append(mass)
    return math.fsum(masses) / len(masses)


async def _mass_of(trying: Trying, question: Question) -> float | None:
    able, ids = trying.able, None
    if able.method == "votes":
        return await _share_of_votes(trying, question)
    if able.method == "token":
        ids = await trying.line.label_ids(question.labels, question.answer_prefix)
        if ids is None:
            return None
    body = _for_label(trying, question) | requests.scoring(able, ids or (), trying.context)
    for _ in range(2):  # an answer without them may be a fault
        choice = choice_of(await trying.post(body))
        try:
            if ids is not None:
                logprobs = by_ids(choice, ids, able)
            else:
                logprobs = by_top(choice, question.labels, question.answer_prefix, able)
        except EngineBusy:
            continue
        return min(1.0, math.fsum(map(math.exp, logprobs)))
    return None


def _for_label(trying: Trying, question: Question) -> dict[str, Any]:
    turns = messages_as_data(question.messages)
    prefix = question.answer_prefix
    return requests.for_label(trying.line.model, turns, prefix, trying.able, trying.day)


async def _settle_votes(trying: Trying) -> None:
    """Where there are no log-probabilities: how many answers a call gives, and the words."""
    trying.learn(method="votes", manner="asked", waits=trying.able.thinks)
    two = requests.voting(trying.able, 2, 1, trying.context)
    body = _for_label(trying, trying.trial.questions[0]) | two
    try:
        single = len(choices_of(await trying.post(body))) < 2
    except CallError:
        single = True
    trying.learn(votes_a_call=1 if single else requests.VOTES)
    ways: tuple[Manner, ...] = ("asked", *_GIVEN)
    only = trying.able.api == "completions" or trying.able.thinks
    candidates: list[Abilities] = []
    for manner in ways[:1] if only else ways:
        able = await _try(trying, "votes", manner)
        candidates += [able] if able is not None else []
        if able is not None and (able.mass or 0.0) >= _GOOD:
            break
    if not candidates:
        raise CallError("the server refuses a question for a label in every form")
    trying.able = max(candidates, key=_worth)


async def _share_of_votes(trying: Trying, question: Question) -> float:
    body, named, drawn = _for_label(trying, question), 0, 0
    while drawn < _VOTES:
        how = requests.voting(trying.able, _VOTES - drawn, 1 + drawn, trying.context)
        choices = choices_of(await trying.post(body | how))[: _VOTES - drawn]
        named += sum(by_votes(choices, question.labels, question.answer_prefix, trying.able))
        drawn += len(choices)
    return named / drawn


def _worth(able: Abilities) -> tuple[float, bool]:
    own = able.manner == able.first_manner and not able.waits
    return (able.mass or 0.0) + (_MARGIN if own else 0.0), able.method == "token"
