"""What was found out by asking a server is kept, and journals of version 0.1.0 are read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cai.checks.judge import judge_check
from cai.config import resolve
from cai.errors import CaiError
from cai.generation.plan import Plan, make_plan
from cai.generation.worker import Worker
from cai.method import load_method
from cai.roles import make_engines
from cai.runtime.work import run as run_job
from tests.engines.server.simulated import FakeServer, data, go, manner_of, prompts

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    from cai.engines.server import http
    from cai.runtime import scheduler

    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(http, "REST", 0.05)
    monkeypatch.delenv("CAI_API_KEY", raising=False)


class Hearing:
    def __init__(self) -> None:
        self.said: list[str] = []

    def phase(self, name: str, total: int | None = None) -> None: ...
    def advance(self, **_: Any) -> None: ...
    def close(self) -> None: ...
    def warn(self, message: str) -> None:
        if "judge" not in message:
            self.said.append(message)


def of_first_version(folder: Path) -> None:
    """Take out of a journal what version 0.1.0 did not keep."""
    with sqlite3.connect(folder / "calls.sqlite") as db:
        db.execute("DELETE FROM meta WHERE key = 'servers'")
    db.close()


def forget(folder: Path, like: str, count: int = 1) -> None:
    """Take some calls out of a journal: they were not made before it was interrupted."""
    with sqlite3.connect(folder / "calls.sqlite") as db:
        query = "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE value LIKE ? LIMIT ?)"
        db.execute(query, (like, count))
    db.close()


def better_with_words(server: FakeServer) -> None:
    """The server goes on from the answer's first words, and labels then have more of the mass."""
    server.asked_mass, server.prefills = 0.04, 0.9


