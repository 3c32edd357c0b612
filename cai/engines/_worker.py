"""The thread that owns the model: it takes calls between decode steps and hands back answers."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, NamedTuple

import torch

from cai.engines._batching import Batch, Row
from cai.engines._chat import Chat
from cai.engines._model import LocalModel
from cai.engines._scoring import label_logprobs
from cai.errors import CaiError, CallError
from cai.records import FinishReason, Sampling

# Rows are let in when a quarter of the batch is free (or nothing runs): each time, the whole
# cache is copied and the weights are read once more for a few prompts.
_REFILL = 4


class Generated(NamedTuple):
    ids: list[int]
    finish_reason: FinishReason


class Scoring(NamedTuple):
    """A `choose` call that waits for its turn."""

    prompts: list[list[int]]
    labels: list[int]
    future: Future[list[tuple[float, ...]]]


class Worker:
    """Runs generation and scoring calls on one model, in one thread.

    Args:
        model: The model; only this thread calls it from now on.
        chat: For stop strings.
        batch_size: Rows decoded together; halved when memory runs out on a GPU.
    """

    def __init__(self, model: LocalModel, chat: Chat, batch_size: int) -> None:
        self.batch_size = batch_size
        self._model = model
        self._chat = chat
        self._batch = Batch(model)
        self._inbox: deque[Row | Scoring] = deque()
        self._waiting: deque[Row] = deque()
        self._scorings: deque[Scoring] = deque()
        self._wake = threading.Condition()
        self._over: CaiError | None = None
        self._thread = threading.Thread(target=self._run, name="cai-model", daemon=True)
        self._thread.start()

    def generate(self, prompt: list[int], sampling: Sampling) -> Future[Generated]:
        future: Future[Generated] = Future()
        self._submit(Row(prompt, sampling, owner=future))
        return future

    def score(self, prompts: list[list[int]], labels: list[int]) -> Future[list[tuple[float, ...]]]:
        """Log-probabilities of the labels after each prompt."""
        future: Future[list[tuple[float, ...]]] = Future()
        self._submit(Scoring(prompts, labels, future))
        return future

    def close(self) -> None:
        """End the thread after the step it is in; calls that wait fail."""
        with self._wake:
            self._over = self._over or CaiError("the engine was closed")
            self._wake.notify()
        self._thread.join()

    def _submit(self, call: Row | Scoring) -> None:
        with self._wake:
            if self._over:
                raise self._over
            self._inbox.append(call)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while self._take_calls():
                try:
                    self._turn()
                except torch.OutOfMemoryError:
                    if self.batch_size == 1:
                        raise
                    self._shrink()
        except Exception as error:  # noqa: BLE001 - forwarded to every call that waits
            stopped = CaiError(f"the model stopped: {type(error).__name__}: {error}")
            stopped.__cause__ = error
            with self._wake:
                self._over = stopped
        finally:
            self._fail_all()

    def _take_calls(self) -> bool:
        """Wait until there is work and sort it; false when the engine is over."""
        with self._wake:
            while not (self._over or self._inbox or self._busy()):
                self._wake.wait()
            while self._inbox:
                call = self._inbox.popleft()
                (self._waiting if isinstance(call, Row) else self._scorings).append(call)  # type: ignore[arg-type]
            return self._over is None

    def _busy(self) -> bool:
        return bool(self._waiting or self._scorings or self._batch.rows)

    def _turn(self) -> None:
        """Drop what was cancelled, let rows in, score one `choose` call, decode one step."""
        self._waiting = deque(r for r in self._waiting if not r.owner.cancelled())
        self._release()
        self._admit()
        if self._scorings:
            self._score_one()
        if self._batch.rows:
            self._batch.step()
            self._release()

    def _admit(self) -> None:
        free = self.batch_size - len(self._batch.rows)
        if not self._waiting or free < max(1, self.batch_size // _REFILL):
            return
        entering = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        try:
            self._batch.admit(entering)
        except torch.OutOfMemoryError:
            inside = set(map(id, self._batch.rows))
            self._waiting.extendleft(r for r in reversed(entering) if id(r) not in inside)
            raise
        self._release()

    def _score_one(self) -> None:
        call = self._scorings[0]
        if not call.future.cancelled():
            try:
                found = label_logprobs(self._model, call.prompts, call.labels, self.batch_size)
            except CallError as error:
                _fail(call.future, error)
            else:
                _resolve(call.future, found)
        self._scorings.popleft()

    def _release(self) -> None:
        """Answer the rows that are done and let them go, with the cancelled ones."""
        self._batch.keep([i for i, row in enumerate(self._batch.rows) if not self._done(row)])

    def _done(self, row: Row) -> bool:
        if row.owner.cancelled():
            return True
        if row.broken:
            _fail(row.owner, CallError("the model gave logits that are not numbers (NaN or inf)"))
            return True
        if row.generated[-1] in self._model.ends or self._chat.stopped(row.generated):
            _resolve(row.owner, Generated(row.generated, "stop"))
            return True
        if len(row.generated) >= row.sampling.max_tokens:
            _resolve(row.owner, Generated(row.generated, "length"))
            return True
        return False

    def _shrink(self) -> None:
        """Out of memory: start the rows again, half as many at once; they draw the same tokens."""
        self.batch_size //= 2
        rows = (*self._batch.clear(), *self._waiting)
        self._waiting = deque(r for r in rows if not r.generated or not self._done(r))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _fail_all(self) -> None:
        over = self._over or CaiError("the engine was closed")
        with self._wake:
            self._over = over
            calls = [*self._inbox, *self._waiting, *self._batch.clear(), *self._scorings]
        for call in calls:
            _fail(call.owner if isinstance(call, Row) else call.future, over)


def _resolve(future: Future[Any], value: object) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(value)


def _fail(future: Future[Any], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
