"""The thread that owns the model: it takes calls between decode steps and hands back answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import torch

from cai.engines.local.batching import Batch, BatchRow
from cai.engines.local.chat import Chat
from cai.engines.local.likelihood import negative_log_likelihood
from cai.engines.local.memory import attempt
from cai.engines.local.model import LocalModel
from cai.engines.local.scoring import label_logprobs
from cai.errors import CaiError, CallError
from cai.records import FinishReason, Sampling

# Rows are let in when a quarter of the batch is free (or nothing runs): each time the weights are
# read once more. On two cores 40 mixed prompts took the same time with a tenth and with any.
_REFILL = 4
_CALM = 16  # steps after which a batch that memory made smaller grows by half
_CALMEST = 1024  # the same where growing was too much again and again


class Generated(NamedTuple):
    ids: list[int]
    finish_reason: FinishReason


class Scoring(NamedTuple):
    """A call that decodes nothing and waits for its turn: the model, the most rows, and so long."""

    run: Callable[[LocalModel, int], Any]
    tokens: int
    future: Future[Any]


class Worker:
    """Runs generation and scoring calls on one model, in one thread.

    Args:
        model: The model; only this thread calls it from now on.
        chat: For stop strings.
        batch_size: Most rows decoded together. When memory runs out there are half as many, and
            after some steps more again; a row that does not fit alone fails.
    """

    def __init__(self, model: LocalModel, chat: Chat, batch_size: int) -> None:
        self.batch_size = self.room = batch_size
        self._calm = 0  # steps since memory ran out
        self._patience, self._grew = _CALM, False
        self._model = model
        self._chat = chat
        self._batch = Batch(model)
        self._inbox: deque[BatchRow | Scoring] = deque()
        self._waiting: deque[BatchRow] = deque()
        self._entering: list[BatchRow] = []
        self._scorings: deque[Scoring] = deque()
        self._wake = threading.Condition()
        self._over: CaiError | None = None
        self._thread = threading.Thread(target=self._run, name="cai-model", daemon=True)
        self._thread.start()

    def generate(self, prompt: list[int], sampling: Sampling) -> Future[Generated]:
        future: Future[Generated] = Future()
        self._submit(BatchRow(prompt, sampling, owner=future))
        return future

    def score(self, prompts: list[list[int]], labels: list[int]) -> Future[list[tuple[float, ...]]]:
        """Log-probabilities of the labels after each prompt."""
        future: Future[list[tuple[float, ...]]] = Future()

        def run(model: LocalModel, rows: int) -> list[tuple[float, ...]]:
            return label_logprobs(model, prompts, labels, rows)

        self._submit(Scoring(run, max(map(len, prompts)), future))
        return future

    def likelihood(self, ids: list[int], start: int) -> Future[float]:
        """Negative log-likelihood, in nats, of the tokens from `start` on after those before."""
        future: Future[float] = Future()
        run = partial(_nats, ids=ids, start=start)
        self._submit(Scoring(run, len(ids), future))
        return future

    def close(self) -> None:
        """End the thread after the step it is in; calls that wait fail, a GPU is given back."""
        with self._wake:
            self._over = self._over or CaiError("the engine was closed")
            self._wake.notify()
        self._thread.join()
        self._model.let_go()

    def _submit(self, call: BatchRow | Scoring) -> None:
        with self._wake:
            if self._over:
                raise self._over
            self._inbox.append(call)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while self._take_calls():
                if attempt(self._turn) is None:
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
                (self._waiting if isinstance(call, BatchRow) else self._scorings).append(call)  # type: ignore[arg-type]
            return self._over is None

    def _busy(self) -> bool:
        return bool(self._waiting or self._scorings or self._batch.rows)

    def _turn(self) -> bool:
        """Drop what was cancelled, let rows in, score one `choose` call, decode one step."""
        self._waiting = deque(r for r in self._waiting if not r.owner.cancelled())
        self._release()
        self._admit()
        if self._scorings:
            self._score_one()
        if self._batch.rows:
            self._step()
            self._release()
            self._grow()
        return True

    def _step(self) -> None:
        def step() -> bool:
            self._batch.step()
            return True

        alone = len(self._batch.rows) == 1
        if attempt(step) is None:
            if not alone:
                raise torch.OutOfMemoryError("no room for the next token of every row")
            self._fail_large(*self._batch.clear())

    def _admit(self) -> None:
        free = self.room - len(self._batch.rows)
        if not self._waiting or free < max(1, self.room // _REFILL):
            return
        self._entering = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        for row in self._batch.admit(self._entering):
            self._fail_large(row)
        self._entering = []
        self._release()

    def _score_one(self) -> None:
        call = self._scorings[0]
        if not call.future.cancelled():
            score = partial(call.run, self._model, self.room)
            try:
                scores = attempt(score)
                if scores is None and self._batch.rows:
                    self._waiting.extendleft(reversed(self._batch.clear()))
                    scores = attempt(score)
            except CallError as error:
                _fail(call.future, error)
            else:
                if scores is None:
                    _fail(call.future, _too_large(call.tokens))
                else:
                    _resolve(call.future, scores)
        self._scorings.popleft()

    def _release(self) -> None:
        """Answer the rows that are done and let them go, with the cancelled ones."""
        self._batch.keep([i for i, row in enumerate(self._batch.rows) if not self._done(row)])

    def _done(self, row: BatchRow) -> bool:
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
        """Out of memory: start the rows again, half as many at once; they draw the same tokens.

        The longest come first, so that one which is too long even alone is soon found.
        """
        rows = list(dict.fromkeys([*self._entering, *self._batch.clear()]))
        self._entering = []
        if self._grew:
            self._patience = min(2 * self._patience, _CALMEST)
        self.room, self._calm, self._grew = max(1, len(rows) // 2), 0, False
        rows = [r for r in rows if not r.generated or not self._done(r)]
        self._waiting.extendleft(sorted(rows, key=len))

    def _fail_large(self, row: BatchRow) -> None:
        """A row that does not fit alone fails, and the others have their room again."""
        _fail(row.owner, _too_large(len(row)))
        self.room = self.batch_size

    def _grow(self) -> None:
        """After a step: once memory was enough for a while, more rows may come in."""
        self._calm += 1
        if self.room < self.batch_size and self._calm >= self._patience:
            self.room = min(self.batch_size, self.room + self.room // 2 + 1)
            self._calm, self._grew = 0, True

    def _fail_all(self) -> None:
        over = self._over or CaiError("the engine was closed")
        with self._wake:
            self._over = over
            rows = [*self._entering, *self._batch.clear(), *self._waiting]
            calls = [*self._inbox, *dict.fromkeys(rows), *self._scorings]
        for call in calls:
            _fail(call.owner if isinstance(call, BatchRow) else call.future, over)


def _nats(model: LocalModel, rows: int, *, ids: list[int], start: int) -> float:
    return negative_log_likelihood(model, ids, start)


def _too_large(tokens: int) -> CallError:
    return CallError(f"out of memory at {tokens} tokens, with nothing else in memory")


def _resolve(future: Future[Any], value: object) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(value)


def _fail(future: Future[Any], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