def test_a_finished_run_needs_no_server(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        better_with_words(server)
        run = go(tmp_path, server.url, 4)
        url = server.url
    assert run.manifest.models["judge"] == "server:m prefix=continued"
    for address in (f"{url}#m", url):  # also where its name is not given
        again = go(tmp_path, address, 4)
        assert data(again) == data(run)
        assert again.manifest.models == run.manifest.models
        assert again.manifest.fed == run.manifest.fed
        assert again.manifest.calls["made"] == 0


def plan(url: str, folder: Path, count: int, **given: Any) -> Plan:
    few = {"judge_principles": 2, "revisions": 1, "test_share": 0}
    settings = resolve({"model": url, "prompts": prompts(folder, count), **few, **given})
    return make_plan(load_method(settings), folder / "run", engines=make_engines(settings))[0]


def test_a_dry_run_asks_nothing_and_knows_what_was_found(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        better_with_words(server)
        go(tmp_path, f"{server.url}#m", 4)
        asked = len(server.asked)
        made = plan(f"{server.url}#m", tmp_path, 6)
        assert len(server.asked) == asked
    assert (made.complete, made.at_least) == (4, 2)
    assert set(made.changes) == {"prompts"}


def test_going_on_keeps_what_was_found_and_tries_it_once(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        better_with_words(server)
        go(tmp_path, f"{server.url}#m", 4)
        server.asked.clear()
        run = go(tmp_path, f"{server.url}#m", 6)
        tried = [body for body in server.asked if "Question" not in str(body)]
    assert len(tried) == 4  # two kinds of sampling, two label questions
    assert run.manifest.models["judge"] == "server:m prefix=continued"
    assert not run.failures


def test_a_server_that_has_changed_is_asked_anew_by_the_next_run(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        go(tmp_path, f"{server.url}#m", 4)
        server.refuses = {"seed": "no `seed` here"}
        with pytest.raises(CaiError, match="has come to take other requests") as error:
            go(tmp_path, f"{server.url}#m", 6)
        assert "without=seed" in str(error.value)
        with pytest.raises(CaiError, match="the server refuses fields of a request"):
            go(tmp_path, f"{server.url}#m", 6)  # rows would be replaced: it asks first
        run = go(tmp_path, f"{server.url}#m", 6, approve=lambda plan: True)
    assert not run.failures
    assert run.manifest.models["policy"] == "server:m without=seed"


def test_another_folder_takes_over_what_was_found(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        better_with_words(server)
        first = go(tmp_path, f"{server.url}#m", 4)
        server.asked.clear()
        run = go(tmp_path, f"{server.url}#m", 4, out="other", reuse=[first.folder])
        assert not server.asked
    assert data(run) == data(first)


@pytest.mark.parametrize(("kind", "warned"), [("vllm", False), ("top", True)])
def test_a_finished_run_of_version_0_1_0_is_read_as_it_stands(
    tmp_path: Path, kind: str, warned: bool
) -> None:
    with FakeServer(kind) as server:
        run = go(tmp_path, f"{server.url}#m", 4)
        of_first_version(run.folder)
        server.asked.clear()
        better_with_words(server)
        progress = Hearing()
        again = go(tmp_path, f"{server.url}#m", 4, progress=progress)
        assert not server.asked
    assert data(again) == data(run)
    assert bool(progress.said) is warned
    assert "server" in again.manifest.fed["policy"]


def test_a_run_of_version_0_1_0_that_was_asked_rightly_goes_on_call_by_call(
    tmp_path: Path,
) -> None:
    with FakeServer("vllm") as server:
        run = go(tmp_path, f"{server.url}#m", 4)
        of_first_version(run.folder)
        forget(run.folder, '{"logprobs%', 3)
        again = go(tmp_path, f"{server.url}#m", 4)
    assert again.manifest.calls["made"] == 3
    assert data(again) == data(run)


def test_a_run_of_version_0_1_0_that_was_asked_otherwise_says_what_it_asks_again(
    tmp_path: Path,
) -> None:
    plans: list[Plan] = []

    def approve(plan: Plan) -> bool:
        plans.append(plan)
        return True

    with FakeServer("top") as server:
        run = go(tmp_path, f"{server.url}#m", 4)
        texts = count_of(run.folder, '{"text%')
        of_first_version(run.folder)
        forget(run.folder, '{"logprobs%', 1)
        better_with_words(server)
        with pytest.raises(CaiError, match="after the answer's first words in another way"):
            go(tmp_path, f"{server.url}#m", 4)
        server.asked.clear()
        again = go(tmp_path, f"{server.url}#m", 4, approve=approve)
        asked = [body for body in server.asked if "Question" in str(body)]
    assert "the same served model, but" in plans[0].changes["model"]
    assert not again.failures
    # Labels are asked for once more; of the texts those alone that a new verdict asks for.
    scored = [body for body in asked if body.get("logprobs")]
    assert {manner_of(body) for body in scored} == {"continued"}
    drawn = [body for body in asked if not body.get("logprobs")]
    assert {len(body["messages"]) for body in drawn} <= {5}  # revisions
    assert len(drawn) == count_of(run.folder, '{"text%') - texts
    assert again.manifest.models["policy"] == "server:m prefix=continued"


def count_of(folder: Path, like: str) -> int:
    db = sqlite3.connect(folder / "calls.sqlite")
    (count,) = db.execute("SELECT count(*) FROM calls WHERE value LIKE ?", (like,)).fetchone()
    db.close()
    return int(count)


def test_a_check_of_a_judge_keeps_what_was_found(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"Question {n}?", "chosen": f"A good answer {n}.", "rejected": f"A bad one {n}."}
        for n in range(6)
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def check(url: str) -> Any:
        return judge_check(judge=f"{url}#m", pairs=pairs, out=tmp_path / "check")

    with FakeServer("top") as server:
        better_with_words(server)
        first = check(server.url)
        url = server.url
    assert first.judge == "server:m prefix=continued"
    assert check(url) == first  # there is no server any more
    of_first_version(tmp_path / "check")
    with FakeServer("top", port=int(url.split(":")[2].split("/")[0])) as server:
        better_with_words(server)
        again = check(server.url)
    assert again.judge == first.judge


def test_a_finished_check_of_version_0_1_0_asks_nothing(
    tmp_path: Path, prompts_file: Callable[..., str]
) -> None:
    with FakeServer("top") as server:
        first = judge_check(judge=f"{server.url}#m", limit=6, out=tmp_path / "check")
        url = server.url
    of_first_version(tmp_path / "check")
    again = judge_check(judge=f"{url}#m", limit=6, out=tmp_path / "check")
    assert again == first
    assert again.judge == "server:m"


def test_a_worker_goes_by_what_the_driver_found(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        better_with_words(server)
        run = go(tmp_path, f"{server.url}#m", 2)
        settings = resolve({"model": f"{server.url}#m"})
        db = sqlite3.connect(run.folder / "calls.sqlite")
        (kept,) = db.execute("SELECT value FROM meta WHERE key = 'servers'").fetchone()
        db.close()
        server.asked.clear()
        worker = Worker(load_method(settings), 1, False, json.loads(kept))

        async def ready() -> Any:
            try:
                return await worker.ready()
            finally:
                await worker.close()

        _, identities, problem = run_job(ready())
        assert not server.asked
    assert problem is None
    assert identities == run.manifest.models


def test_two_servers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    with FakeServer("vllm") as one, FakeServer("top") as other:
        other.refuses = {"seed": "no `seed` here"}
        given = {"judge": f"{other.url}#m", "count": 3}
        run = go(tmp_path, f"{one.url}#m", **given)
        asked = len(one.asked) + len(other.asked)
        again = go(tmp_path, f"{one.url}#m", **given)
        assert len(one.asked) + len(other.asked) == asked
    assert run.manifest.models["policy"] == "server:m"
    assert run.manifest.models["judge"] == "server:m without=seed"
    assert again.manifest.models == run.manifest.models


def test_a_role_that_picks_labels_and_comes_later_is_asked_about(tmp_path: Path) -> None:
    with FakeServer("top") as server:
        better_with_words(server)
        quiet = {"verdict": False, "assess": False}
        first = go(tmp_path, f"{server.url}#m", 3, stages=["sft"], **quiet)
        assert first.manifest.models["policy"] == "server:m"
        made = first.manifest.calls["made"]
        run = go(tmp_path, f"{server.url}#m", 3, **quiet)
    assert run.manifest.models["judge"] == "server:m prefix=continued"
    assert not run.failures
    assert run.manifest.calls["reused"] == made > 0  # the texts serve on
