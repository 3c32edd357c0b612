"""Rows of a server that lets its template through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engines.server.simulated import FakeServer, go

pytestmark = pytest.mark.usefixtures("short_pauses")


class Leaking(FakeServer):
    """Adds something to each text, or for a share of the seeds alone."""

    def __init__(self, after: str, every: int = 1) -> None:
        super().__init__()
        self.after, self.often = after, every

    async def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await super()._completion(body)
        message = answer["choices"][0]["message"]
        if not body.get("logprobs") and body.get("seed", 0) % self.often == 0:
            message["content"] += self.after
        return answer


def test_no_row_holds_what_leaked(tmp_path: Path) -> None:
    with Leaking(".<|im_end|>\n<|im_start|>user\nAnd now?") as server:
        run = go(tmp_path, server.url, 6)
    assert not run.failures
    texts = [row["completion"][0]["content"] for row in run.sft["train"]]
    assert texts
    assert not [text for text in texts if "im_start" in text or "And now" in text]
    steps = [step for row in run.traces["train"] for step in row["steps"]]
    assert any("leak" in step["removed"] for step in steps if step["revision"])


def test_a_torn_answer_is_drawn_again(tmp_path: Path) -> None:
    with Leaking(" and<|im_start|>user\nAnd now?", every=2) as server:
        run = go(tmp_path, server.url, 12, stages=["sft"])
    assert {failure.error for failure in run.failures} <= {"leak"}
    assert len(run.failures) < 12
    texts = [row["completion"][0]["content"] for row in run.sft["train"]]
    assert not [text for text in texts if "im_start" in text]
