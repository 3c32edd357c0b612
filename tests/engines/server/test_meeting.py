"""Servers of many kinds, old and new: what is tried at the start, and what is kept of it."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from cai.engines.local.chat_template import today
from cai.engines.server.abilities import SWITCHES, Abilities
from cai.engines.server.openai import OpenAIEngine
from cai.errors import CaiError
from cai.records import ChoiceScores, Completion, user
from tests.engines.server.simulated import SAMPLING, FakeServer, go, manner_of

pytestmark = pytest.mark.usefixtures("short_pauses")

DAY = date(2020, 2, 3)


def met(server: FakeServer, **given: Any) -> OpenAIEngine:
    """An engine that has asked a server what it takes."""

    async def start() -> OpenAIEngine:
        engine = OpenAIEngine([server.url], "m", **given)
        await engine.start()
        await engine.close()
        return engine

    return asyncio.run(start())


def called(engine: OpenAIEngine) -> tuple[Completion, ChoiceScores]:
    """A text and labels of an engine that has asked."""

    async def call() -> tuple[Completion, ChoiceScores]:
        await engine.start()
        try:
            made = await engine.generate([user("Hello?")], SAMPLING)
            (scores,) = await engine.choose([user("Which?")], [" A or B?"], ["A", "B"], "It is (")
            return made, scores
        finally:
            await engine.close()

    return asyncio.run(call())


# --- fields that are refused ----------------------------------------------------------------------

OPENAI = "Unsupported value: 'temperature' does not support 0.7 with this model."
TOP_P = "Unsupported parameter: 'top_p'"
BOTH = "`temperature` and `top_p` cannot both be specified for this model."


@pytest.mark.parametrize(
    ("refuses", "left_out"),
    [
        ({"seed": "anthropic does not support parameters: ['seed']"}, {"seed"}),
        ({"top_p": BOTH}, {"top_p"}),
        (
            {"temperature": OPENAI, "top_p": TOP_P},
            {"temperature", "top_p"},
        ),
        ({"seed": "Bad Request"}, {"seed"}),  # it does not say of what
        ({"temperature": "no", "seed": "no"}, {"temperature", "seed", "top_p"}),  # nor of how many
    ],
)
def test_a_field_that_is_refused_is_left_out(
    tmp_path: Path, refuses: dict[str, str], left_out: set[str]
) -> None:
    with FakeServer("top") as server:
        server.refuses = refuses
        engine = met(server)
        assert set(engine.able.left_out) == left_out
        assert f"without={','.join(sorted(left_out))}" in engine.identity
        told = engine.feeding()["left out, as the server refuses it"]
        assert all(field in told for field in left_out)
        run = go(tmp_path, server.url, 4)
        calls = [body for body in server.asked if "Question" in str(body)]
    assert not run.failures
    assert calls
    assert not [body for body in calls if left_out & body.keys()]
    assert run.manifest.fed["policy"] == {**engine.feeding()}


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    heard: list[str] = []

    class Hearing:
        def phase(self, name: str, total: int | None = None) -> None: ...
        def advance(self, **_: Any) -> None: ...
        def close(self) -> None: ...
        def warn(self, message: str) -> None:
            heard.append(message)

    with FakeServer("top") as server:
        server.refuses = {"temperature": OPENAI}
        go(tmp_path, server.url, 2, progress=Hearing())
    assert [line for line in heard if "refuses `temperature`" in line]


def test_the_field_for_the_most_tokens() -> None:
    class New(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            if "max_tokens" in body:
                said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
                return 400, said
            body["max_tokens"] = body.get("max_completion_tokens")
            return super()._refused(body)

    with New("top") as server:
        engine = met(server)
        assert engine.able.limit_key == "max_completion_tokens"
        assert engine.identity == "server:m"  # it means the same
        called(engine)


def test_a_mistral_tokenizer_loses_the_field_and_not_the_endpoint() -> None:
    with FakeServer("vllm") as server:
        said = "chat_template is not supported for Mistral tokenizers."
        server.refuses = {"chat_template_kwargs": said}
        engine = met(server)
        assert engine.able.api == "chat"
        assert engine.identity == "server:m api=chat"  # version 0.1.0 took to completions
        _, scores = called(engine)
        assert scores.method == "token"


def test_a_model_without_a_template_on_vllm_takes_completions() -> None:
    class Base(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            if "messages" in body:
                return 400, "default chat template is no longer allowed: provide a chat template"
            return super()._refused(body)

    with Base("vllm") as server:
        engine = met(server)
        assert engine.able.api == "completions"
        assert engine.identity == "server:m"


def test_an_old_vllm_ignores_the_ids_of_tokens(tmp_path: Path) -> None:
    with FakeServer("old") as server:
        engine = met(server)
        assert (engine.able.method, engine.able.manner) == ("top_logprobs", "continued")
        assert engine.identity == "server:m"  # asked as ever, only read otherwise
        run = go(tmp_path, server.url, 4)
    assert not run.failures


@pytest.mark.parametrize("status", [404, 403, 501, 500])
def test_a_gateway_that_says_nothing_of_itself(tmp_path: Path, status: int) -> None:
    from aiohttp import web

    class Gateway(FakeServer):
        async def _nothing(self, request: web.Request) -> web.Response:
            return web.Response(status=status, text="<html>no</html>")

        _tokenize = _apply_template = _metrics = _props = _loaded = _nothing

        async def _models(self, request: web.Request) -> web.Response:
            return web.Response(status=404, text="no such page")

    with Gateway("vllm") as server:
        run = go(tmp_path, f"{server.url}#m", 2)
        assert not run.failures
        with pytest.raises(CaiError, match="does not say what it serves"):
            go(tmp_path, server.url, 2, out="nameless")


def test_a_name_that_is_not_listed_and_served_all_the_same() -> None:
    class Hosted(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            known = body["model"] in ("m", "alias")
            return super()._refused(body) if known else (404, "The model does not exist")

    with Hosted("top") as server:

        async def start(name: str) -> None:
            engine = OpenAIEngine([server.url], name)
            await engine.start()
            await engine.close()

        asyncio.run(start("alias"))
        with pytest.raises(CaiError, match="The model does not exist"):
            asyncio.run(start("other"))
        server.name = "models/m"  # as Google lists it
        asyncio.run(start("m"))


@pytest.mark.parametrize(("status", "hint"), [(403, "CAI_API_KEY"), (404, "address")])
def test_a_server_that_refuses_from_the_start_says_what_to_do(status: int, hint: str) -> None:
    with FakeServer("top") as server:
        server.refuse = (status, "not for you")
        with pytest.raises(CaiError, match="not for you") as error:
            met(server)
        assert hint in error.value.hint


# --- how labels are asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "asked", "prefills", "manner"),
    [
        ("llamacpp", 0.04, 0.9, "continued"),
        ("sglang", 0.04, 0.9, "continued"),
        ("top", 0.9, 0.02, "asked"),
        ("top", 0.88, 0.9, "asked"),  # next to nothing is won
    ],
)
def test_the_better_way_to_ask_for_a_label(
    tmp_path: Path, kind: str, asked: float, prefills: float, manner: str
) -> None:
    with FakeServer(kind) as server:
        server.asked_mass, server.prefills = asked, prefills
        engine = met(server)
        assert engine.able.manner == manner
        assert engine.identity == "server:m" + ("" if manner == "asked" else f" prefix={manner}")
        _, scores = called(engine)
        assert scores.mass == pytest.approx(max(asked, 0.9) if manner != "asked" else asked)
        run = go(tmp_path, server.url, 4)
        asked_for = [b for b in server.asked if b.get("logprobs") and "Question" in str(b)]
    assert {manner_of(body) for body in asked_for} == {manner}
    assert not run.failures


def test_a_server_that_goes_on_from_a_plain_last_message() -> None:
    class Strict(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            if "continue_final_message" in body:
                return 400, "extra_forbidden: continue_final_message"
            return super()._refused(body)

    with Strict("top") as server:
        server.asked_mass, server.prefills = 0.04, 0.9
        assert met(server).identity == "server:m prefix=assistant"


def test_a_server_that_wants_the_mark_of_a_prefix() -> None:
    class Mistral(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            if manner_of(body) in ("assistant", "continued"):
                return 400, "Expected last role User or Assistant with prefix True"
            return super()._refused(body)

    with Mistral("top") as server:
        server.asked_mass, server.prefills = 0.04, 0.9
        assert met(server).identity == "server:m prefix=prefix"


def test_fewer_log_probabilities_where_twenty_are_too_many() -> None:
    class Few(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            if body.get("top_logprobs", 0) > 5:
                return 400, "top_logprobs must be between 0 and 5"
            return super()._refused(body)

    with Few("top") as server:
        engine = met(server)
        assert (engine.able.top, engine.able.method) == (5, "top_logprobs")


def test_votes_of_a_server_that_repeats_the_words_it_goes_on_from() -> None:
    class Repeats(FakeServer):
        async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
            answer = await super()._completion(body)
            for choice in answer["choices"]:
                if manner_of(body) == "asked":
                    choice["message"]["content"] = "Let me explain"
                else:
                    words = body["messages"][-1]["content"]
                    choice["message"]["content"] = words + choice["message"]["content"]
            return answer

    with Repeats("plain") as server:
        engine = met(server)
        assert engine.identity == "server:m prefix=continued"
        _, scores = called(engine)
        assert scores.mass == 1


# --- reasoning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("parser", [False, True])
@pytest.mark.parametrize("switch", SWITCHES)
def test_thinking_is_switched_off_in_the_way_that_a_server_takes(
    tmp_path: Path, switch: str, parser: bool
) -> None:
    with FakeServer("top") as server:
        server.thinks, server.parser = switch, parser
        engine = met(server)
        assert (engine.able.switch, engine.able.thinks) == (switch, False)
        assert engine.identity == f"server:m thinking={switch}"
        run = go(tmp_path, server.url, 2)
    assert not run.failures
    rows = [*run.traces["train"]]
    assert not [step for row in rows for step in row["steps"] if "reasoning" in step["removed"]]


def test_thinking_is_switched_off_on_vllm_as_ever() -> None:
    with FakeServer("vllm") as server:
        server.thinks = "enable_thinking"
        assert met(server).identity == "server:m"


def test_what_a_template_can_switch_is_switched_off_though_it_did_not_think_just_now() -> None:
    def hybrid(turns: list[dict[str, Any]], arguments: dict[str, Any]) -> str:
        end = "" if arguments.get("enable_thinking", True) else "<think>\n\n</think>\n\n"
        return f"{turns}<|im_start|>assistant\n{end}"

    with FakeServer("llamacpp") as server:
        server.template = hybrid
        engine = met(server)
        assert engine.able.switch == "enable_thinking"
        assert engine.able.opens is False


def test_a_tag_in_an_answer_to_a_prompt_that_opens_no_block_is_no_reasoning() -> None:
    with FakeServer("llamacpp") as server:
        server.say = "Write the number\n</think>\nand then the next."
        engine = met(server)
        assert (engine.able.thinks, engine.able.opens) == (False, False)
        made, _ = called(engine)
        assert (made.text, made.reasoning) == (server.say, None)


def test_labels_wait_for_the_end_of_thinking_that_cannot_be_switched_off(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        server.thinks = ""
        engine = met(server)
        able = engine.able
        assert (able.thinks, able.waits, able.manner) == (True, True, "asked")
        assert engine.identity == "server:m labels=waited"
        _, scores = called(engine)
        assert scores.mass == pytest.approx(0.995, abs=0.01)
        run = go(tmp_path, server.url, 2)
        asked_for = [b for b in server.asked if b.get("logprobs") and "Question" in str(b)]
    assert not run.failures
    assert {body["max_tokens"] for body in asked_for} == {2048}  # half of the context


def test_votes_wait_for_the_end_of_thinking_too() -> None:
    with FakeServer("plain") as server:
        server.thinks = ""
        engine = met(server)
        assert (engine.able.method, engine.able.waits) == ("votes", True)
        server.asked.clear()
        called(engine)
        assert {body["max_tokens"] for body in server.asked if "n" in body} == {2048}


def test_thinking_that_is_counted_and_not_shown() -> None:
    class Hidden(FakeServer):
        async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
            answer = await super()._completion(body)
            hidden = 0 if body.get("reasoning_effort") == "none" else 64
            answer["usage"]["completion_tokens_details"] = {"reasoning_tokens": hidden}
            return answer

    with Hidden("top") as server:
        assert met(server).identity == "server:m thinking=reasoning_effort"


def test_a_prompt_that_ends_inside_a_block_of_reasoning() -> None:
    def opened(turns: list[dict[str, Any]], arguments: dict[str, Any]) -> str:
        return f"{turns}<|im_start|>assistant\n<think>\n"

    with FakeServer("llamacpp") as server:
        server.template, server.say = opened, "I think of it.\n</think>\n\nYes, so it is."
        engine = met(server)
        assert engine.able.opens is True
        assert "reasoning=opened" in engine.identity
        made, _ = called(engine)
        assert (made.text, made.reasoning) == ("Yes, so it is.", "I think of it.")
        server.say = "I think of it for"  # and never came to an end
        made, _ = called(engine)
        assert (made.text, made.reasoning) == ("", "I think of it for")


def test_the_answer_is_what_a_parser_leaves_though_the_prompt_opens_a_block() -> None:
    def opened(turns: list[dict[str, Any]], arguments: dict[str, Any]) -> str:
        return f"{turns}<|im_start|>assistant\n<think>\n"

    with FakeServer("llamacpp") as server:
        server.template, server.thinks, server.parser = opened, "", True
        engine = met(server)
        assert engine.able.opens is False
        made, _ = called(engine)
        assert made.text


@pytest.mark.parametrize(
    "said",
    [
        "analysisThe user wants a sum. 2 + 3 is 5.assistantfinal5",
        "<|channel|>analysis<|message|>The user wants a sum.<|end|>",
        "analysisWe need to add",
    ],
)
def test_channels_as_text_are_refused_at_the_start(said: str) -> None:
    with FakeServer("vllm") as server:
        server.say = said
        with pytest.raises(CaiError, match="channels as one text") as error:
            met(server)
        assert "reasoning-parser" in error.value.hint


# --- the date -------------------------------------------------------------------------------------


def llama(turns: list[dict[str, Any]], arguments: dict[str, Any]) -> str:
    told = arguments.get("date_string", today().strftime("%d %b %Y"))
    return f"<|begin_of_text|>Today Date: {told}\n\n{turns}<|assistant|>"


@pytest.mark.parametrize("kind", ["vllm", "llamacpp"])
def test_the_date_is_sent_where_the_template_takes_one(kind: str) -> None:
    with FakeServer(kind) as server:
        server.template = llama
        engine = met(server, day=DAY)
        assert "date=2020-02-03" in engine.identity
        assert "2020-02-03" in engine.feeding()["date in the template"]
        server.asked.clear()
        called(engine)
        told = [body["chat_template_kwargs"]["date_string"] for body in server.asked]
        assert set(told) == {"03 Feb 2020"}
        other = met(server, day=DAY + timedelta(days=1))
        assert engine.identity != other.identity


def test_a_date_that_cannot_be_fixed_is_told() -> None:
    def fixed(turns: list[dict[str, Any]], arguments: dict[str, Any]) -> str:
        return f"Current date: {today().isoformat()}\n{turns}"

    with FakeServer("llamacpp") as server:
        server.template = fixed
        engine = met(server, day=DAY)
        assert engine.identity == "server:m"
        assert "cannot be fixed" in engine.feeding()["date in the template"]
        assert [line for line in engine.warnings() if "which cannot be fixed" in line]


def test_a_template_without_a_date_is_told_none() -> None:
    with FakeServer("vllm") as server:
        engine = met(server, day=DAY)
        assert engine.able.dated is False
        assert engine.identity == "server:m"


def test_the_length_of_a_prompt_tells_of_an_argument_where_the_prompt_is_not_told() -> None:
    class Counting(FakeServer):
        async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
            answer = await super()._completion(body)
            said = body.get("chat_template_kwargs", {}).get("date_string", "")
            answer["usage"]["prompt_tokens"] = 30 + len(said)
            return answer

    with Counting("sglang") as server:
        assert "date=2020-02-03" in met(server, day=DAY).identity


# --- the record of it -----------------------------------------------------------------------------


def test_what_is_as_in_the_first_version_leaves_the_identity_alone() -> None:
    for owner in ("vllm", "llamacpp"):
        able = Abilities(owner=owner, limit_key="max_completion_tokens", labelled=True, orders=True)
        able = able.model_copy(update={"switch": able.first_switch, "manner": able.first_manner})
        assert able.differences(DAY) == {}


def test_labels_by_ids_of_a_model_whose_letters_are_no_single_tokens(tmp_path: Path) -> None:
    from aiohttp import web

    class Digits(FakeServer):
        async def _tokenize(self, request: web.Request) -> web.Response:
            text = (await request.json()).get("prompt", "")
            merged = text.replace("(A", "\u0100").replace("(B", "\u0101")
            return web.json_response({"tokens": [ord(c) for c in merged]})

        async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
            if ids := body.get("logprob_token_ids"):
                top = [{"token": f"token_id:{i}", "logprob": -0.7} for i in ids]
                body = {**body, "logprob_token_ids": [ord("A"), ord("B")]}
                answer = await super()._completion(body)
                answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = top
                return answer
            return await super()._completion(body)

    with Digits("vllm") as server:
        assert met(server).method == "token"
        run = go(tmp_path, server.url, 3)
    assert not run.failures
    assert run.manifest.labels["judge"][:2] == ["1", "2"]


def test_a_weak_model_on_vllm_is_asked_by_ids_all_the_same() -> None:
    with FakeServer("vllm") as server:
        server.prefills, server.asked_mass = 0.3, 0.3
        engine = met(server)
        assert (engine.method, engine.able.manner) == ("token", "continued")
        assert engine.identity == "server:m"


def test_a_server_that_takes_no_temperature_of_zero() -> None:
    class Warm(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            if body.get("temperature") == 0:
                return 422, "`temperature` must be strictly positive"
            return super()._refused(body)

    with Warm("top") as server:
        engine = met(server)
        assert engine.method == "top_logprobs"
        assert engine.identity == "server:m"
        called(engine)
