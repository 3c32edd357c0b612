"""A run on a real Ray cluster of several nodes, all on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

FILES = ("sft/train.parquet", "preferences/train.parquet", "traces/train.parquet", "failures.jsonl")

# Ray leaves sockets and threads behind, which this suite takes for errors: a process for each.
START = """
import atexit, os, sys, threading
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
from ray.cluster_utils import Cluster
import cai
from cai.errors import CaiError
from cai.runtime.progress import Quiet

def nodes(*cpus):
    head = {"num_cpus": 0, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=head)
    atexit.register(found.shutdown)
    found.workers = [found.add_node(num_cpus=n) for n in cpus]
    found.wait_for_nodes()
    return found

def run(**given):
    try:
        made = cai.generate(distributed="ray", **given)
    except CaiError as error:
        print("CaiError:", error)
        return
    print("calls:", made.manifest.calls["made"], made.manifest.calls["reused"])
"""


def python(body: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + body],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def same_data(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_the_same_bytes_as_one_machine(prompts_file: Callable[..., str]) -> None:
    import cai

    given: dict[str, Any] = {"prompts": prompts_file(60), "model": "scripted:reject=0.2"}
    cai.generate(out="whole", **given)
    cai.generate(out="half", **given | {"limit": 30})
    cai.generate(out="retried", **given)
    again = cai.generate(out="retried", retry_failed=True, **given)
    out = python(
        f"""
given = dict({given!r}, replicas=2, max_open_rows=8)
cluster = nodes(1, 1)
given["address"] = cluster.address
run(out="far", **given)
run(out="far", **given)                      # nothing to do
run(out="reused", reuse=["half"], **given)
run(out="far", retry_failed=True, **given)
"""
    )
    told = [line for line in out.splitlines() if line.startswith("calls: ")]
    made = [tuple(map(int, line.split()[1:])) for line in told]
    whole = cai.Run.load("whole").manifest.calls["made"]
    half = cai.Run.load("half").manifest.calls["made"]
    assert made[0] == (whole, 0)
    assert made[1] == (0, whole)
    assert made[2][0] == whole - half
    assert made[3][0] == again.manifest.calls["made"] > 0
    same_data(Path("whole"), Path("reused"))
    same_data(Path("retried"), Path("far"))


def test_a_node_dies(prompts_file: Callable[..., str]) -> None:
    """Served calls are counted by a server: what came twice is of rows that were on that node."""
    import cai
    from cai.config import resolve
    from cai.method import load_method
    from tests.engines.server.simulated import FakeServer
    from tests.helpers import prompt

    open_rows = 8
    with FakeServer() as server:
        given: dict[str, Any] = {"prompts": prompts_file(120), "model": f"{server.url}#m"}
        cai.generate(out="whole", **given)
        server.answered.clear()
        server.delay = 0.15  # the node is to die before the run ends
        out = python(
            f"""
cluster = nodes(1, 1)  # no room for the lost worker on the other node
class Killer(Quiet):
    rows = 0
    def advance(self, tally=None, **_):
        self.rows += tally is not None  # not those that are being read
        if self.rows == 40:
            threading.Thread(target=cluster.remove_node, args=(cluster.workers[0], False)).start()
run(out="far", replicas=2, max_open_rows={open_rows}, address=cluster.address,
    progress=Killer(), **{given!r})
"""
        )
        calls = {key: n for key, n in server.answered.items() if key not in server.trials}
        repeated = Counter({key: n for key, n in calls.items() if n > 1})
    told = [line for line in out.splitlines() if line.startswith("calls: ")]
    assert len(told) == 1, out
    same_data(Path("whole"), Path("far"))
    made = int(told[0].split()[1])
    wanted = cai.Run.load("whole").manifest.calls["made"]
    assert made == wanted  # each row's calls were committed once
    most = load_method(resolve(given)).most_calls(prompt())
    assert 0 < sum(n - 1 for n in repeated.values()) <= open_rows * most
    assert max(repeated.values()) == 2


def test_workers_that_die_end_the_run(prompts_file: Callable[..., str]) -> None:
    out = python(
        f"""
import cai.generation.workers
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
class Worker(cai.generation.workers.Worker):
    async def row(self, task):
        if task.position == 7:
            os._exit(1)
        return await super().row(task)
cai.generation.workers.Worker = Worker
run(out="far", prompts={prompts_file(20)!r}, model="scripted", max_open_rows=2)
print(ray.is_initialized())
"""
    )
    assert "3 workers of the cluster died: with prompt" in out
    assert "True" in out.splitlines()  # the program's own connection stays


def test_other_weights_on_a_machine(prompts_file: Callable[..., str]) -> None:
    out = python(
        f"""
import cai.generation.workers
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
class Worker(cai.generation.workers.Worker):
    async def ready(self):
        version, models, problem = await super().ready()
        return version, models | {{"judge": "another"}}, problem
cai.generation.workers.Worker = Worker
run(out="far", prompts={prompts_file(20)!r}, model="scripted")
"""
    )
    assert "has another judge model than this one: another" in out


def test_without_an_address_nobody_elses_cluster_is_joined(
    prompts_file: Callable[..., str],
) -> None:
    out = python(
        f"""
cluster = nodes()  # has no room for a worker: a run that joins it waits for ever
run(out="far", prompts={prompts_file(2)!r}, model="scripted", replicas=1)
"""
    )
    assert "calls: " in out


def test_no_cluster(prompts_file: Callable[..., str]) -> None:
    out = python(f"""
run(out="far", prompts={prompts_file(2)!r}, model="scripted", address="127.0.0.1:1")
""")
    assert "--address 127.0.0.1:1: no Ray cluster answers" in out


def test_a_dead_server_keeps_what_was_made(prompts_file: Callable[..., str]) -> None:
    """The row that had to stop sends its calls home with the reason."""
    import cai
    from cai.generation.worker import Task, Worker
    from cai.method import load_method
    from cai.records import Prompt, user
    from cai.runtime.work import run
    from tests.engines.server.simulated import FakeServer

    with FakeServer() as server:
        settings = cai.config.resolve({"model": f"{server.url}#m"})
        method = load_method(settings)
        messages = (user("Hello?"),)
        prompt = Prompt(id=Prompt.id_of(messages), messages=messages, kind="red-team")

        async def job() -> Any:
            worker = Worker(method, 1, False)
            await worker.ready()
            server_answers = server._answer

            async def once(request: Any, body: Any) -> Any:
                if len(server.answered.keys() - server.trials) >= 2:
                    server.refuse = (401, "no")
                return await server_answers(request, body)

            server._answer = once  # type: ignore[method-assign]
            try:
                return await worker.row(Task(0, prompt, {}, {}, {}))
            finally:
                await worker.close()

        result = run(job())
    assert result.error is not None
    assert len(result.calls) >= 2


def test_an_engine_of_the_caller_is_refused(prompts_file: Callable[..., str]) -> None:
    import cai
    from cai.engines.scripted import ScriptedEngine
    from cai.errors import CaiError

    with pytest.raises(CaiError, match="make their models themselves"):
        cai.generate(prompts=prompts_file(2), out="far", distributed="ray", engine=ScriptedEngine())
    assert not Path("far").exists()
