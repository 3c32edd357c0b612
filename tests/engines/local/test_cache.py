"""The cache in place against one that is put together anew for each row."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicCache

from cai.engines.local.cache import RowCache

HEADS, SIZE = 2, 4


def config(window: int | None) -> Any:
    shape = {
        "vocab_size": 32,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    if window is None:
        return LlamaConfig(**shape)
    return MistralConfig(**shape, sliding_window=window)


class Reference:
    """The states of each row, as a list; and those that the cache in place shows."""

    def __init__(self, window: int | None, draw: random.Random) -> None:
        self.window, self.draw = window, draw
        self.settings = config(window)
        self.cache = RowCache(self.settings)
        self.rows: list[torch.Tensor] = []

    def states(self, rows: int, columns: int) -> torch.Tensor:
        return torch.rand(rows, HEADS, columns, SIZE) + 1

    def join(self, lengths: list[int], total: int) -> None:
        width = max(lengths)
        states = self.states(len(lengths), width)
        other = DynamicCache(config=self.settings)
        for layer in range(2):
            other.update(states + layer, -states - layer, layer)
        self.rows += [row[:, width - n :] for row, n in zip(states, lengths, strict=True)]
        self.cache.join(other, total, self.width)

    def step(self) -> None:
        states = self.states(len(self.rows), 1)
        before = self.cache.cache.get_mask_sizes(1, 0)
        for layer in range(2):
            seen = self.cache.cache.update(states + layer, -states - layer, layer)
            assert seen[0].shape[2] == before[0]
        self.rows = [torch.cat([row, s], 1) for row, s in zip(self.rows, states, strict=True)]

    def keep(self, staying: list[int]) -> None:
        free = sorted({*range(len(staying))} - {*staying})
        moves = list(zip(free, [n for n in staying if n >= len(staying)], strict=True))
        for to, origin in moves:
            self.rows[to] = self.rows[origin]
        del self.rows[len(staying) :]
        self.cache.keep(moves, len(staying), self.width)

    @property
    def width(self) -> int:
        return max(row.shape[1] for row in self.rows)

    def check(self) -> None:
        most = self.width if self.window is None else min(self.width, self.window - 1)
        assert self.cache.cache.get_seq_length() == self.width
        for n, layer in enumerate(self.cache.cache.layers):
            assert layer.keys.shape == (len(self.rows), HEADS, most, SIZE)
            for row, keys, values in zip(self.rows, layer.keys, layer.values, strict=True):
                own = row[:, -most:]
                assert torch.equal(keys[:, most - own.shape[1] :], own + n)
                assert torch.equal(values[:, most - own.shape[1] :], -own - n)
            assert layer.keys.isfinite().all()
            assert layer.values.isfinite().all()


@pytest.mark.parametrize("window", [None, 7, 40])
@pytest.mark.parametrize("seed", range(4))
def test_rows_come_go_and_grow(window: int | None, seed: int) -> None:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    batch = Reference(window, draw)
    for _ in range(60):
        if not batch.rows or draw.random() < 0.4:
            lengths = [draw.randint(1, 60) for _ in range(draw.randint(1, 5))]
            batch.join(lengths, len(batch.rows) + len(lengths) + draw.randint(0, 3))
            batch.check()
        for _ in range(draw.randint(0, 30)):
            batch.step()
        batch.check()
        staying = [n for n in range(len(batch.rows)) if draw.random() < 0.7] or [0]
        if len(staying) < len(batch.rows):
            batch.keep(staying)
            batch.check()


@pytest.mark.parametrize("window", [None, 40])
def test_a_row_that_was_nan_leaves_nothing_behind(window: int | None) -> None:
    """A weight of 0 on what is NaN is NaN: who comes next in its place must not see it."""
    batch = Reference(window, random.Random(0))
    batch.join([30, 30, 30], 3)
    for layer in batch.cache.cache.layers:
        layer.keys[2], layer.values[2] = torch.nan, torch.nan
    batch.keep([0, 1])
    batch.join([4], 3)
    batch.check()
    batch.keep([2])
    batch.step()
    batch.join([9, 9], 3)
    batch.check()


def test_room_is_made_once_for_all_that_come(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Reference(None, random.Random(0))
    batch.join([9, 9], 6)
    stores = [layer._stores[0].data_ptr() for layer in batch.cache.cache.layers]
    batch.join([8], 6)
    batch.join([7, 6, 5], 6)
    for _ in range(50):
        batch.step()
    batch.keep([1, 5])
    batch.join([20], 3)
    batch.check()
    assert stores == [layer._stores[0].data_ptr() for layer in batch.cache.cache.layers]
