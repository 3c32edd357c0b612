"""Servers that refuse one call, come back as another, or say one thing and mean another."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import cai
from cai.cli import app
from cai.engines.base import Caller
from cai.engines.labels import CANDIDATES
from cai.engines.server import http
from cai.engines.server.openai import OpenAIEngine
from cai.engines.server.steering import load_of
from cai.errors import CaiError, CallError
from cai.generation.merge import merge_shards
from cai.records import Message, user
from cai.runtime import scheduler
from tests.engines.server.simulated import SAMPLING, FakeServer, data, go, prompts, turns_of

pytestmark = pytest.mark.usefixtures("short_pauses")


class Particular(FakeServer):
    """Does something else with the conversations that hold a text."""

    def __init__(self, text: str, kind: str = "vllm", **answer: Any) -> None:
        super().__init__(kind)
        self.text, self.answer = text, answer

    def _holds(self, body: dict[str, Any]) -> bool:
        return any(self.text in turn.content for turn in turns_of(body))

    def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
        refusal: tuple[int, str] | None = self.answer.get("refuse")
        wanted = self.answer.get("labels", False) <= bool(body.get("logprobs"))
        return refusal if refusal and wanted and self._holds(body) else super()._refused(body)

    async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await super()._completion(body)
        if "finish_reason" in self.answer and self._holds(body):
            answer["choices"][0]["finish_reason"] = self.answer["finish_reason"]
        return answer


def calls_of(server: FakeServer) -> list[dict[str, Any]]:
    """Without the question whether the server goes by names at all."""
    return [body for body in server.asked if body["model"] != "cai-no-such-model"]


TOO_LONG = (400, "maximum context length exceeded")


@pytest.mark.parametrize("kind", ["vllm", "top"])
def test_a_label_call_that_is_refused_fails_its_row_alone(tmp_path: Path, kind: str) -> None:
    with Particular("Question 3?", kind, refuse=TOO_LONG, labels=True) as server:
        run = go(tmp_path, server.url, 6)
        found = [(f.stage, f.error) for f in run.failures]
        assert sorted(found) == [("judge", "call"), ("verdict", "call")]
        assert len(run.sft["train"]) == 5
        asked = len(server.asked)
        assert go(tmp_path, server.url, 6).manifest.calls["made"] == 0
        assert len(server.asked) == asked


@pytest.mark.parametrize(
    "answer",
    [{"refuse": (500, "internal error")}, {"finish_reason": "abort"}],
    ids=["500", "broken off"],
)
def test_one_prompt_that_never_passes_is_a_failure_and_not_a_dead_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.001)
    with Particular("Question 3?", **answer) as server:
        run = go(tmp_path, server.url, 6)
    assert [(f.stage, f.error) for f in run.failures] == [("respond", "call"), ("sample", "call")]
    assert all("not answered in 11 tries" in f.message for f in run.failures)


def test_shards_with_a_refused_prompt_can_be_merged(tmp_path: Path) -> None:
    with Particular("Question 3?", refuse=TOO_LONG) as server:
        whole = go(tmp_path, server.url, 6)
        shards = [go(tmp_path, server.url, 6, out=f"p{n}", shard=f"{n}/2") for n in (1, 2)]
    merged = merge_shards([run.folder for run in shards], tmp_path / "merged")
    assert data(merged) == data(whole)
    assert len(merged.failures) == len(whole.failures) == 2  # the answer, the sample


def test_a_server_that_refuses_all_stops_the_run_and_no_row_has_failed(tmp_path: Path) -> None:
    with FakeServer() as server:
        server.refuse = (400, "Unknown field chat_template_kwargs")
        with pytest.raises(CaiError, match="Unknown field"):
            go(tmp_path, server.url, 4)
        server.refuse = None
        assert not go(tmp_path, server.url, 4).failures


def test_a_replica_with_another_model_is_never_asked(tmp_path: Path) -> None:
    with FakeServer("llamacpp") as first, FakeServer("llamacpp", name="other") as second:
        with pytest.raises(CaiError, match=r"serves no model m\nIt serves: other"):
            go(tmp_path, f"{first.url},{second.url}#m")
        assert not calls_of(second)


def test_a_replica_that_comes_back_with_another_model_is_never_asked(tmp_path: Path) -> None:
    with FakeServer("llamacpp") as first, FakeServer("llamacpp") as second:
        second.stop()
        changed = FakeServer("llamacpp", port=second.port, name="other")

        async def ask() -> None:
            engine = OpenAIEngine([first.url, second.url], "m")
            await engine.start()
            changed.start()
            try:
                await asyncio.sleep(2 * http.REST + 0.5)
                for row in range(8):
                    engine._replicas.all[0].running = 9  # the least to do has the other
                    await engine.generate([user("Hello?")], SAMPLING, Caller(str(row)))
            finally:
                await engine.close()

        try:
            with pytest.raises(CaiError, match="serves no model m"):
                asyncio.run(ask())
        finally:
            changed.stop()
        assert not calls_of(changed)


def test_the_first_replica_may_be_dead_at_the_start() -> None:
    with FakeServer() as dead, FakeServer() as server:
        dead.stop()
        server.delay = 4 * http.REST  # the dead one is tried again before the labels are read

        async def ask() -> Any:
            engine = OpenAIEngine([dead.url, server.url], "m")
            await engine.start()
            try:
                for labels in CANDIDATES:
                    engine.check_labels(labels.names, labels.answer_prefix)
                return engine.method
            finally:
                await engine.close()

        assert asyncio.run(ask()) == "token"


def test_an_error_said_as_an_answer_at_the_start_is_no_lack_of_log_probabilities() -> None:
    class Hiccup(FakeServer):
        async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
            if len(self.asked) == 1:
                return {"error": {"message": "rate limit"}, "choices": []}
            return await super()._completion(body)

    async def method(server: FakeServer) -> str:
        engine = OpenAIEngine([server.url], "m")
        await engine.start()
        await engine.close()
        return engine.method

    for kind, wanted in (("vllm", "token"), ("top", "top_logprobs")):
        with Hiccup(kind) as server:
            assert asyncio.run(method(server)) == wanted


@pytest.mark.parametrize("key", ["EMPTY", "token", "m"])
def test_a_placeholder_for_a_key_changes_nothing_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CAI_API_KEY", key)
    with FakeServer("top") as server:
        server.say = "An EMPTY token for me, my friend: it says nothing at all of the matter."
        run = go(tmp_path, server.url, 4, revisions=0)
        assert server.heard == {f"Bearer {key}"}
    assert {row["completion"][0]["content"] for row in run.sft["train"]} == {server.say}
    assert run.manifest.tokens["policy"]["input"] > 0


def test_a_key_with_a_line_break_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_API_KEY", "abc\ndef")
    with pytest.raises(CaiError, match="CAI_API_KEY: a line break") as error:
        OpenAIEngine(["http://h/v1"], "m")
    assert "abc" not in str(error.value)


def test_half_a_character_in_a_refusal_can_be_written(tmp_path: Path) -> None:
    with Particular("Question 3?", refuse=(400, "no \ud83d")) as server:
        run = go(tmp_path, server.url, 4)
    assert [f.message[-4:] for f in run.failures] == ["no ?", "no ?"]


def test_a_refusal_that_speaks_of_roles_does_not_move_the_system_text_of_others() -> None:
    said = (400, "flagged: the system played a role in it")

    async def ask(server: FakeServer) -> None:
        engine = OpenAIEngine([server.url], "m")
        await engine.start()
        try:
            with pytest.raises(CallError):
                await engine.generate([system, user("Question 3?")], SAMPLING)
            await engine.generate([system, user("Question 4?")], SAMPLING)
        finally:
            await engine.close()

    system = Message(role="system", content="Be kind.")
    with Particular("Question 3?", refuse=said) as server:
        asyncio.run(ask(server))
        assert [turn["role"] for turn in server.asked[-1]["messages"]] == ["system", "user"]


def test_a_key_in_the_base_url_is_written_nowhere(tmp_path: Path) -> None:
    with pytest.raises(CaiError, match="key in an address") as error:
        go(tmp_path, "scripted", base_url="http://me:sk-x@h/v1")
    assert "sk-x" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_votes_are_drawn_one_by_one_where_a_server_gives_no_more(tmp_path: Path) -> None:
    class One(FakeServer):
        def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
            return (400, "n: at most 1") if body.get("n", 1) > 1 else super()._refused(body)

    with One("plain") as server:
        run = go(tmp_path, server.url, 2)
    assert not run.failures
    judged = [pair for row in run.traces["train"] for pair in row["pairs"] if pair["judgements"]]
    assert {j["method"] for pair in judged for j in pair["judgements"]} == {"votes"}


def test_the_name_is_asked_of_the_replica_that_answers() -> None:
    with FakeServer() as dead, FakeServer() as server:
        dead.stop()
        assert OpenAIEngine([dead.url, server.url]).identity == "server:m"


@pytest.mark.parametrize("gauge", ["1.2.3", "1e", "e", "..", "NaN"])
def test_a_load_that_is_no_number_is_not_told(gauge: str) -> None:
    lines = f"vllm:num_requests_running {gauge}\nvllm:num_requests_waiting 0.0\n"
    assert load_of(lines) is None


FLAGGED = (403, "This input was flagged by our moderation")


@pytest.mark.parametrize("refusal", [FLAGGED, (400, "content management policy"), (404, "gone")])
def test_one_flagged_prompt_of_forty_is_a_failed_row(
    tmp_path: Path, refusal: tuple[int, str]
) -> None:
    with Particular("Question 7?", refuse=refusal) as server:
        run = go(tmp_path, server.url, 40, stages=["sft"])
    (failure,) = run.failures
    assert failure.error == "call"
    assert f"({refusal[0]}): {refusal[1]}" in failure.message
    assert len(run.sft["train"]) == 39


def started(tmp_path: Path, server: FakeServer, refusal: tuple[int, str]) -> None:
    """Prompts that fail alike, one after the other, of a server that was well at the start."""

    class Changing:
        def phase(self, name: str, total: int | None = None) -> None:
            if name == "generating":
                server.refuse = refusal

        def advance(self, **_: Any) -> None: ...
        def warn(self, message: str) -> None: ...
        def close(self) -> None: ...

    go(tmp_path, server.url, 40, stages=["sft"], concurrency=4, progress=Changing())


def test_twenty_refusals_alike_stop_the_run_and_a_mended_server_makes_all(tmp_path: Path) -> None:
    with FakeServer() as server:
        with pytest.raises(CaiError, match=r"20 calls in a row failed alike.*\(403\)") as error:
            started(tmp_path, server, FLAGGED)
        assert "--retry-failed" in error.value.hint
        server.refuse = None
        run = go(tmp_path, server.url, 40, stages=["sft"], retry_failed=True)
    assert not run.failures
    assert len(run.sft["train"]) == 40


def test_refusals_of_calls_that_are_too_long_do_not_add_up(tmp_path: Path) -> None:
    with FakeServer() as server:
        started(tmp_path, server, TOO_LONG)
        run = cai.Run.load(tmp_path / "run")
    assert len(run.failures) == 40


def test_a_wrong_key_in_the_middle_stops_at_once(tmp_path: Path) -> None:
    with FakeServer() as server:
        with pytest.raises(CaiError, match="401: no such key"):
            started(tmp_path, server, (401, "no such key"))
        server.refuse = None
        assert not go(tmp_path, server.url, 40, stages=["sft"]).failures


def test_a_run_that_makes_nothing_ends_with_code_1_and_the_reasons(tmp_path: Path) -> None:
    with Particular("Question", refuse=FLAGGED) as server:
        arguments = ["generate", "--model", server.url, "--prompts", prompts(tmp_path, 6)]
        arguments += ["--out", str(tmp_path / "run"), "--stages", "sft"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1, result.output
        assert "No row was made" in result.stderr
        assert "6 x respond: call: the server refuses the call (403)" in result.stderr
        server.answer = {}
        result = CliRunner().invoke(app, [*arguments, "--retry-failed"])
        assert result.exit_code == 0, result.output


def test_labels_of_too_little_mass_are_asked_again(tmp_path: Path) -> None:
    given = {"stages": ["preferences"], "pairs": ["sampled"], "min_label_mass": 0.5}
    with FakeServer("top") as server:
        server.asked_mass = 0.3
        run = go(tmp_path, server.url, 6, **given)
        assert {f.error for f in run.failures} == {"label mass"}
        server.asked_mass = 0.9
        assert len(go(tmp_path, server.url, 6, **given).failures) == 6
        again = go(tmp_path, server.url, 6, retry_failed=True, **given)
        assert not again.failures
        assert again.manifest.calls["made"] == 6 * 2 * 2  # the labels alone
        assert go(tmp_path, server.url, 6, **given).manifest.calls["made"] == 0


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_fails_for_a_while_costs_no_row(tmp_path: Path, status: int) -> None:
    with FakeServer() as server:

        class Falling:
            def phase(self, name: str, total: int | None = None) -> None:
                if name == "generating":
                    server.refuse = (status, "starting")
                    threading.Timer(0.6, lambda: setattr(server, "refuse", None)).start()

            def advance(self, **_: Any) -> None: ...
            def warn(self, message: str) -> None: ...
            def close(self) -> None: ...

        run = go(tmp_path, server.url, 6, progress=Falling())
    assert not run.failures
