"""What `cai doctor` says of this machine and of servers."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cai.cli import app
from tests.engines.server.simulated import FakeServer


def report(*names: str) -> tuple[int, dict[str, list[str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *names])
    found: dict[str, list[str]] = {}
    for line in json.loads(result.stdout):
        found.setdefault(line["about"], []).append(line["what"])
    return result.exit_code, found


@pytest.mark.parametrize(
    ("kind", "labels"), [("vllm", "token ids"), ("top", "likeliest"), ("plain", "votes")]
)
def test_what_a_server_supports(kind: str, labels: str) -> None:
    with FakeServer(kind) as server:
        code, found = report(server.url)
    lines = found[server.url]
    assert code == 0
    assert lines[0] == "serves m through chat"
    assert labels in lines[1]
    assert "context: 4,096 tokens" in lines
    assert "fields of a request that it takes: temperature, top_p, max_tokens, seed" in lines
    assert "identity: server:m" in lines
    assert "seeds: one seed, one answer" in lines
    assert f"load is told (/metrics): {'yes' if kind == 'vllm' else 'no'}" in lines
    assert f"prefix cache: {'yes' if kind == 'vllm' else 'no'}" in lines
    assert f"priorities: {'yes' if kind == 'vllm' else 'no'}" in lines
    assert "cached tokens are told: no" in lines


def test_a_server_that_cuts_what_does_not_fit() -> None:
    with FakeServer("library") as server:
        code, found = report(server.url)
    assert code == 0
    assert "context: 2,048 tokens; a longer conversation is cut silently" in found[server.url]


def test_this_machine_and_nobody_there() -> None:
    with FakeServer() as server:
        url = server.url
    code, found = report(url)
    assert code == 1
    assert "does not say what it serves" in found[url][0]
    assert "torch" in found["local"][0]
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "python" in result.stdout


def test_what_was_tried_and_came_out() -> None:
    with FakeServer("llamacpp") as server:
        server.refuses = {"seed": "no `seed` here"}
        server.asked_mass, server.prefills, server.thinks = 0.04, 0.9, "reasoning_effort"
        code, found = report(server.url)
    lines = found[server.url]
    assert code == 0
    assert "fields of a request that it takes: temperature, top_p, max_tokens" in lines
    assert "left out, as the server refuses it: seed" in lines
    assert "thinking: switched off (reasoning_effort)" in lines
    assert "probability on the labels of a trial question: 0.9" in lines
    said = "server:m prefix=continued thinking=reasoning_effort without=seed"
    assert f"identity: {said}" in lines
