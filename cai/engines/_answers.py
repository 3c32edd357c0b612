"""What a server answered, read strictly: what is not as it should be is asked again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from cai.engines._http import short
from cai.engines.reasoning import split_reasoning
from cai.errors import EngineBusy

Api = Literal["chat", "completions"]

ROUNDING = 1e-3  # by which a log-probability may be more than 0


def choices_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(c, dict) for c in choices)
    ):
        said = f": {short(json.dumps(error))}" if (error := answer.get("error")) else ""
        raise EngineBusy(f"an answer without choices{said}", overloaded=False)
    return choices


def choice_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    return choices_of(answer)[0]


def texts_of(choice: Mapping[str, Any], api: Api) -> tuple[str, str | None]:
    """The answer and the reasoning of a choice."""
    if api == "completions":
        text = choice.get("text")
        if not isinstance(text, str):
            raise EngineBusy("an answer without text", overloaded=False)
        text = _writable(text)
        return text.removeprefix(" "), None
    message = choice.get("message")
    if (
        not isinstance(message, dict)
        or "content" not in message
        or not isinstance(message["content"], str | None)
    ):
        raise EngineBusy("an answer without a message", overloaded=False)
    text, reasoning = split_reasoning(_writable(message["content"] or ""))
    for key in ("reasoning", "reasoning_content"):
        if isinstance(message.get(key), str) and message[key]:
            reasoning = _writable(message[key])
    return text, reasoning


def _writable(text: str) -> str:
    """The text with halves of surrogate pairs replaced: they cannot be stored."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def top_of(choice: Mapping[str, Any], api: Api) -> dict[str, float]:
    """Log-probabilities of the likeliest first tokens, none of which is more than 0."""
    try:
        if api == "completions":
            listed = choice["logprobs"]["top_logprobs"][0].items()
        else:
            first = choice["logprobs"]["content"][0]
            listed = [(one["token"], one["logprob"]) for one in first["top_logprobs"]]
        found = {str(token): float(value) for token, value in listed}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        found = {}
    if not found or not all(value <= ROUNDING for value in found.values()):
        raise EngineBusy("an answer without log-probabilities", overloaded=False)
    return {token: min(0.0, value) for token, value in found.items()}


def context_of(told: Mapping[str, Any], name: str) -> int | None:
    """The context in tokens, of llama.cpp's `/props` or of Ollama's `/api/ps`."""
    settings = told.get("default_generation_settings")
    found = settings.get("n_ctx") if isinstance(settings, dict) else None
    for model in loaded if isinstance(loaded := told.get("models"), list) else []:
        if isinstance(model, dict) and name in (model.get("name"), model.get("model")):
            found = model.get("context_length")
    return count_of(found) or None


def names(text: str, choice: str) -> bool:
    """Whether a token or an answer names a label: it comes first, and no letter follows."""
    said = text.strip().lstrip("(*\"'`")
    return said.startswith(choice) and not said[len(choice) :][:1].isalnum()


def count_of(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
