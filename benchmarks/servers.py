"""How well servers are kept busy, what a call costs, what kill -9 costs: cai and its peers.

    python benchmarks/servers.py [PART…] [--rows 400 4000] [--labels-rows 4000] [--draws 6]

Parts: busy, labels, cpu, kill, outage, growth; all by default. One table, from one run. The server
is simulated (simulated.py). Peers run in environments of their own, which --datatrove,
--data-designer and --openai name by their Python; `make benchmark` makes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulated import STEPS, Simulated, at_no_cost, question

PEERS = Path(__file__).parent / "peers"
GIVE_UP = 900.0  # seconds for one run of a client


@dataclass
class Client:
    """A way to take rows through the chain of three calls, as a process of its own."""

    name: str
    command: Callable[[Simulated, int, Path], list[str]]

    def start(self, server: Simulated, rows: int, folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(server, rows, folder),
            stdout=(folder / "said.txt").open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_DISABLE_TELEMETRY": "1"},
        )

    def run(self, server: Simulated, rows: int, folder: Path) -> str:
        """What it says at its end."""
        process = self.start(server, rows, folder)
        try:
            code = process.wait(GIVE_UP)
        except subprocess.TimeoutExpired:
            kill(process)
            code = -1
        said = (folder / "said.txt").read_text()
        if code:
            raise RuntimeError(f"{self.name} ended with {code}:\n{said[-2000:]}")
        return said


def cai_client(name: str, *options: str) -> Client:
    def command(server: Simulated, rows: int, folder: Path) -> list[str]:
        prompts = folder / "prompts.jsonl"
        if not prompts.exists():
            lines = (json.dumps({"prompt": question(n)}) + "\n" for n in range(rows))
            prompts.write_text("".join(lines))
        wide = [o.replace("ROWS", str(rows)) for o in options]
        run = [sys.executable, "-m", "cai.cli", "generate", "--prompts", str(prompts), *wide]
        if "preferences" not in options:
            run += ["--stages", "sft"]
        run += ["--no-verdict", "--no-assess", "--revisions", "1"]  # STEPS calls a row
        run += ["--model", f"{server.root}/v1#sim"]
        return [*run, "--out", str(folder / "run")]

    return Client(name, command)


def peer(name: str, python: str, script: str, mode: str) -> Client:
    def command(server: Simulated, rows: int, folder: Path) -> list[str]:
        out = str(folder / "run")
        return [python, str(PEERS / script), server.root, str(rows), out, mode]

    return Client(name, command)


def barrier(server: Simulated, rows: int) -> None:
    """All first calls, then all second ones, then all third ones, over our engine."""
    from cai.engines.server.openai import OpenAIEngine
    from cai.records import Sampling, assistant, user

    async def main() -> None:
        engine = OpenAIEngine([f"{server.root}/v1"], "sim")
        await engine.start()
        gate = asyncio.Semaphore(server.slots)
        talks = [[user(question(n))] for n in range(rows)]

        async def step(talk: list[Any], number: int) -> None:
            async with gate:
                sampling = Sampling(temperature=1, max_tokens=64, seed=number)
                made = await engine.generate(talk, sampling)
            talk += [assistant(made.text), user("Go on.")]

        for number in range(STEPS):
            await asyncio.gather(*(step(talk, number) for talk in talks))
        await engine.close()

    asyncio.run(main())


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


# --- the parts ----------------------------------------------------------------------------------


class Table:
    """Lines of Markdown, printed as they come."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []

    def head(self, title: str, *columns: str) -> None:
        print(f"\n{title}\n\n| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")

    def row(self, part: str, name: str, **values: float | str) -> None:
        self.results.append({"part": part, "what": name, **values})
        cells = [f"{v:,.3f}" if isinstance(v, float) else str(v) for v in values.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measure(client: Client, rows: int, draw: int, slots: int) -> dict[str, float]:
    with Simulated(slots, draw=draw) as server, scratch() as folder:
        client.run(server, rows, folder)
        return server.busy()


def typical(rows: int, slots: int, count: int) -> tuple[list[int], list[float]]:
    """Of 20 draws those whose best order is nearest to the median, and what it comes to.

    A long call near the end leaves all other slots idle: at 400 rows and 64 slots the draws range
    from 0.65 to 0.91.
    """
    best = {draw: at_no_cost(rows, slots, draw) for draw in range(20)}
    middle = statistics.median(best.values())
    draws = sorted(best, key=lambda draw: abs(best[draw] - middle))[: max(1, count)]
    return draws, [best[draw] for draw in draws]


def part_busy(given: argparse.Namespace, table: Table) -> None:
    clients = [
        cai_client("cai, as it comes"),
        cai_client("cai, wide window", "--max-open-rows", "ROWS"),
    ]
    for name, python, script in (
        ("datatrove", given.datatrove, "with_datatrove.py"),
        ("Data Designer", given.data_designer, "with_data_designer.py"),
    ):
        if python:
            clients.append(peer(f"{name}, tuned", python, script, "tuned"))
            clients.append(peer(f"{name}, as it comes", python, script, "default"))
    for rows in given.rows:
        draws, best = typical(rows, given.slots, given.draws if rows <= 1000 else given.draws // 2)
        table.head(
            f"Slots busy, {rows:,} rows, mean over {len(draws)} of the draws of latencies",
            *("slots busy", "of the best order", "first 5 % of rows at"),
        )
        table.row("busy", "best order, at no cost", busy=statistics.mean(best), of=1.0, first="")
        for client in clients:
            slow = client.name == "Data Designer, as it comes"  # four calls at once
            tried = draws[:1] if slow else draws
            if slow and rows > 1000:
                continue
            found = [measure(client, rows, draw, given.slots) for draw in tried]
            _busy_row(table, client.name, found, best)
        found = []
        for draw in draws:
            with Simulated(given.slots, draw=draw) as server:
                barrier(server, rows)
                found.append(server.busy())
        _busy_row(table, "barriers between steps", found, best)


def _busy_row(table: Table, name: str, found: list[dict[str, float]], best: list[float]) -> None:
    busy = statistics.mean(f["busy"] for f in found)
    of = statistics.mean(f["busy"] / b for f, b in zip(found, best, strict=False))
    first = statistics.mean(f["first 5 %"] for f in found)
    table.row("busy", name, busy=busy, of=of, first=f"{first:.1%}")


def part_labels(given: argparse.Namespace, table: Table) -> None:
    rows = given.labels_rows
    table.head(
        f"With 16 label calls a row, {rows:,} rows",
        *("slots busy", "times the ideal", "first 5 % of rows at"),
    )
    options = ["--stages", "preferences", "--pairs", "revision", "--judge-principles", "8"]
    client = cai_client("cai, wide window", "--max-open-rows", "ROWS", *options)
    found = measure(client, rows, 0, given.slots)
    assert found["calls"] == rows * (STEPS + 16), found
    first = f"{found['first 5 %']:.1%}"
    table.row("labels", client.name, busy=found["busy"], over=1 / found["busy"], first=first)


def part_cpu(given: argparse.Namespace, table: Table) -> None:
    """The client's CPU per call at 256 in flight: the least of three runs each, in turn."""
    calls, flight = 4096, 256
    if not given.openai:
        return
    table.head("Client's CPU per call, 256 in flight", "ms", "ratio")
    found: dict[str, list[float]] = {}
    with Simulated(flight) as server:
        for _ in range(3):
            for python, who in ((sys.executable, "cai"), (given.openai, "openai")):
                command = [python, str(PEERS / "calls.py"), who, server.root, str(calls)]
                done = subprocess.run(
                    [*command, str(flight)], capture_output=True, text=True, check=True
                )
                found.setdefault(who, []).append(float(done.stdout))
    best = {name: min(values) for name, values in found.items()}
    table.row("cpu", "cai", ms=best["cai"], ratio=best["cai"] / best["openai"])
    table.row("cpu", "openai SDK", ms=best["openai"], ratio=1.0)


def part_kill(given: argparse.Namespace, table: Table) -> None:
    """kill -9 once half of the calls are answered, then the same command again."""
    rows = given.kill_rows
    clients = [cai_client("cai")]
    if given.datatrove:
        clients.append(peer("datatrove", given.datatrove, "with_datatrove.py", "checkpoints"))
    if given.data_designer:
        clients.append(
            peer("Data Designer", given.data_designer, "with_data_designer.py", "checkpoints")
        )
    table.head(
        f"kill -9 at half of {rows * STEPS:,} calls, and the same command again",
        *("in flight then", "answered, made again", "rows", "doubled"),
    )
    for client in clients:
        with Simulated(given.slots) as server, scratch() as folder:
            process = client.start(server, rows, folder)
            while server.stats()["calls"] < rows * STEPS / 2:
                assert process.poll() is None, (folder / "said.txt").read_text()[-2000:]
                time.sleep(0.02)
            kill(process)
            time.sleep(1.0)  # the server drops what nobody waits for
            then = server.stats()
            said = client.run(server, rows, folder)
            stats = server.stats()
            whole, distinct = _rows_of(client, said, folder)
            table.row(
                "kill",
                client.name,
                flight=then["asked"] + then["repeated"] - then["calls"],
                again=stats["calls"] - stats["asked"],
                rows=f"{distinct} of {rows}",
                doubled=whole - distinct,
            )


def _rows_of(client: Client, said: str, folder: Path) -> tuple[int, int]:
    """Rows in the data, and how many of them are different."""
    import datasets

    if client.name != "cai":
        told = json.loads(next(line for line in said.splitlines() if line.startswith('{"rows"')))
        return told["rows"], told["distinct"]
    import cai

    datasets.disable_progress_bars()
    sft = cai.Run.load(folder / "run").sft
    ids = [row["id"] for part in sft.values() for row in part]
    return len(ids), len(set(ids))


def part_outage(given: argparse.Namespace, table: Table) -> None:
    """The server dies for 30 s and comes back, with the pauses that a user has."""
    rows, client = given.kill_rows, cai_client("cai")
    with Simulated(given.slots) as server, scratch() as folder:
        process = client.start(server, rows, folder)
        while server.stats()["calls"] < rows * STEPS / 2:
            time.sleep(0.02)
        server.stop()
        time.sleep(30.0)
        server.start()
        code = process.wait(GIVE_UP)
        whole, distinct = _rows_of(client, "", folder) if code == 0 else (0, 0)
    table.head("A server that dies for 30 s at half of the calls", "ends with code", "rows")
    table.row("outage", "cai", code=code, rows=f"{distinct} of {rows}, {whole - distinct} doubled")


def part_growth(given: argparse.Namespace, table: Table) -> None:
    """Rate and memory as rows grow, with a server that answers at once: what is measured is us."""
    table.head(
        "Growth, a server that answers at once, default window",
        *("calls", "calls/s", "peak memory, MB"),
    )
    for rows in given.growth:
        with Simulated(1024, mean=0.0) as server, scratch() as folder:
            process = cai_client("cai").start(server, rows, folder)
            _, status, used = os.wait4(process.pid, 0)
            assert status == 0, (folder / "said.txt").read_text()[-2000:]
            stats = server.stats()
        rate = stats["calls"] / (stats["last"] - stats["first"])
        table.row("growth", f"{rows:,} rows", calls=f"{stats['calls']:,}", rate=f"{rate:,.0f}",
                  peak=f"{used.ru_maxrss / 1024:,.0f}")  # fmt: skip


PARTS = {
    "busy": part_busy,
    "labels": part_labels,
    "cpu": part_cpu,
    "kill": part_kill,
    "outage": part_outage,
    "growth": part_growth,
}


def versions(given: argparse.Namespace) -> str:
    """Versions and the machine."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine()
    )  # fmt: skip
    found = [f"{os.cpu_count()} cores ({model})", f"Python {platform.python_version()}"]
    for package, python in (
        ("constitutional-ai", sys.executable),
        ("aiohttp", sys.executable),
        ("datatrove", given.datatrove),
        ("data-designer", given.data_designer),
        ("openai", given.openai),
    ):
        if python:
            code = f"from importlib.metadata import version; print(version({package!r}))"
            said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
            found.append(f"{package} {said.stdout.strip()}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--rows", type=int, nargs="*", default=[400, 4000])
    parser.add_argument("--labels-rows", type=int, default=4000)
    parser.add_argument("--kill-rows", type=int, default=400)
    parser.add_argument("--growth", type=int, nargs="*", default=[1_000, 10_000, 200_000])
    parser.add_argument("--draws", type=int, default=6, help="of latencies, for small runs")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--datatrove", metavar="PYTHON")
    parser.add_argument("--data-designer", metavar="PYTHON")
    parser.add_argument("--openai", metavar="PYTHON")
    parser.add_argument("--json", type=Path, help="keep the figures in a file")
    given = parser.parse_args()
    print(versions(given))
    table = Table()
    for name in given.parts or PARTS:
        PARTS[name](given, table)
    if given.json:
        given.json.write_text(json.dumps(table.results, indent=2) + "\n")


if __name__ == "__main__":
    main()
