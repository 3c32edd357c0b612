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
from torch.nn.functional import pad

from cai.engines._memory import attempt
from cai.engines._model import LocalModel
from cai.engines._sampling import BROKEN, next_tokens
from cai.records import Sampling

_PREFILL = 4096  # most padded tokens in one prefill: bounds memory and the wait of other rows
_PADDING = 1.5  # longest over shortest prompt in one prefill


@dataclass(eq=False)
class Row:
    """One answer on its way; `broken` if the model gave numbers that are none."""

    prompt: list[int]
    sampling: Sampling
    owner: Any = None
    generated: list[int] = field(default_factory=list)
    broken: bool = False

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.generated


class Batch:
    """The rows being decoded, with their cache of keys and values.

    Args:
        model: The model; with a cache that cannot be cut (`splittable`) it takes one row.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.rows: list[Row] = []
        self._cache: Any = None
        self._mask = torch.zeros(0, 0, dtype=torch.bool, device=model.device)

    @torch.inference_mode()
    def admit(self, rows: Sequence[Row]) -> list[Row]:
        """Compute the prompts of new rows, draw their first tokens and join them to the batch.

        Where memory is too small for a group of rows, they go in halves.

        Returns:
            The rows that do not fit though nothing else is in memory; all others are in.

        Raises:
            torch.OutOfMemoryError: There is no room beside the rows that are in; the batch must be
                cleared.
        """
        waiting, too_large = groups(rows), []
        while waiting:
            group = waiting.pop(0)
            prefilled = attempt(partial(self._prefill, group))
            if prefilled is not None:
                self._enter(group, *prefilled)
            elif len(group) > 1:
                half = len(group) // 2
                waiting[:0] = [group[:half], group[half:]]
            elif self.rows:
                raise torch.OutOfMemoryError("no room for the prompt of one more row")
            else:
                too_large += group
        return too_large

    def _enter(self, rows: Sequence[Row], cache: Any, mask: torch.Tensor) -> None:
        if self.rows:
            _join(self._cache, cache, max(self._mask.shape[1], mask.shape[1]))
            self._mask = torch.cat(_aligned(self._mask, mask))
        else:
            self._cache, self._mask = cache, mask
        self.rows.extend(rows)

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row."""
        last = self.model.tensor([[row.generated[-1]] for row in self.rows])
        positions = self.model.tensor([[len(row.ids) - 1] for row in self.rows])
        self._mask = pad(self._mask, (0, 1), value=True)
        logits = self.model.forward(
            last, positions=positions, mask=self._mask.long(), cache=self._cache
        )
        draw(self.rows, logits[:, -1])

    @torch.inference_mode()
    def keep(self, staying: Sequence[int]) -> None:
        """Let all rows go but these (by index)."""
        if len(staying) == len(self.rows):
            return
        self.rows = [self.rows[i] for i in staying]
        if not self.rows:
            self._cache = None
            return
        chosen = torch.tensor(staying, device=self._mask.device)
        mask = self._mask[chosen]
        width = mask.shape[1] - int(mask.int().argmax(dim=1).min())
        self._mask = mask[:, -width:]
        _select(self._cache, chosen, width)

    def clear(self) -> list[Row]:
        """Empty the batch; the rows can be admitted again and go on where they were."""
        rows, self.rows, self._cache = self.rows, [], None
        return rows

    def _prefill(self, rows: Sequence[Row]) -> tuple[Any, torch.Tensor]:
        width = max(len(row.ids) for row in rows)
        ids = self.model.tensor([[0] * (width - len(r.ids)) + r.ids for r in rows])
        mask = torch.tensor(
            [[False] * (width - len(r.ids)) + [True] * len(r.ids) for r in rows],
            device=self.model.device,
        )
        positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        cache = self.model.new_cache()
        logits = self.model.forward(ids, positions=positions, mask=mask.long(), cache=cache)
        draw(rows, logits[:, -1])
        return cache, mask


def draw(rows: Sequence[Row], logits: torch.Tensor) -> None:
    """Append each row's next token; a row whose logits are NaN or infinite is marked broken."""
    tokens = next_tokens(logits, [r.sampling for r in rows], [len(r.generated) for r in rows])
    for row, token in zip(rows, tokens.tolist(), strict=True):
        row.generated.append(token)
        row.broken = token == BROKEN


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows to prefill together: of like length, and not too many tokens at once.

    The longest come first, so that one which does not fit in memory is met while that is empty.
    """
    found: list[list[Row]] = []
    for row in sorted(rows, key=lambda r: -len(r.ids)):
        group = found[-1] if found else []
        fits = group and len(group[0].ids) * (len(group) + 1) <= _PREFILL
        if fits and len(group[0].ids) <= _PADDING * len(row.ids):
            group.append(row)
        else:
            found.append([row])
    return found


def _aligned(*masks: torch.Tensor) -> list[torch.Tensor]:
    width = max(mask.shape[1] for mask in masks)
    return [pad(mask, (width - mask.shape[1], 0), value=False) for mask in masks]


def _join(cache: Any, other: Any, width: int) -> None:
    """Add the rows of another cache, padding the shorter of the two on the left."""
    for mine, theirs in zip(cache.layers, other.layers, strict=True):
        if not mine.is_initialized:
            continue
        stored = max(mine.keys.shape[-2], theirs.keys.shape[-2])
        for name in ("keys", "values"):
            parts = (getattr(mine, name), getattr(theirs, name))
            parts_padded = [pad(p, (0, 0, stored - p.shape[-2], 0)) for p in parts]
            setattr(mine, name, torch.cat(parts_padded))
        if mine.is_sliding:
            mine.cumulative_length = width


def _select(cache: Any, rows: torch.Tensor, width: int) -> None:
    """Keep these rows and the last `width` columns."""
    for layer in cache.layers:
        if not layer.is_initialized:
            continue
        stored = layer.keys.shape[-2]
        if layer.is_sliding:
            stored = min(stored, width)
            layer.cumulative_length = width
        else:
            stored = width
        layer.keys = layer.keys[rows][:, :, -stored:]
        layer.values = layer.values[rows][:, :, -stored:]
