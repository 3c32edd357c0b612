"""The requests that a server gets, of what is known of it. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from cai.engines.server.abilities import Abilities
from cai.engines.transcript import TRANSCRIPT_STOPS, fold_system, transcript
from cai.records import Sampling

Turns = Sequence[dict[str, Any]]

VOTES = 16  # answers drawn where a server has no log-probabilities
VOTE_TOKENS = 8
WAIT_TOKENS = 4096  # of an answer whose label comes after the reasoning
_ASKED = "\n\nGo on after these words with the label and nothing else: "


def conversation(
    model: str | None, turns: Turns, able: Abilities, day: date | None, *, folds: bool = False
) -> dict[str, Any]:
    """A conversation to be answered; with `folds` the system text goes into the first turn."""
    plain = [dict(turn) for turn in turns]
    if folds:
        plain = [dict(turn) for turn in fold_system(plain)]
    if able.api == "completions":
        return {"model": model, "prompt": transcript(plain), "stop": list(TRANSCRIPT_STOPS)}
    return {"model": model, "messages": plain, **able.fields(day)}


def drawing(sampling: Sampling, able: Abilities) -> dict[str, Any]:
    """How an answer is drawn, without the fields that the server refuses.

    `top_p` is sent where it is 1, too: a server that does not hear of it takes the one in the
    model's generation_config.json (vLLM, SGLang) or its own (0.95 in llama.cpp).
    """
    how = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        able.limit_key: sampling.max_tokens,
        "seed": sampling.seed,
    }
    return {key: value for key, value in how.items() if key not in able.left_out}


def for_label(
    model: str | None,
    turns: Turns,
    answer_prefix: str,
    able: Abilities,
    day: date | None,
    *,
    folds: bool = False,
) -> dict[str, Any]:
    """A conversation in which a label is to be said next, after the answer's first words."""
    if able.api == "completions":
        body = conversation(model, turns, able, day, folds=folds)
        return {**body, "prompt": f"{body['prompt']} {answer_prefix}"}
    if not answer_prefix or able.manner == "asked":
        last = {**turns[-1], "content": turns[-1]["content"] + _ASKED + answer_prefix}
        talk = [*turns[:-1], last] if answer_prefix else turns
        return conversation(model, talk, able, day, folds=folds)
    words: dict[str, Any] = {"role": "assistant", "content": answer_prefix}
    if able.manner == "prefix":
        words["prefix"] = True
    body = conversation(model, [*turns, words], able, day, folds=folds)
    if able.manner == "continued":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def scoring(able: Abilities, ids: Sequence[int] = (), context: int | None = None) -> dict[str, Any]:
    """How a label is scored in one answer: by the tokens `ids`, or among the likeliest."""
    how: dict[str, Any] = {able.limit_key: _room(context) if able.waits else 1}
    if able.zero and "temperature" not in able.left_out:
        how["temperature"] = 0
    if ids:
        named = {"logprob_token_ids": list(ids), "return_tokens_as_token_ids": True}
        return {**how, "logprobs": True, **named}
    if able.api == "completions":
        return {**how, "logprobs": able.top}
    return {**how, "logprobs": True, "top_logprobs": able.top}


def _room(context: int | None) -> int:
    """Tokens for reasoning and the label after it; the prompt has half of the context."""
    return WAIT_TOKENS if context is None else min(WAIT_TOKENS, context // 2)


def voting(able: Abilities, count: int, seed: int, context: int | None = None) -> dict[str, Any]:
    """How `count` answers are drawn of which each names a label."""
    how = {
        able.limit_key: _room(context) if able.waits else VOTE_TOKENS,
        "temperature": 1,
        "seed": seed % 2**31,
        **({"n": count} if able.votes_a_call > 1 else {}),
    }
    return {key: value for key, value in how.items() if key not in able.left_out}
