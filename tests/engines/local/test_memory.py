"""Memory that runs out: the row that is too large fails alone, the others are as without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cai
from cai.engines.local import memory
from cai.engines.local.batching import Batch, BatchRow, groups
from cai.engines.local.memory import attempt, ran_out
from cai.engines.local.model import LocalModel, load
from cai.engines.local.transformers import TransformersEngine, _rows_in_memory
from cai.errors import CallError
from cai.records import Completion, Sampling
from tests.engines.conftest import TEXTS, drawn, user
from tests.engines.local.test_transformers import (
    CALLS,
    SUFFIXES,
    complete,
    save_mistral,
    with_engine,
)

LONG = "zqxj 0192 " * 20  # 209 tokens; the others have 16 to 63, with their answers at most 91


class Limit:
    """Lets the model run out of memory where a pass is too large; keeps the passes' sizes.

    `rows` and `tokens` are of one pass, `width` of the text so far.
    """

    def __init__(self, **most: int) -> None:
        self.most = most
        self.passes: list[dict[str, int]] = []

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None) -> None:
        width = ids.shape[1] if mask is None else mask.shape[1]
        size = {"rows": ids.shape[0], "tokens": ids.numel(), "width": width}
        self.passes.append(size)
        if any(size[name] > most for name, most in self.most.items()):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    real = LocalModel.forward

    def plant(check: Callable[..., None]) -> None:
        def forward(self: LocalModel, ids: torch.Tensor, **how: Any) -> torch.Tensor:
            check(ids, how.get("mask"))
            return real(self, ids, **how)

        monkeypatch.setattr(LocalModel, "forward", forward)

    return plant


def outcomes(folder: Path, calls: list[tuple[str, Sampling]], **options: Any) -> list[str]:
    """Texts, or the words of the error."""

    async def use(engine: TransformersEngine) -> list[Any]:
        asked = (engine.generate(user(p), s) for p, s in calls)
        return await asyncio.gather(*asked, return_exceptions=True)

    found = with_engine(folder, use, **options)
    return [c.text if isinstance(c, Completion) else f"{type(c).__name__}: {c}" for c in found]


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("most", [{"tokens": 150}, {"width": 150}, {"width": 150, "rows": 3}])
@pytest.mark.parametrize("at", [0, 7])
def test_a_prompt_that_is_too_large_fails_alone(
    tiny_folder: Path, planted: Any, batch_size: int, most: dict[str, int], at: int
) -> None:
    expected = complete(tiny_folder, CALLS, batch_size=8)
    calls = [*CALLS[:at], (LONG, drawn(99)), *CALLS[at:]]
    planted(Limit(**most))
    found = outcomes(tiny_folder, calls, batch_size=batch_size)
    failed = found.pop(at)
    assert failed.startswith("CallError: out of memory at ")
    assert found == expected


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_an_answer_that_grows_too_long_fails_alone(
    tiny_folder: Path, planted: Any, batch_size: int
) -> None:
    calls = [(TEXTS[i % 5], drawn(i, max_tokens=20)) for i in range(12)]
    expected = complete(tiny_folder, calls, batch_size=8)
    limit = Limit(width=110)
    planted(limit)
    long = (TEXTS[0], drawn(16, max_tokens=400))  # it never ends by itself
    found = outcomes(tiny_folder, [*calls[:6], long, *calls[6:]], batch_size=batch_size)
    assert found.pop(6) == "CallError: out of memory at 111 tokens, with nothing else in memory"
    assert found == expected


def test_several_that_are_too_large_each_fail(tiny_folder: Path, planted: Any) -> None:
    expected = complete(tiny_folder, CALLS, batch_size=8)
    planted(Limit(tokens=150, rows=4))
    calls = [x for call in CALLS for x in (call, (LONG, drawn(99)))]
    found = outcomes(tiny_folder, calls, batch_size=16)
    assert found[::2] == expected
    assert {text[:25] for text in found[1::2]} == {"CallError: out of memory "}


def test_the_batch_shrinks_and_grows_back(tiny_folder: Path, planted: Any) -> None:
    """Memory is short for a while: half as many rows, then more again, and the same texts."""
    calls = [(TEXTS[i % 5], drawn(i, max_tokens=30)) for i in range(60)]
    expected = complete(tiny_folder, calls, batch_size=16)
    limit = Limit(rows=5)
    planted(limit)

    def relieved(ids: torch.Tensor, mask: torch.Tensor | None) -> None:
        if len(limit.passes) == 60:
            limit.most = {}
        limit(ids, mask)

    planted(relieved)
    assert complete(tiny_folder, calls, batch_size=16) == expected
    rows = [size["rows"] for size in limit.passes]
    assert max(rows[30:60]) <= 8
    assert max(rows[60:]) == 16


def test_a_batch_that_stays_too_large_is_tried_ever_less_often(
    tiny_folder: Path, planted: Any
) -> None:
    limit = Limit(rows=5)
    planted(limit)
    calls = [(TEXTS[0], drawn(i, max_tokens=40)) for i in range(60)]
    complete(tiny_folder, calls, batch_size=16)
    too_many = [n for n, size in enumerate(limit.passes) if size["rows"] > 5]
    assert len(too_many) < 20 < len(limit.passes) / 10


def test_a_row_that_fails_gives_the_others_their_room_again(
    tiny_folder: Path, planted: Any
) -> None:
    limit = Limit(width=150)
    planted(limit)
    calls = [(LONG, drawn(99)), *((TEXTS[0], drawn(i, max_tokens=12)) for i in range(60))]
    outcomes(tiny_folder, calls, batch_size=16)
    assert max(size["rows"] for size in limit.passes[10:]) == 16
    assert len(limit.passes) < 120


# ---- choose


def scores(folder: Path, suffixes: list[str], **options: Any) -> list[tuple[float, ...]]:
    async def use(engine: TransformersEngine) -> list[tuple[float, ...]]:
        found = await engine.choose(user(TEXTS[0] * 2), suffixes, ["A", "B"], "The answer is (")
        return [f.logprobs for f in found]

    return with_engine(folder, use, **options)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_labels_are_scored_in_fewer_rows_before_it_fails(
    tiny_folder: Path, planted: Any, rows: int
) -> None:
    suffixes = SUFFIXES * 3
    expected = scores(tiny_folder, suffixes)
    limit = Limit(rows=rows)
    planted(limit)
    found = scores(tiny_folder, suffixes)
    assert max(size["rows"] for size in limit.passes) > rows
    for row, other in zip(found, expected, strict=True):
        assert row == pytest.approx(other, abs=1e-4)


def test_a_scoring_that_is_too_large_fails_alone(tiny_folder: Path, planted: Any) -> None:
    calls = [(TEXTS[i % 5], drawn(i)) for i in range(6)]
    expected = complete(tiny_folder, calls)
    planted(Limit(tokens=150))

    async def use(engine: TransformersEngine) -> list[Any]:
        labels = (["A", "B"], "(")
        asked = [
            *(engine.generate(user(p), s) for p, s in calls),
            engine.choose(user(LONG), ["a", "b"], *labels),  # what they share is too large
            engine.choose(user("x"), ["a", LONG], *labels),  # one of them is
            engine.choose(user("x"), SUFFIXES, *labels),
        ]
        return await asyncio.gather(*asked, return_exceptions=True)

    *texts, shared, one, fine = with_engine(tiny_folder, use, batch_size=4)
    assert [c.text for c in texts] == expected
    for error in (shared, one):
        assert isinstance(error, CallError)
        assert "out of memory at " in str(error)
    assert len(fine) == 3


def test_a_scoring_gets_the_memory_of_the_rows_that_run(tiny_folder: Path, planted: Any) -> None:
    """Where it does not fit beside the batch, the rows start again after it."""
    calls = [(TEXTS[i % 5], drawn(i, max_tokens=60)) for i in range(4)]
    expected = complete(tiny_folder, calls)
    batches: list[Batch] = []

    def check(ids: torch.Tensor, mask: torch.Tensor | None) -> None:
        if mask is None and any(batch.rows for batch in batches):
            raise torch.OutOfMemoryError("CUDA out of memory")

    planted(check)

    async def use(engine: TransformersEngine) -> list[Any]:
        batches.append(engine._worker._batch)  # type: ignore[union-attr]
        running = [asyncio.create_task(engine.generate(user(p), s)) for p, s in calls]
        await asyncio.sleep(0.05)
        labels = await engine.choose(user("x"), SUFFIXES, ["A", "B"], "(")
        assert len(labels) == 3
        return await asyncio.gather(*running)

    assert [c.text for c in with_engine(tiny_folder, use, batch_size=4)] == expected


# ---- a run


def test_a_row_too_large_is_a_failure_that_is_not_met_again(
    tiny_folder: Path, tmp_path: Path, planted: Any
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    texts = ["Say yes.", LONG, "Say no."]
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    given = {
        "model": str(tiny_folder),
        "prompts": str(prompts),
        "preset": "direct",
        "stages": ["sft"],
        "policy_max_tokens": 16,
        "device": "cpu",
        "dtype": "float32",
        "test_share": 0,
        "kind": "helpful",
        "out": tmp_path / "run",
    }
    limit = Limit(width=150)
    planted(limit)
    reasons = {f.prompt_id: f.message for f in cai.generate(**given).failures if f.error == "call"}
    assert len(reasons) == 1
    assert "out of memory at " in next(iter(reasons.values()))
    met = len(limit.passes)
    assert max(size["width"] for size in limit.passes) > 150

    again = cai.generate(**given)
    assert {f.prompt_id: f.message for f in again.failures if f.error == "call"} == reasons
    assert len(limit.passes) == met

    limit.most = {}
    rescued = cai.generate(**given, retry_failed=True)
    assert not [f for f in rescued.failures if f.error == "call"]
    assert len(limit.passes) > met


# ---- the parts


def test_what_says_that_memory_ran_out() -> None:
    cpu = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
    for error in (
        torch.OutOfMemoryError("x"),
        MemoryError(),
        RuntimeError(cpu),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ):
        assert ran_out(error)

        def run_out(error: BaseException = error) -> None:
            raise error

        assert attempt(run_out) is None
    with pytest.raises(RuntimeError, match="no kernel"):
        attempt(lambda: (_ for _ in ()).throw(RuntimeError("no kernel")))
    assert attempt(lambda: 3) == 3


def test_a_tensor_that_no_memory_holds_is_noticed_on_a_cpu() -> None:
    assert attempt(lambda: torch.empty(2**60, dtype=torch.uint8)) is None


def test_groups_have_like_lengths_and_the_longest_come_first() -> None:
    rows = [BatchRow([0] * n, drawn(0)) for n in (10, 3000, 12, 100, 15, 2000, 90, 9000)]
    lengths = [[len(row.prompt) for row in group] for group in groups(rows)]
    assert lengths == [[9000], [3000], [2000], [100, 90], [15, 12], [10]]


# ---- how large the batch is


def test_the_batch_is_as_large_as_memory_allows(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model: 2 layers, 2 heads of 16 in float32, a context of 512, some 400 tokens."""
    model = load(tiny_folder, "tiny", dtype="float32", device="cpu", trust_remote_code=False)
    row = 2 * 2 * 2 * 16 * 4 * 512
    assert model.cached_bytes(512) == row
    drawing = 12 * model.config.vocab_size
    for free, rows in ((2 * 10 * (row + drawing), 10), (10**15, 256), (1000, 1)):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        assert _rows_in_memory(model) == rows
    model.splittable = False
    assert _rows_in_memory(model) == 1


def test_a_sliding_window_is_not_counted_whole(tmp_path: Path) -> None:
    folder = save_mistral(tmp_path, 20)
    model = load(folder, "tiny", dtype="float32", device="cpu", trust_remote_code=False)
    assert model.cached_bytes(512) == 2 * 2 * 2 * 16 * 4 * 20


def test_main_memory_is_what_is_free_within_the_limits_of_the_container(tmp_path: Path) -> None:
    proc, groups_ = tmp_path / "proc", tmp_path / "cgroup"
    inner = groups_ / "outer" / "inner"
    inner.mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("0::/outer/inner\n")
    (proc / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:  8000 kB\n")
    assert memory.host_memory(proc, groups_) == 8000 * 1024
    (inner / "memory.max").write_text("max\n")
    assert memory.host_memory(proc, groups_) == 8000 * 1024
    for folder, most in ((groups_ / "outer", 5_000_000), (groups_, 6_000_000)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text("3000000\n")
        (folder / "memory.stat").write_text("anon 1\ninactive_file 1000000\n")
    assert memory.host_memory(proc, groups_) == 3_000_000
    assert 10**6 < memory.host_memory() < 10**14
    assert memory.host_memory(tmp_path, groups_) > 10**6  # no /proc: not Linux
