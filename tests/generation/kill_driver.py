"""A run in a process of its own that kills itself (SIGKILL) the n-th time it comes to a point.

python kill_driver.py FOLDER PROMPTS LOG POINT N
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cai
from cai.config import Settings
from cai.dataset import write
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.runtime import journal

SLOTS = 8


def engine(log: str) -> ScriptedEngine:
    return ScriptedEngine(
        ScriptedOptions(slots=SLOTS, latency=0.002, reject=0.15, fail=0.02, log=log)
    )


def settings(prompts: str) -> Settings:
    # An assessment is one call with 16 labels: without it a call in flight is two lines at most.
    return Settings(prompts=prompts, revisions=2, assess=False, test_share=0.3, max_open_rows=20)


class Killer:
    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def before(function: Callable[..., Any], kill: Killer) -> Callable[..., Any]:
    def wrapped(*given: Any, **named: Any) -> Any:
        kill()
        return function(*given, **named)

    return wrapped


def after(function: Callable[..., Any], kill: Killer) -> Callable[..., Any]:
    def wrapped(*given: Any, **named: Any) -> Any:
        result = function(*given, **named)
        kill()
        return result

    return wrapped


def set_trap(point: str, n: int) -> None:
    kill = Killer(n)
    if point == "served":  # the response is there and nothing has been written
        serve = ScriptedEngine._serve

        async def served(self: ScriptedEngine, *given: Any) -> None:
            await serve(self, *given)
            kill()

        ScriptedEngine._serve = served  # type: ignore[method-assign]
    elif point == "mid-commit":  # rows are inserted and the transaction is open
        journal._insert = after(journal._insert, kill)
    elif point == "committed":  # nobody has been told
        journal._resolve = before(journal._resolve, kill)
    elif point == "ingest":
        journal.Journal._stage = after(journal.Journal._stage, kill)  # type: ignore[method-assign]
    elif point == "adopt":  # inside the transaction that makes prompts the run's own
        journal.Journal.set_meta = after(journal.Journal.set_meta, kill)  # type: ignore[method-assign]
    elif point == "mid-parquet":
        write._Table._flush = after(write._Table._flush, kill)  # type: ignore[method-assign]
    elif point == "before-rename":
        write.publish = before(write.publish, kill)
    elif point != "nowhere":
        raise ValueError(point)


def main() -> None:
    folder, prompts, log, point, n = sys.argv[1:]
    write.ROW_GROUP = 10
    set_trap(point, int(n))
    cai.generate(settings(prompts), out=Path(folder), engine=engine(log))


if __name__ == "__main__":
    main()
