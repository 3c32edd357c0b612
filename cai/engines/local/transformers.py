"""The embedded engine: a model in this process, on the CPU or a GPU, through transformers.

This file imports neither torch nor transformers: a model's identity is known without them, so a
finished run can be read again in a moment. `start` loads the model and the thread that runs it.
"""

from __future__ import annotations

import asyncio
import functools
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cai.engines.base import NOBODY, Caller, Capacity, joined
from cai.engines.local.chat_template import TemplateFacts, today
from cai.engines.local.fed import fed_identity, feeding, template_facts
from cai.engines.local.weights import default_model, resolve, weights_identity
from cai.errors import CaiError, CallError
from cai.extras import require
from cai.records import ChoiceScores, Completion, Likelihood, Message, Sampling, Usage

if TYPE_CHECKING:
    from cai.engines.local.chat import Chat
    from cai.engines.local.model import LocalModel
    from cai.engines.local.worker import Worker

__all__ = ["TransformersEngine", "default_model", "resolve"]

Dtype = Literal["auto", "bfloat16", "float32"]

_ROWS = 256  # most: 128 rows decode 474 tokens/s of the small model on two cores, 256 rows 576
_ROW_TOKENS = 2048  # a row's length when the batch is sized by memory


class TransformersEngine:
    """A causal language model from a folder or the Hub, run by this process.

    Calls that wait together are decoded together, and each row draws from its own seed: what a
    row gets does not depend on its batch-mates but for floating point.

    Args:
        name: A folder, a name on the Hub (`org/model`, `org/model@revision`) or the small default.
        dtype: Of weights and arithmetic; `auto` is bfloat16, and float32 on Apple GPUs.
        device: As torch names it; `auto` takes CUDA, then Apple's GPU, then the CPU.
        batch_size: Rows decoded together; by default as many as memory allows.
        trust_remote_code: Run Python code that comes with the model.
        day: The date for a chat template that writes one; today by default.

    Raises:
        CaiError: torch or transformers is not installed.
    """

    one_suffix_a_call = reads_control_tokens = False

    def __init__(
        self,
        name: str,
        *,
        dtype: Dtype = "auto",
        device: str = "auto",
        batch_size: int | None = None,
        trust_remote_code: bool = False,
        day: date | None = None,
    ) -> None:
        require("local", f"{name}: a model in this process")
        if batch_size is not None and batch_size < 1:
            raise CaiError(f"batch_size is {batch_size}; it must be at least 1")
        self.name = name
        self.dtype: str = _dtype(device) if dtype == "auto" else dtype
        self._device = device
        self._batch_size = batch_size
        self._trust = trust_remote_code
        self._day = day or today()
        self._labels: dict[tuple[tuple[str, ...], str], list[int]] = {}
        self._chat: Chat | None = None
        self._worker: Worker | None = None
        self._context: int | None = None
        self._ends: frozenset[int] = frozenset()

    @functools.cached_property
    def folder(self) -> Path:
        """The model's files, downloaded or converted if need be."""
        path = resolve(self.name, trust_remote_code=self._trust)
        assert path is not None  # only with local_files_only
        return path

    @functools.cached_property
    def identity(self) -> str:
        """Digest of weights, config, tokenizer, chat template and dtype; what is fed besides."""
        weights = weights_identity(self.folder, self.dtype)
        return fed_identity(weights, self.facts, self._day)

    @functools.cached_property
    def facts(self) -> TemplateFacts | None:
        """What the model's chat template writes besides the texts."""
        return template_facts(self.folder, self.name)

    def known_identity(self) -> str | None:
        """The identity if the files are on this machine in the form that is loaded, else None."""
        here = resolve(self.name, local_files_only=True, trust_remote_code=self._trust)
        return self.identity if here is not None else None

    def feeding(self) -> dict[str, str]:
        return feeding(self.facts, self._day)

    async def start(self) -> None:
        """Load the model; a second call does nothing."""
        if self._worker is None:
            await asyncio.to_thread(self._load)

    def _load(self) -> None:
        from cai.engines.local.chat import Chat
        from cai.engines.local.model import load, pick_device
        from cai.engines.local.worker import Worker

        model = load(
            self.folder,
            self.name,
            dtype=self.dtype,
            device=pick_device(self._device),
            trust_remote_code=self._trust,
        )
        chat = Chat(model.tokenizer, self.name, self._day)
        rows = self._batch_size or _rows_in_memory(model)
        self._chat, self._context, self._ends = chat, model.context, model.ends
        self._batch_size = rows if model.splittable else 1
        self._worker = Worker(model, chat, self._batch_size)

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        """Answer a conversation.

        Raises:
            CallError: Prompt and `max_tokens` do not fit in the context, or the logits are NaN.
            CaiError: The model stopped, or the engine was closed.
        """
        chat, worker = self._running()
        prompt = chat.encode(messages)
        self._fits(len(prompt.ids), sampling.max_tokens)
        answer = await asyncio.wrap_future(worker.generate(prompt.ids, sampling))
        text, reasoning = chat.read(answer.ids)
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=answer.finish_reason,
            usage=Usage(input_tokens=len(prompt.ids), output_tokens=len(answer.ids)),
            model=self.name,
        )

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        """Score labels after each suffix; what the conversations begin with is computed once.

        Raises:
            CallError: A conversation does not fit in the context, or the logits are NaN.
            CaiError: A label is not one token, the model stopped, or the engine was closed.
        """
        chat, worker = self._running()
        labels = self.check_labels(choices, answer_prefix)
        prompts = [chat.encode(joined(prefix, s), answer_prefix).ids for s in suffixes]
        if not prompts:
            return []
        self._fits(max(map(len, prompts)), 1)
        rows = await asyncio.wrap_future(worker.score(prompts, labels))
        return [
            ChoiceScores(logprobs=row, usage=Usage(input_tokens=len(ids)), model=self.name)
            for ids, row in zip(prompts, rows, strict=True)
        ]

    async def likelihood(
        self, messages: Sequence[Message], answer: str, caller: Caller = NOBODY
    ) -> Likelihood:
        """How likely the model finds an answer and its end, fed as training feeds them.

        Raises:
            CallError: They do not fit in the context, or the logits are NaN.
            CaiError: The model stopped, or the engine was closed.
        """
        chat, worker = self._running()
        end = chat.end_token(self._ends) or ""
        (row,) = chat.learnt(messages, [answer], end)
        self._fits(len(row.ids), 0)
        nats = await asyncio.wrap_future(worker.likelihood(row.ids, row.start))
        return Likelihood(
            nats=nats,
            tokens=len(row.ids) - row.start,
            usage=Usage(input_tokens=len(row.ids)),
            model=self.name,
        )

    def check_labels(self, choices: Sequence[str], answer_prefix: str = "") -> list[int]:
        """The token of each label after `answer_prefix`; needs a started engine.

        Raises:
            CaiError: A label is not one token there, or two labels are the same token.
        """
        key = (tuple(choices), answer_prefix)
        if key not in self._labels:
            self._labels[key] = self._running()[0].label_ids(choices, answer_prefix)
        return self._labels[key]

    async def capacity(self) -> Capacity:
        """Twice the batch, so that a row that leaves is replaced at once."""
        return Capacity(slots=2 * (self._batch_size or _ROWS))

    async def close(self) -> None:
        """Stop the model's thread and free the model; calls under way fail."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await asyncio.to_thread(worker.close)

    def _running(self) -> tuple[Chat, Worker]:
        if self._chat is None or self._worker is None:
            raise CaiError(f"{self.name}: the engine is not running", "Call `start` first.")
        return self._chat, self._worker

    def _fits(self, prompt: int, answer: int) -> None:
        if self._context is not None and prompt + answer > self._context:
            raise CallError(
                f"prompt of {prompt} tokens + {answer} for the answer = {prompt + answer} "
                f"> context of {self._context}"
            )


def _dtype(device: str) -> str:
    """bfloat16 is several times as fast as float32, on CPUs too; Apple's GPUs prefer float32."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return "float32" if device == "mps" or (device == "auto" and apple) else "bfloat16"


def _rows_in_memory(model: LocalModel) -> int:
    """How many rows of 2,048 tokens fit in half of the free memory, within bounds."""
    from cai.engines.local.memory import attempt, free_memory

    if not model.splittable:
        return 1
    cached = attempt(lambda: model.cached_bytes(min(_ROW_TOKENS, model.context or _ROW_TOKENS)))
    if cached is None:
        return 1
    drawing = 12 * model.config.vocab_size  # logits in float32, and copies of them
    rows: int = free_memory(model.device) // 2 // (cached + drawing)
    return max(1, min(_ROWS, rows))
