"""How much of the probability falls on labels, read off a server's answers. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cai.engines.reasoning import split_reasoning
from cai.engines.server.abilities import Abilities
from cai.engines.server.answers import names, texts_of, top_of
from cai.errors import EngineBusy

_SAYS_SOMETHING = re.compile(r"[^\W_]")


def by_ids(choice: Mapping[str, Any], ids: Sequence[int], able: Abilities) -> tuple[float, ...]:
    """Log-probabilities of tokens; raises `EngineBusy` where the answer does not have them."""
    top = top_of(choice, able.api)
    try:
        return tuple(top[f"token_id:{i}"] for i in ids)
    except KeyError as missing:
        raise EngineBusy(f"no log-probability of {missing}", overloaded=False) from None


def by_top(
    choice: Mapping[str, Any], labels: Sequence[str], answer_prefix: str, able: Abilities
) -> tuple[float, ...]:
    """Log-probabilities of labels among the likeliest tokens; one that is not there has -inf."""
    position = label_position(choice, answer_prefix) if able.waits else 0
    if position is None:  # it never came to a label
        return (-math.inf,) * len(labels)
    top = top_of(choice, able.api, position)
    shares = [math.fsum(math.exp(p) for t, p in top.items() if names(t, label)) for label in labels]
    return tuple(math.log(share) if share else -math.inf for share in shares)


def by_votes(
    choices: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    answer_prefix: str,
    able: Abilities,
) -> list[int]:
    """How many drawn answers name each label."""
    votes = [texts_of(choice, able.api, opened=able.opens)[0].strip() for choice in choices]
    # Some servers repeat the words that they went on from.
    votes = [vote.removeprefix(answer_prefix.strip()) for vote in votes]
    return [sum(names(vote, label) for vote in votes) for label in labels]


def label_position(choice: Mapping[str, Any], answer_prefix: str) -> int | None:
    """The token that says the label, in an answer that may begin with reasoning.

    It is the first with a letter in it, after the reasoning and the answer's own first words.
    """
    try:
        tokens = [str(entry["token"]) for entry in choice["logprobs"]["content"]]
    except (KeyError, TypeError):
        raise EngineBusy("an answer without log-probabilities", overloaded=False) from None
    whole = "".join(tokens)
    answer, _ = texts_of(choice, "chat")
    answer = split_reasoning(answer)[0].strip()
    start = whole.rfind(answer) if answer else -1
    if start < 0:
        return None
    words = answer_prefix.strip()
    start += len(words) if words and answer.startswith(words) else 0
    end = 0
    for position, token in enumerate(tokens):
        begin, end = end, end + len(token)
        if end > start and _SAYS_SOMETHING.search(whole[max(begin, start) : end]):
            return position
    return None
