"""What to do when memory runs out: try, and learn that it was not enough."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

# On CPUs, on Apple's GPUs and in cuBLAS torch raises a plain RuntimeError, known by its words.
_WORDS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def attempt(work: Callable[[], T]) -> T | None:
    """What `work` gives, or None if memory ran out; then all that it held has been let go."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    if torch.cuda.is_available():
        gc.collect()  # a failed pass may hang in reference cycles with its tensors
        torch.cuda.empty_cache()
    return None


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory was not enough."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in _WORDS
    )
