"""Servers say in many ways that an answer is whole, and in some that there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cai.engines.server.answers import choices_of, texts_of, top_of
from cai.engines.server.openai import OpenAIEngine
from cai.engines.server.refusals import alike, blamed, message_of
from cai.errors import CallError, EngineBusy
from cai.records import Completion, user
from tests.engines.server.simulated import SAMPLING


def read(answer: dict[str, Any]) -> Completion:
    """What the engine makes of an answer, asked once."""

    async def ask() -> Completion:
        engine = OpenAIEngine(["http://nowhere/v1"], "m")

        async def post(path: str, body: Any, row: str | None) -> Any:
            return answer

        engine._replicas.post = post  # type: ignore[method-assign]
        return await engine.generate([user("?")], SAMPLING)

    return asyncio.run(ask())


def answer(content: Any = "Yes.", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    return {"choices": [{"message": said, "finish_reason": finish}]}


@pytest.mark.parametrize(
    "finish",
    [*("stop", "eos", "eos_token", "end_turn", "end", "stop_sequence", "COMPLETE", "STOP"), None],
)
def test_a_whole_answer(finish: str | None) -> None:
    assert read(answer(finish=finish)).finish_reason == "stop"


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_an_answer_that_was_cut(finish: str) -> None:
    assert read(answer(finish=finish)).finish_reason == "length"


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "RECITATION", "sensitive"])
def test_an_answer_that_a_filter_stopped(finish: str) -> None:
    with pytest.raises(CallError, match="content filter"):
        read(answer(finish=finish))


@pytest.mark.parametrize("finish", ["tool_calls", "load", "whatever"])
def test_an_end_that_nobody_knows_is_a_failure_at_once(finish: str) -> None:
    with pytest.raises(CallError, match=finish):
        read(answer(finish=finish))


def test_a_server_that_breaks_off_is_asked_again() -> None:
    with pytest.raises(EngineBusy, match="abort"):
        read(answer(finish="abort"))


def test_content_as_a_list_of_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Yes, "},
        {"type": "text", "text": "it is."},
    ]
    said = read(answer(parts))
    assert (said.text, said.reasoning) == ("Yes, it is.", "Hm.")


def test_no_text_is_a_failure_at_once_but_for_reasoning_that_was_cut() -> None:
    with pytest.raises(CallError, match="no text"):
        read(answer(None))
    said = read(answer(None, "length", reasoning_content="Let me see"))
    assert (said.text, said.reasoning, said.finish_reason) == ("", "Let me see", "length")
    assert read(answer(None, refusal="I cannot.")).text == "I cannot."


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This content was flagged for possible risk", "code": 502},
        {"message": "The model does not exist", "code": 404},
        {"message": "invalid request"},
        "no such model",
        {"message": "Provider returned error", "code": 400},
    ],
)
def test_an_error_as_an_answer_is_a_failure_at_once(error: Any) -> None:
    with pytest.raises(CallError, match="answered with an error"):
        read({"error": error})


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Provider returned error", "code": 502},
        {"message": "Rate limit exceeded", "code": 429},
        {"message": "the model is being loaded"},
        "server overloaded",
    ],
)
def test_an_error_that_passes_is_asked_again(error: Any) -> None:
    with pytest.raises(EngineBusy):
        choices_of({"error": error, "choices": []})
    with pytest.raises(EngineBusy):
        choices_of({"choices": [{"error": error, "finish_reason": "error"}]})


def test_reasoning_that_the_prompt_has_opened() -> None:
    choice = answer("I add them.\n</think>\n\n5")["choices"][0]
    assert texts_of(choice, "chat", opened=True) == ("5", "I add them.")
    assert texts_of(answer("I add")["choices"][0], "chat", opened=True) == ("", "I add")
    assert texts_of(answer("I add")["choices"][0], "chat", opened=False) == ("I add", None)
    # A parser has told the two apart: what is left is the answer.
    told = answer("5", reasoning="I add them.")["choices"][0]
    assert texts_of(told, "chat", opened=True) == ("5", "I add them.")


def test_log_probabilities_of_completions_in_both_forms() -> None:
    openai = {"logprobs": {"top_logprobs": [{" A": -0.1}]}}
    llamacpp = {"logprobs": {"content": [{"top_logprobs": [{"token": " A", "logprob": -0.1}]}]}}
    assert top_of(openai, "completions") == top_of(llamacpp, "completions") == {" A": -0.1}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("'temperature' does not support 0.7 with this model. Only the default (1)", "temperature"),
        ("`temperature` and `top_p` cannot both be specified for this model.", "top_p"),
        ("anthropic does not support parameters: ['seed'], for model=x", "seed"),
        ('[{"type":"extra_forbidden","loc":["body","seed"]}]', "seed"),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', "seed"),
        ("topP is not supported by this model", "top_p"),
        ("chat_template is not supported for Mistral tokenizers.", "chat_template_kwargs"),
        ("random_seed is out of range", None),
        ("the prompt was flagged", None),
    ],
)
def test_the_field_that_a_refusal_names(said: str, field: str | None) -> None:
    fields = ("chat_template_kwargs", "seed", "top_p", "temperature")
    assert blamed(said, fields) == field


def test_what_refusals_have_in_common() -> None:
    flagged = '{"error": {"message": "Flagged: request req_%s", "type": "policy", "code": null}}'
    assert alike(403, flagged % "8a61") == alike(403, flagged % "77ff") == "403 policy"
    assert alike(403, "No access for key 123") == alike(403, "No access for key 9999")
    assert alike(400, "flagged") != alike(403, "flagged")
    long = "This model's maximum context length is 4096 tokens. You requested 5000."
    assert alike(400, long) == ""  # that is the call's own
    assert message_of('[{"error": {"message": "Bad field", "code": 400}}]') == "Bad field"
