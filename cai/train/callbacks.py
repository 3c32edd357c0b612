"""What goes on while a trainer runs: the metrics file, the bars, and the guards that stop it."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)
from transformers import TrainerCallback

from cai.errors import CaiError
from cai.files import replacing, whole_lines
from cai.pace import LINE_EVERY, Heartbeat, rate, time_left
from cai.train.losses import loss_at_reference

LN_2_WITHIN = {"float32": 1e-4, "bfloat16": 2e-2}  # by number format
FALLEN = 10.0  # nats by which log π(chosen) may fall below the reference's before it is warned of
RECENT = 4  # lines of metrics whose mean is looked at: one batch is noise


def memory() -> dict[str, float]:
    """Peak memory in MB: of the process, and of the GPU if there is one."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peaks = {"cpu_memory_mb": round(peak / 2**20, 1)}
    if torch.cuda.is_available():
        peaks["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks


class Metrics(TrainerCallback):  # type: ignore[misc]
    """Writes what the trainer logs to `metrics.jsonl`, a line each, with the memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave out what a run that was broken off logged after its last checkpoint."""
        if not state.is_world_process_zero:
            return
        lines = [line for line in read_metrics(self.path) if line["step"] <= state.global_step]
        with replacing(self.path) as file:
            for line in lines if state.global_step else []:
                file.write(json.dumps(line) + "\n")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, **(logs or {}), **memory()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; one that was half written when the process died is left out."""
    return whole_lines(path)


class Guards(TrainerCallback):  # type: ignore[misc]
    """Stops a run whose loss is no number; warns when the chosen answers become unlikely."""

    def __init__(self, console: Console, beta: float) -> None:
        self._console, self._beta = console, beta
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._warned = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for name in ("loss", "grad_norm", "eval_loss"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(float(value)):
                raise CaiError(
                    f"step {state.global_step}: {name} is {value}",
                    "Lower learning_rate, or train in float32 (--set dtype=float32). "
                    "The last checkpoint stands.",
                )
        reward = (logs or {}).get("rewards/chosen")
        if reward is not None and state.is_world_process_zero:
            self._watch_chosen(float(reward) / self._beta, state.global_step)

    def _watch_chosen(self, log_ratio: float, step: int) -> None:
        """TRL's reward of the chosen answers is beta · log(π / reference)."""
        self._recent.append(log_ratio)
        mean = sum(self._recent) / len(self._recent)
        if not self._warned and len(self._recent) == RECENT and mean < -FALLEN:
            self._warned = True
            self._console.print(
                f"WARNING: by step {step} chosen answers have become less likely by {-mean:.0f} "
                "nats each: the model unlearns both sides. Lower learning_rate, raise beta, or "
                "add nll_weight.",
                style="bold yellow",
                soft_wrap=True,
            )


def first_preference(dtype: str) -> Callable[[float], None]:
    """The guard of a fresh run's first step: policy and reference are one, so the loss is ln 2."""

    def check(loss: float) -> None:
        if not abs(loss - loss_at_reference()) <= LN_2_WITHIN[dtype]:
            raise CaiError(
                f"the first step's preference loss is {loss:.4f}, not ln 2 = 0.6931: "
                "the reference is not the model that is trained",
                "Train from the folder of a saved, merged model.",
            )

    return check


def tracked(console: Console, what: str) -> Callable[[Any], Iterable[Any]]:
    """A bar over the batches of a pass, a single line off a terminal."""

    def over(batches: Any) -> Iterable[Any]:
        if console.is_terminal:
            yield from track(batches, what, total=len(batches), console=console)
            return
        console.print(f"{what}: {len(batches):,} batches", soft_wrap=True)
        yield from batches

    return over


class Bars(TrainerCallback):  # type: ignore[misc]
    """Steps done, rate, tokens a second, loss, time left; a line now and then off a terminal."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._bars: Progress | None = None
        self._heart: Heartbeat | None = None
        self._began = time.monotonic()
        self._at_start = 0
        self._text = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        self._began, self._at_start = time.monotonic(), state.global_step
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task(
            self._name, total=state.max_steps, completed=state.global_step, pace=""
        )
        self._bars.start()
        self._line = f"{self._name}: {state.global_step}/{state.max_steps}"
        if not self._console.is_terminal and not self._console.quiet:
            self._heart = Heartbeat(self._say, LINE_EVERY)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        logs, seconds = logs or {}, time.monotonic() - self._began
        parts = [f"loss {float(logs['loss']):.4f}"] if "loss" in logs else []
        if "num_tokens" in logs and seconds:
            parts.append(f"{float(logs['num_tokens']) / seconds:,.0f} tokens/s")
        self._text = "  ".join(parts) or self._text

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bars is None:
            return
        now = time.monotonic()
        done, seconds = state.global_step - self._at_start, now - self._began
        pace = f"{rate(done, seconds, 'steps')}  {self._text}"
        self._bars.update(self._task, completed=state.global_step, pace=pace)
        left = time_left(done, state.max_steps - self._at_start, seconds)
        self._line = f"{self._name}: {state.global_step}/{state.max_steps}  {pace}  {left}".strip()

    def _say(self) -> None:
        self._console.print(self._line, markup=False, soft_wrap=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
