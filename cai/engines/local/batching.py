"""Rows of different lengths decoded together; they come and go between steps.

The batch is padded on the left, so that all rows write their next token into one column. A row
that is finished leaves at once, and columns that nobody uses any more leave with it. Rows that
come in are prefilled together with others of like length and then joined to the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from cai.engines.local.cache import RowCache
from cai.engines.local.memory import attempt
from cai.engines.local.model import LocalModel
from cai.engines.local.sampling import BROKEN, next_tokens
from cai.records import Sampling

_PREFILL = 4096  # most padded tokens in one prefill: bounds memory and the wait of other rows
# Longest over shortest prompt in one prefill: 64 prompts of 48 to 75 tokens took a tenth less than
# with 1.5 (2 cores), four of them a tenth more.
_PADDING = 1.25


@dataclass(eq=False)
class BatchRow:
    """One answer on its way; `broken` if the model gave numbers that are none."""

    prompt: list[int]
    sampling: Sampling
    owner: Any = None
    generated: list[int] = field(default_factory=list)
    broken: bool = False

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.generated

    def __len__(self) -> int:
        return len(self.prompt) + len(self.generated)


class Batch:
    """The rows being decoded, with their cache of keys and values.

    Args:
        model: The model; with a cache that cannot be cut (`splittable`) it takes one row.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.rows: list[BatchRow] = []
        self._cache: Any = None

    @torch.inference_mode()
    def admit(self, rows: Sequence[BatchRow]) -> list[BatchRow]:
        """Compute the prompts of new rows, draw their first tokens and join them to the batch.

        Where memory is too small for a group of rows, they go in halves.

        Returns:
            The rows that do not fit though nothing else is in memory; all others are in.

        Raises:
            torch.OutOfMemoryError: There is no room beside the rows that are in; the batch must be
                cleared.
        """
        total = len(self.rows) + len(rows)
        waiting, too_large = groups(rows), []
        while waiting:
            group = waiting.pop(0)
            cache = attempt(partial(self._prefill, group))
            if cache is not None:
                self._enter(group, cache, total)
            elif len(group) > 1:
                half = len(group) // 2
                waiting[:0] = [group[:half], group[half:]]
            elif self.rows:
                raise torch.OutOfMemoryError("no room for the prompt of one more row")
            else:
                too_large += group
        return too_large

    def _enter(self, rows: Sequence[BatchRow], cache: Any, total: int) -> None:
        self.rows.extend(rows)
        if not self.model.splittable:
            self._cache = cache
            return
        self._cache = self._cache or RowCache(self.model.config)
        self._cache.join(cache, total, _stored(self.rows))

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row."""
        cache = self._cache.cache if self.model.splittable else self._cache
        last, lengths = self.model.tensor(
            [[row.generated[-1] for row in self.rows], [len(row) for row in self.rows]]
        ).unsqueeze(2)
        logits = self.model.forward(
            last,
            positions=lengths - 1,
            mask=_mask(lengths, max(map(len, self.rows))),
            cache=cache,
        )
        draw(self.rows, logits[:, -1])

    @torch.inference_mode()
    def keep(self, staying: Sequence[int]) -> None:
        """Let all rows go but these (by index); the last rows take the places of those that go."""
        if len(staying) == len(self.rows):
            return
        free = sorted({*range(len(staying))} - {*staying})
        moves = list(zip(free, [n for n in staying if n >= len(staying)], strict=True))
        for to, origin in moves:
            self.rows[to] = self.rows[origin]
        del self.rows[len(staying) :]
        if not self.rows:
            self._cache = None
        else:
            self._cache.keep(moves, len(self.rows), _stored(self.rows))

    def clear(self) -> list[BatchRow]:
        """Empty the batch; the rows can be admitted again and go on where they were."""
        rows, self.rows, self._cache = self.rows, [], None
        return rows

    def _prefill(self, rows: Sequence[BatchRow]) -> Any:
        width = max(map(len, rows))
        ids = self.model.tensor([[0] * (width - len(r)) + r.ids for r in rows])
        mask = _mask(self.model.tensor([[len(r)] for r in rows]), width)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = self.model.new_cache()
        logits = self.model.forward(ids, positions=positions, mask=mask, cache=cache)
        draw(rows, logits[:, -1])
        return cache


def _mask(lengths: torch.Tensor, width: int) -> torch.Tensor:
    """1 where a row has a token, 0 where it is padded on its left; shape (rows, width)."""
    return (torch.arange(width, device=lengths.device) >= width - lengths).long()


def _stored(rows: Sequence[BatchRow]) -> int:
    """Columns of the cache: all tokens of the longest row but its newest."""
    return max(map(len, rows)) - 1


def draw(rows: Sequence[BatchRow], logits: torch.Tensor) -> None:
    """Append each row's next token; a row whose logits are NaN or infinite is marked broken."""
    tokens = next_tokens(logits, [r.sampling for r in rows], [len(r.generated) for r in rows])
    for row, token in zip(rows, tokens.tolist(), strict=True):
        row.generated.append(token)
        row.broken = token == BROKEN


def groups(rows: Sequence[BatchRow]) -> list[list[BatchRow]]:
    """Rows to prefill together: of like length, and not too many tokens at once.

    The longest come first, so that one which does not fit in memory is met while that is empty.
    """
    batches: list[list[BatchRow]] = []
    for row in sorted(rows, key=len, reverse=True):
        group = batches[-1] if batches else []
        fits = group and len(group[0]) * (len(group) + 1) <= _PREFILL
        if fits and len(group[0]) <= _PADDING * len(row):
            group.append(row)
        else:
            batches.append([row])
    return batches
