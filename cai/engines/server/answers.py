"""What a server answered, read strictly: what is not as it should be fails, or is asked again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from cai.engines.reasoning import split_reasoning
from cai.engines.server.refusals import alike, passes, words_of
from cai.errors import CallError, EngineBusy
from cai.records import FinishReason, Usage

Api = Literal["chat", "completions"]

ROUNDING = 1e-3  # by which a log-probability may be more than 0
# How servers say, in small letters, that an answer is whole, that it was cut at the limit, that a
# filter stopped it, and that they broke off themselves.
_WHOLE = frozenset(
    {"", "stop", "eos", "eos_token", "end_turn", "end", "stop_sequence", "complete", "finished"}
)
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "max_length", "model_length"})
_FILTERED = frozenset(
    {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "sensitive"}
    | {"spii", "refusal", "guardrail_intervened"}
)
_BROKEN_OFF = frozenset(
    {"abort", "aborted", "cancelled", "network_error", "insufficient_system_resource"}
)


def choices_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of an answer.

    Raises:
        CallError: It is an error that will come again.
        EngineBusy: It is one that may pass, or there is no choice.
    """
    choices = answer.get("choices")
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(c, dict) for c in choices)
    ):
        if answer.get("error"):
            _raise_error(answer["error"])
        raise EngineBusy("an answer without choices", overloaded=False)
    for choice in choices:
        if choice.get("error"):  # a gateway that lost the model after it had begun to answer
            _raise_error(choice["error"])
    return choices


def _raise_error(error: object) -> None:
    message = f"the server answered with an error: {words_of(error)}"
    if passes(error):
        raise EngineBusy(message, overloaded=False)
    raise CallError(message, alike=alike(200, json.dumps({"error": error})))


def choice_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    return choices_of(answer)[0]


def texts_of(
    choice: Mapping[str, Any], api: Api, *, opened: bool | None = None
) -> tuple[str, str | None]:
    """The answer and the reasoning of a choice; the answer is empty where there is only reasoning.

    Args:
        choice: The choice.
        api: The endpoint that it is from.
        opened: Whether the prompt ended inside a block of reasoning, as in `split_reasoning`.
    """
    if api == "completions":
        text = choice.get("text")
        if not isinstance(text, str):
            raise EngineBusy("an answer without text", overloaded=False)
        text = _writable(text)
        return text.removeprefix(" "), None
    message = choice.get("message")
    if not isinstance(message, dict):
        raise EngineBusy("an answer without a message", overloaded=False)
    content, thoughts = _content(message)
    for key in ("reasoning", "reasoning_content"):
        if isinstance(message.get(key), str) and message[key]:
            thoughts = _writable(message[key])
    text, reasoning = split_reasoning(_writable(content), opened=None if thoughts else opened)
    return text, thoughts or reasoning


def _content(message: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of a message, and the reasoning that stands beside it as parts of their own."""
    content = message.get("content")
    if isinstance(content, str):
        return content, None
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        return "".join(map(_text, parts)), "".join(map(_thought, parts)) or None
    if content is not None or "content" not in message:
        raise EngineBusy("an answer without a message", overloaded=False)
    refusal = message.get("refusal")
    return (refusal if isinstance(refusal, str) else ""), None


def _text(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) and "thinking" not in part else ""


def _thought(part: Mapping[str, Any]) -> str:
    """Reasoning: a text, or (Mistral) parts once more."""
    thought = part.get("thinking")
    if isinstance(thought, list):
        return _writable("".join(_text(inner) for inner in thought if isinstance(inner, dict)))
    return _writable(thought) if isinstance(thought, str) else ""


def end_of(choice: Mapping[str, Any], *, wordless: bool = False) -> FinishReason:
    """How an answer ended; no reason at all is the end of a whole one.

    Args:
        choice: The choice.
        wordless: Whether there was neither a text nor reasoning in it.

    Raises:
        CallError: A filter stopped it, a tool was called, the reason is unknown, or a whole answer
            has no word.
        EngineBusy: The server broke off.
    """
    value = choice.get("finish_reason")
    reason = "" if value is None else str(value).lower()
    if reason in _FILTERED:
        raise CallError("the server's content filter stopped the answer")
    if reason in _CUT:
        return "length"
    if reason in _BROKEN_OFF:
        raise EngineBusy(f"the server ended an answer with {value!r}", overloaded=False)
    if reason not in _WHOLE:
        raise CallError(f"the server ended an answer with {value!r}", alike=f"200 {reason[:40]}")
    message = choice.get("message")
    if wordless and isinstance(message, dict) and message.get("content") is None:
        raise CallError("the server answered with no text", alike="200 no text")
    return "stop"


def _writable(text: str) -> str:
    """The text with halves of surrogate pairs replaced: they cannot be stored."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def top_of(choice: Mapping[str, Any], api: Api, position: int = 0) -> dict[str, float]:
    """Log-probabilities of the likeliest tokens at a position, none of which is more than 0."""
    try:
        if api == "completions":
            logprobs = choice["logprobs"]
            if "top_logprobs" in logprobs:
                listed = logprobs["top_logprobs"][position].items()
            else:  # llama.cpp answers here as in a chat
                listed = _listed(logprobs["content"][position])
        else:
            listed = _listed(choice["logprobs"]["content"][position])
        top = {str(token): float(value) for token, value in listed}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        top = {}
    if not top or not all(value <= ROUNDING for value in top.values()):
        raise EngineBusy("an answer without log-probabilities", overloaded=False)
    return {token: min(0.0, value) for token, value in top.items()}


def _listed(entry: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(one["token"], one["logprob"]) for one in entry["top_logprobs"]]


def context_of(answer: Mapping[str, Any], name: str) -> int | None:
    """The context in tokens, of llama.cpp's `/props` or of Ollama's `/api/ps`."""
    settings = answer.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    for model in loaded if isinstance(loaded := answer.get("models"), list) else []:
        if isinstance(model, dict) and name in (model.get("name"), model.get("model")):
            context = model.get("context_length")
    return count_of(context) or None


def names(text: str, choice: str) -> bool:
    """Whether a token or an answer names a label: it comes first, and no letter follows."""
    words = text.strip().lstrip("(*\"'`")
    return words.startswith(choice) and not words[len(choice) :][:1].isalnum()


def usage_of(answer: Mapping[str, Any]) -> Usage:
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(
        input_tokens=count_of(usage.get("prompt_tokens")),
        output_tokens=count_of(usage.get("completion_tokens")),
        cached_tokens=None if cached is None else count_of(cached),
    )


def thought_tokens(answer: Mapping[str, Any]) -> int:
    """Tokens of reasoning that a server counts, also where it does not show them."""
    usage = answer.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    return count_of(details.get("reasoning_tokens")) if isinstance(details, dict) else 0


def count_of(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
