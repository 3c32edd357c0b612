"""The engine of servers, against a small server that fails in every way we know."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cai.cli import app
from cai.engines.base import Caller
from cai.engines.server import http
from cai.engines.server import steering as module
from cai.engines.server.abilities import Abilities
from cai.engines.server.addresses import parse_address
from cai.engines.server.answers import choices_of, names, top_of
from cai.engines.server.openai import OpenAIEngine
from cai.engines.server.steering import Load, Steering, load_of, steered
from cai.errors import CaiError, CallError, EngineBusy
from cai.records import Message, user
from tests.engines.server.simulated import CONTEXT, FAULTS, SAMPLING, FakeServer, data, go, prompts

WORDS_OF_ANSWERS = (
    *("message", "content", "text", "finish_reason", "logprobs", "top_logprobs", "token"),
    *("logprob", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "reasoning"),
)


# A server that falls in the middle leaves sockets open; they are not ours.
falls = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


pytestmark = pytest.mark.usefixtures("short_pauses")


def after(server: FakeServer, calls: int) -> None:
    """Wait until a server has answered so many calls."""
    until = time.monotonic() + 30
    while server.answered.total() < calls and time.monotonic() < until:
        time.sleep(0.005)


def asked(server: FakeServer, **options: Any) -> Any:
    """What a started engine answers to one conversation."""

    async def ask() -> Any:
        engine = OpenAIEngine([server.url], "m", **options)
        await engine.start()
        try:
            return await engine.generate([user("Hello?")], SAMPLING)
        finally:
            await engine.close()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("text", "urls", "name"),
    [
        ("http://h:8000/v1#m", ("http://h:8000/v1",), "m"),
        ("http://h:8000#org/m", ("http://h:8000/v1",), "org/m"),
        ("https://h/api/v1/", ("https://h/api/v1",), None),
        ("http://a/v1,http://b/v1#m", ("http://a/v1", "http://b/v1"), "m"),
        ("http://a/v1#m,http://b/v1#m", ("http://a/v1", "http://b/v1"), "m"),
    ],
)
def test_addresses(text: str, urls: tuple[str, ...], name: str | None) -> None:
    assert parse_address(text) == (urls, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://a#x,http://b#y", "several names"),
        ("ftp://a/v1#m", "no address"),
        ("http://#m", "no address"),
        ("http://a:99999/v1#m", "no address"),
        ("http://user:secret@a/v1#m", "key in an address"),
        ("http://a/v1?key=secret#m", "key in an address"),
    ],
)
def test_bad_addresses(text: str, said: str) -> None:
    with pytest.raises(CaiError, match=said) as error:
        parse_address(text)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("kind", "method"), [("vllm", "token"), ("top", "top_logprobs")])
def test_a_run_on_a_server(tmp_path: Path, kind: str, method: str) -> None:
    with FakeServer(kind) as server:
        run = go(tmp_path, f"{server.url}#m")
        calls = len(server.asked)
        again = go(tmp_path, f"{server.url}#m")
        assert len(server.asked) == calls  # all is in the journal: the server is not even met
    assert data(run) == data(again)
    assert run.manifest.models["policy"] == "server:m"
    assert not run.failures
    pairs = [pair for row in run.traces["train"] for pair in row["pairs"] if pair["judgements"]]
    assert pairs
    assert {j["method"] for pair in pairs for j in pair["judgements"]} == {method}


def test_a_model_without_a_chat_template_goes_on_with_a_transcript(tmp_path: Path) -> None:
    with FakeServer("base") as server:
        run = go(tmp_path, f"{server.url}#m")
        asked = [body for body in server.asked if "prompt" in body]
    assert not run.failures
    firsts = [body["prompt"] for body in asked if body["prompt"].count("Human:") == 1]
    assert any(text.endswith("Assistant:") and "Question 3?" in text for text in firsts)
    assert all("\n\nHuman:" in body["stop"] for body in asked)
    pairs = [pair for row in run.traces["train"] for pair in row["pairs"] if pair["judgements"]]
    assert {j["method"] for pair in pairs for j in pair["judgements"]} == {"top_logprobs"}


def test_votes_where_there_are_no_log_probabilities(tmp_path: Path) -> None:
    with FakeServer("plain") as server:
        run = go(tmp_path, server.url, stages=["preferences"], pairs=["sampled"])
    pairs = [pair for row in run.traces["train"] for pair in row["pairs"] if pair["judgements"]]
    judgements = [j for pair in pairs for j in pair["judgements"]]
    assert {j["method"] for j in judgements} == {"votes"}
    votes = [16 * j["q_ab"] for j in judgements]
    assert votes == pytest.approx([round(share) for share in votes])


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_mended_and_nothing_is_doubled(tmp_path: Path, fault: str) -> None:
    with FakeServer() as well:
        expected = go(tmp_path, f"{well.url}#m", out="well")
    with FakeServer(fault=fault, every=10) as server:
        run = go(tmp_path, f"{server.url}#m", request_timeout=1.0)
        failed = [key for key, times in server.tried.items() if times > 1]
        assert failed  # the fault was met
        calls = [n for key, n in server.answered.items() if key not in server.trials]
        assert sum(calls) == run.manifest.calls["made"]
        assert set(server.answered.values()) == {1}
    assert data(run) == data(expected)
    assert not run.failures


def test_a_call_that_is_not_answered_in_time_asks_for_fewer_at_once() -> None:
    async def ask(server: FakeServer) -> OpenAIEngine:
        engine = OpenAIEngine([server.url], "m", timeout=0.3)
        await engine.start()
        server.fault, server.every = "hang", 1
        try:
            with pytest.raises(EngineBusy, match="no answer in time") as busy:
                await engine.generate([user("Hello?")], SAMPLING)
            assert busy.value.overloaded
        finally:
            await engine.close()
        return engine

    with FakeServer() as server:
        engine = asyncio.run(ask(server))
    assert engine._replicas.all[0].rest > 0  # and is left alone for a while


@falls
def test_the_rows_of_a_dead_replica_move_on(tmp_path: Path) -> None:
    with FakeServer() as well:
        expected = go(tmp_path, f"{well.url}#m", count=40, out="well")
    with FakeServer() as stays, FakeServer() as dies:
        end = threading.Thread(target=lambda: (after(dies, 50), dies.stop()))
        end.start()
        run = go(tmp_path, f"{stays.url},{dies.url}#m", count=40)
        end.join()
        assert dies.answered
        assert stays.answered
    assert data(run) == data(expected)


def test_the_calls_of_a_row_stay_on_one_replica() -> None:
    async def ask(first: FakeServer, second: FakeServer) -> None:
        engine = OpenAIEngine([first.url, second.url], "m")
        await engine.start()

        async def row(number: int) -> None:
            for turn in range(3):
                asked = [user(f"Row {number}, turn {turn}.")]
                await engine.generate(asked, SAMPLING, Caller(str(number)))

        await asyncio.gather(*(row(n) for n in range(20)))
        await engine.close()

    with FakeServer() as first, FakeServer() as second:
        asyncio.run(ask(first, second))
        rows = [
            {body["messages"][0]["content"].split(",")[0] for body in server.asked[1:]}
            for server in (first, second)
        ]
    texts = [{text for text in found if text.startswith("Row")} for found in rows]
    assert not texts[0] & texts[1]
    assert min(map(len, texts)) >= 5


@falls
def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    server = FakeServer()
    server.start()
    restart = FakeServer(port=server.port)

    def fall() -> None:
        after(server, 100)
        server.stop()
        time.sleep(1.0)
        restart.start()

    away = threading.Thread(target=fall)
    away.start()
    try:
        run = go(tmp_path, f"{server.url}#m", count=40)
    finally:
        away.join()
        restart.stop()
    assert restart.answered
    assert not run.failures


@falls
def test_a_server_that_stays_dead_stops_the_run_which_can_go_on(tmp_path: Path) -> None:
    server = FakeServer()
    server.start()
    threading.Thread(target=lambda: (after(server, 100), server.stop())).start()
    with pytest.raises(CaiError, match="does not answer") as error:
        go(tmp_path, f"{server.url}#m", count=40)
    assert "run the same command again" in error.value.hint
    done = len(server.answered)
    with FakeServer(port=server.port) as restart:
        run = go(tmp_path, f"{restart.url}#m", count=40)
        assert run.manifest.calls["reused"] >= done - 64 - 1  # those under way and the probe
    assert not run.failures


def test_what_a_server_refuses_is_a_failure_in_its_words(tmp_path: Path) -> None:
    with FakeServer() as server:
        asked(server)
        server.refuse = (400, "This model's maximum context length is 4096 tokens.")
        with pytest.raises(CallError, match="maximum context length is 4096"):
            asked_when_started(server)


def asked_when_started(server: FakeServer) -> None:
    async def ask() -> None:
        refuse, server.refuse = server.refuse, None
        engine = OpenAIEngine([server.url], "m")
        await engine.start()
        server.refuse = refuse
        try:
            await engine.generate([user("Hello?")], SAMPLING)
        finally:
            await engine.close()

    asyncio.run(ask())


def test_a_wrong_key_and_a_wrong_name_stop_at_once() -> None:
    with FakeServer() as server:
        server.refuse = (401, "no such key")
        with pytest.raises(CaiError, match="401: no such key") as error:
            asked(server)
        assert "CAI_API_KEY" in error.value.hint
        with pytest.raises(CaiError, match="serves no model other"):
            asyncio.run(OpenAIEngine([server.url], "other").start())


def test_nobody_there() -> None:
    with FakeServer() as server:
        url = server.url
    with pytest.raises(CaiError, match="does not say what it serves"):
        _ = OpenAIEngine([url]).identity
    with pytest.raises(CaiError, match="does not answer"):
        asyncio.run(OpenAIEngine([url], "m").start())


def test_a_system_text_moves_where_the_template_has_no_place_for_it() -> None:
    class Strict(FakeServer):
        async def _answer(self, request: Any, body: dict[str, Any]) -> Any:
            from aiohttp import web

            if body["messages"][0]["role"] == "system":
                said = {"error": {"message": "System role not supported"}}
                return web.json_response(said, status=400)
            return await super()._answer(request, body)

    async def ask(server: FakeServer) -> None:
        engine = OpenAIEngine([server.url], "m")
        await engine.start()
        for _ in range(2):
            await engine.generate(
                [Message(role="system", content="Be kind."), user("Hi")], SAMPLING
            )
        await engine.close()

    with Strict() as server:
        asyncio.run(ask(server))
        firsts = [body["messages"][0] for body in server.asked[2:]]  # after what is tried
    assert [m["role"] for m in firsts] == ["system", "user", "user"]
    assert firsts[-1]["content"] == "Be kind.\n\nHi"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS_OF_ANSWERS) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=25,
)


@given(answer=st.dictionaries(st.sampled_from(("choices", "usage", "error")), json_values))
@example(answer={"choices": [{"message": {"content": "A"}, "finish_reason": ["stop"]}]})
@example(answer={"choices": [{"logprobs": {"content": [{"top_logprobs": {"token": 1}}]}}]})
@settings(max_examples=300, deadline=None)
def test_whatever_a_server_answers_it_is_an_answer_or_one_of_our_errors(answer: Any) -> None:
    async def ask() -> None:
        async def post(path: str, body: Any, row: str | None) -> Any:
            return answer

        engine = OpenAIEngine(["http://nowhere/v1"], "m")
        engine._replicas.post = post  # type: ignore[method-assign]
        ways = itertools.product(("token", "top_logprobs", "votes"), (False, True))
        for method, waits in ways:
            engine._able = Abilities(method=method, waits=waits)  # type: ignore[arg-type]
            engine._labels[("A", "B"), ""] = [1, 2]
            with contextlib.suppress(CaiError, CallError, EngineBusy):
                (scores,) = await engine.choose([user("?")], ["?"], ["A", "B"])
                assert 0 <= scores.mass <= 1 + 1e-6
        for api in ("chat", "completions"):
            engine._able = Abilities(api=api)  # type: ignore[arg-type]
            with contextlib.suppress(CaiError, CallError, EngineBusy):
                made = await engine.generate([user("?")], SAMPLING)
                made.model_dump_json()
                assert made.usage.input_tokens >= 0

    asyncio.run(ask())


@pytest.mark.parametrize("value", ["0.5", "NaN", "Infinity", '"much"'])
def test_what_is_no_log_probability(value: str) -> None:
    first = json.loads(f'{{"top_logprobs": [{{"token": "A", "logprob": {value}}}]}}')
    with pytest.raises(EngineBusy, match="log-probabilities"):
        top_of({"logprobs": {"content": [first]}}, "chat")


def test_the_words_of_an_error_that_comes_as_an_answer() -> None:
    with pytest.raises(EngineBusy, match="the model is being loaded"):
        choices_of({"error": {"message": "the model is being loaded"}})


def test_halves_of_characters_and_reasoning_are_cut_out() -> None:
    with FakeServer() as server:
        server.say = "<think>hm</think>Good \ud83d day"
        completion = asked(server)
    assert completion.text == "Good \ufffd day"
    assert completion.reasoning == "hm"


def test_a_key_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-planted-0123456789"
    monkeypatch.setenv("CAI_API_KEY", key)
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.DEBUG)
    with FakeServer() as server:
        server.say = f"Your key is {key}, and you said Bearer {key}."
        arguments = ["generate", "--model", f"{server.url}#m", "--prompts", prompts(tmp_path, 3)]
        arguments += ["--revisions", "0"]
        result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "run")])
        assert server.heard == {f"Bearer {key}"}
        assert result.exit_code == 0, result.output
        server.refuse = (401, f"Incorrect API key provided: {key}")
        with pytest.raises(CaiError, match=r"provided: \[key\]"):
            asked(server)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"Your key is [key]" in path.read_bytes() for path in files)
    assert not [path for path in files if key.encode() in path.read_bytes()]
    assert key not in result.output
    assert key not in caplog.text


def test_a_key_does_not_follow_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(FakeServer):
        async def _models(self, request: Any) -> Any:
            from aiohttp import web

            raise web.HTTPFound(f"{target.url}/models")

    monkeypatch.setenv("CAI_API_KEY", "sk-planted")
    with FakeServer() as target, Elsewhere() as server:
        with pytest.raises(CaiError, match="302"):
            _ = OpenAIEngine([server.url]).identity
        with pytest.raises(CaiError, match="302"):
            asyncio.run(OpenAIEngine([server.url], "m").start())
        assert not target.heard


def test_a_key_goes_to_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-openai")
    assert http.key_for("https://api.openai.com/v1") == "of-openai"
    assert http.key_for("http://elsewhere.org/v1") is None
    monkeypatch.setenv("CAI_API_KEY_ELSEWHERE_ORG", "of-elsewhere")
    assert http.key_for("http://elsewhere.org/v1") == "of-elsewhere"


def test_retry_after_is_read_in_both_forms() -> None:
    assert http.retry_after("7") == 7
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (http.retry_after(later) or 0) <= 30
    assert [http.retry_after(v) for v in (None, "soon", "-1", "1e9")] == [None, None, None, 600]


def test_slots_follow_the_queue_of_the_server() -> None:
    assert steered(64, ours=64, load=Load(64, 0)) == 84  # all at work, none waits: more
    assert steered(84, ours=84, load=Load(64, 20)) == 72  # a queue of an eighth is left
    assert steered(64, ours=10, load=Load(10, 0)) == 64  # we do not use what we have
    assert steered(64, ours=8, load=Load(64, 500)) == 4  # others fill it


@pytest.mark.parametrize(
    "text",
    [
        'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_running{engine="1"} 4.0\n'
        'vllm:num_requests_waiting{engine="0"} 2.0',
        'sglang:num_running_reqs{model_name="m"} 7.0\nsglang:num_queue_reqs{model_name="m"} 2.0',
        "llamacpp:requests_processing 7\nllamacpp:requests_deferred 2",
    ],
)
def test_the_load_that_servers_tell(text: str) -> None:
    assert load_of(f"# HELP of it\n{text}\nother 9\n") == Load(7, 2)
    assert load_of(text.splitlines()[0]) is None


def test_a_server_without_metrics_is_asked_once_and_one_with_a_fault_again() -> None:
    told = "llamacpp:requests_processing 7\nllamacpp:requests_deferred 2"
    answers = iter([(503, "<html>"), (200, told), (404, "<html>"), (200, told)])

    async def ask() -> list[Load | None]:
        async def raw(*_: Any) -> tuple[int, dict[str, str], str]:
            status, text = next(answers)
            return status, {}, text

        engine = OpenAIEngine(["http://nowhere/v1"], "m")
        engine._replicas.raw = raw  # type: ignore[method-assign,assignment]
        return [await engine._load(engine._replicas.all[0]) for _ in range(4)]

    assert asyncio.run(ask()) == [None, Load(7, 2), None, None]
    assert next(answers) == (200, told)  # nobody asked for it


def test_without_a_load_more_are_sent_for_as_long_as_it_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10, 1000, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    steering, done, seen = Steering(["u"]), 0, []
    for _ in range(8):
        slots = steering.slots(["u"])
        seen.append(slots)
        done += 10 * min(slots, 120)  # ten seconds of a server that can do 120 a second
        steering.climb(1, slots, done)
    assert seen == [64, 64, 96, 144, 216, 144, 144, 144]
    steering.climb(1, 144, done + 100)  # too few answers to say anything
    assert steering.slots(["u"]) == 144


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        # What is full does 50 calls a second instead of 120: a shorter queue is enough.
        (lambda slots: min(slots, 50), [64, 64, 96, 144, 216, 144, 96, 144, 96, 96]),
        # Calls have become three times longer at a server with room: as many as before, and more.
        (lambda slots: slots / 3, [64, 64, 96, 144, 216, 144, 96, 144, 216, 324]),
    ],
)
def test_a_latency_that_doubles_begins_the_climb_anew(
    monkeypatch: pytest.MonkeyPatch, rate: Callable[[int], float], expected: list[int]
) -> None:
    clock = iter(range(100, 10_000, 100))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    steering, done, seen = Steering(["u"]), 0, []
    for look in range(10):
        slots = steering.slots(["u"])
        seen.append(slots)
        done += int(100 * (min(slots, 120) if look < 5 else rate(slots)))
        steering.climb(1, slots, done)
    assert seen == expected


def test_the_deepest_call_is_the_most_urgent_at_a_server_that_orders(tmp_path: Path) -> None:
    given: dict[str, Any] = {"count": 100, "concurrency": 4, "stages": ["sft"]}
    with FakeServer("vllm") as server, FakeServer("fcfs") as plain:
        run = go(tmp_path, f"{server.url}#m", **given)
        same = go(tmp_path, f"{plain.url}#m", out="plain", **given)
    urgency = {
        turns: {b["priority"] for b in server.asked[1:] if len(b["messages"]) == turns}
        for turns in (1, 3)
    }
    # Deepest first; breadth first for the last rows, eight per slot.
    assert urgency == {1: {-1, 1}, 3: {-2, 2}}
    assert (run.folder / "sft/train.parquet").read_bytes() == (
        same.folder / "sft/train.parquet"
    ).read_bytes()
    assert not same.failures


def test_replicas_of_two_minds_about_priorities(tmp_path: Path) -> None:
    with FakeServer("vllm") as server, FakeServer("fcfs") as plain:
        run = go(tmp_path, f"{server.url},{plain.url}#m", count=20)
    assert not run.failures


@pytest.mark.parametrize("kind", ["llamacpp", "library"])
def test_a_row_that_does_not_fit_is_a_failure_and_never_cut(tmp_path: Path, kind: str) -> None:
    long = "word " * CONTEXT
    (tmp_path / "p.txt").write_text(f"Short?\n{long}\n")
    with FakeServer(kind) as server:
        run = go(tmp_path, f"{server.url}#m", prompts=str(tmp_path / "p.txt"), stages=["sft"])
        sent = [body for body in server.asked if long.strip() in body["messages"][0]["content"]]
    (failure,) = run.failures
    said = {"llamacpp": "exceeds the available context", "library": "may not fit into 2,048 tokens"}
    assert said[kind] in failure.message
    assert bool(sent) is (kind == "llamacpp")  # one is asked and refuses, the other would cut
    assert run.manifest.counts["sft.train"] == 1


def test_fewer_calls_at_once_than_asked_for_never_more(tmp_path: Path) -> None:
    with FakeServer() as server:
        server.delay = 0.005
        go(tmp_path, f"{server.url}#m", count=30, concurrency=3)
        assert server.most == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [("A", True), (" (A)", True), ("**A**", True), ("A.", True), ("An", False), ("B", False)],
)
def test_what_names_a_label(text: str, named: bool) -> None:
    assert names(text, "A") is named


def test_base_url_serves_the_roles_that_name_no_server(tmp_path: Path) -> None:
    with FakeServer() as server:
        run = go(tmp_path, "default", count=3, base_url=server.url, judge="scripted:words=9")
    assert run.manifest.models["policy"] == "server:m"
    assert run.manifest.models["judge"].startswith("scripted:")
