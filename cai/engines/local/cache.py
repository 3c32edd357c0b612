"""Keys and values of rows that come and go, written in place.

transformers' own cache makes a new tensor of all keys and values for every token: with 64 rows of
150 tokens that was 28 % of the time. Here a layer has columns to spare, the last row takes the
place of one that leaves, and a row that comes in takes a free place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

_SPARE = 64  # columns: once in so many tokens a layer is copied


class RowCache:
    """The cache of a batch. Rows are padded on the left: all have their newest token in one column.

    Args:
        config: Of the model, whose layers must keep keys and values by position (`splittable`).
    """

    def __init__(self, config: Any) -> None:
        self.cache = DynamicCache(config=config)
        self._layers = [_layer(plain) for plain in self.cache.layers]
        self.cache.layers = self._layers

    def join(self, other: DynamicCache, rows: int, width: int) -> None:
        """Add the rows of another cache below ours.

        Args:
            other: What the model filled; its rows are padded on the left.
            rows: How many rows there will soon be; the room for them is made at once.
            width: Columns of the batch from now on.
        """
        for mine, theirs in zip(self._layers, other.layers, strict=True):
            if theirs.is_initialized:
                mine.join(theirs.keys, theirs.values, rows, width)

    def keep(self, moves: Sequence[tuple[int, int]], rows: int, width: int) -> None:
        """Move rows (to, from), then keep the first `rows` of them and the last `width` columns."""
        for layer in self._layers:
            if layer.is_initialized:
                layer.keep(moves, rows, width)


def _layer(plain: DynamicLayer) -> _Layer:
    if isinstance(plain, DynamicSlidingWindowLayer):
        return _SlidingLayer(plain.sliding_window)
    return _Layer()


class _Layer(DynamicLayer):  # type: ignore[misc]
    """A layer whose keys and values are the columns from `_start` to `_end` of larger tensors."""

    _most: int | None = None  # columns that the layer remembers

    def __init__(self) -> None:
        super().__init__()
        self._rows = self._start = self._end = 0
        self._stores: list[torch.Tensor] = []  # of keys, of values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the columns of new tokens; what the attention sees, these included."""
        new = key_states.shape[-2]
        if self._end + new > self._stores[0].shape[2]:
            self._rebuild(self._rows, self._end - self._start)
        for store, states in zip(self._stores, (key_states, value_states), strict=True):
            store[: self._rows, :, self._end : self._end + new] = states
        self._end += new
        seen = self._view()
        if self._most is not None:
            self._start = max(self._start, self._end - self._most)
        self._show(self._length() + new)
        return seen

    def join(self, keys: torch.Tensor, values: torch.Tensor, rows: int, width: int) -> None:
        """Add rows; their columns end where ours do."""
        count, _, columns, _ = keys.shape
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self._stores = [x.new_empty(0, x.shape[1], 0, x.shape[3]) for x in (keys, values)]
        used = self._end - self._start
        if max(rows, self._rows + count) > self._stores[0].shape[0] or columns > self._end:
            self._rebuild(max(rows, self._rows + count), max(columns, used))
        first = min(self._start, self._end - columns)
        for store, states in zip(self._stores, (keys, values), strict=True):
            # What stood there before may be NaN, and stays so however small its weight.
            store[: self._rows, :, first : self._start] = 0
            store[self._rows : self._rows + count, :, first : self._end - columns] = 0
            store[self._rows : self._rows + count, :, self._end - columns : self._end] = states
        self._start, self._rows = first, self._rows + count
        self._show(width)

    def keep(self, moves: Sequence[tuple[int, int]], rows: int, width: int) -> None:
        """Move rows, then forget all but the first ones and the last columns."""
        self._start = max(self._start, self._end - width)
        if moves:
            to, origin = torch.tensor(moves, device=self.device).T
            for store in self._stores:
                columns = store[:, :, self._start : self._end]
                columns[to] = columns[origin]
        self._rows = rows
        self._show(width)

    def _rebuild(self, rows: int, columns: int) -> None:
        """Larger stores: the columns in use end `columns`, and spare ones follow."""
        used = self._end - self._start
        for n, store in enumerate(self._stores):
            _, heads, _, size = store.shape
            larger = store.new_zeros(rows, heads, columns + _SPARE, size)
            contents = store[: self._rows, :, self._start : self._end]
            larger[: self._rows, :, columns - used : columns] = contents
            self._stores[n] = larger
        self._start, self._end = columns - used, columns

    def _view(self) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (s[: self._rows, :, self._start : self._end] for s in self._stores)
        return keys, values

    def _length(self) -> int:
        return self._end - self._start

    def _show(self, length: int) -> None:
        """Let transformers see what is stored; `length` counts forgotten columns too."""
        del length
        self.keys, self.values = self._view()


class _SlidingLayer(_Layer, DynamicSlidingWindowLayer):  # type: ignore[misc]
    """The same for a layer that remembers the last tokens alone."""

    def __init__(self, window: int) -> None:
        DynamicSlidingWindowLayer.__init__(self, window)
        self._most = window - 1
        self._rows = self._start = self._end = 0
        self._stores = []

    def _length(self) -> int:
        return int(self.cumulative_length)

    def _show(self, length: int) -> None:
        super()._show(length)
        self.cumulative_length = length
