"""What a server lets through of a template, and what only looks like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cai.cleaning import defect
from cai.cleaning.leaks import trimmed
from cai.records import Completion
from tests.engines.server.simulated import FakeServer, go

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hello there.<|im_end|>", "Hello there."),
        ("Hello there<|im_end|>\n<|im_start|>user\nMore?", "Hello there"),
        ("Good.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nMore", "Good."),
        ("Fine.<end_of_turn>\n<start_of_turn>user\nok", "Fine."),
        ("Ok.<turn|>\n<|turn>user\nHm", "Ok."),
        ("Yes.</s>", "Yes."),
        ("Hallo<｜end▁of▁sentence｜>", "Hallo"),
        ("Bye.<|END_OF_TURN_TOKEN|>", "Bye."),
        ("Hi.<|im_start|>user\nx", "Hi."),
        ("Hi.\n\nHuman: and then?\n\nAssistant: Then.", "Hi."),
        ("Done.\n\n### Human: more", "Done."),
        ("assistant\n\nHello.", "Hello."),
        ("model\nYes.", "Yes."),
        ("<|im_start|>assistant\nHello.<|im_end|>", "Hello."),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nHello.", "Hello."),
        ("```python\nx = 1\n```<|im_end|>", "```python\nx = 1\n```"),
    ],
)
def test_what_is_cut_off_a_whole_answer(text: str, left: str) -> None:
    assert trimmed(text) == (left, "cut")


@pytest.mark.parametrize(
    "text",
    [
        "First, you should\n\nHuman: and then?",
        "<|eot_id|>",
        "<|im_start|>user\nWhat is it?<|im_end|>",
        "user\nWhat is it?",
        "Hello [/INST]",
        "To begin with<|im_start|>user\nmore",
        "analysisThe user asks for help.assistantfinalHello.",
        "analysisWe need to answer",
        "<|channel|>analysis<|message|>The user",
    ],
)
def test_what_tears_an_answer(text: str) -> None:
    assert trimmed(text) == (text, "torn")
    said = Completion(text=text, leak="torn", finish_reason="stop", model="m")
    assert defect(said, said.text) == "leak"


@pytest.mark.parametrize(
    "text",
    [
        "The token `<|im_end|>` ends a turn.",
        "In ChatML:\n\n```\n<|im_start|>user\nHi<|im_end|>\n```\n\nThat is all.",
        "Use <|im_end|> to end a turn, and go on.",
        "x < y and y > z",
        "A dialogue:\n\nHuman: Hi\n\nRobot: Hello.",
        "assistant: that is what they call me",
        "Analysis of the data shows a trend.",
        "analysis\n\nThe data shows a trend.",
        "Models are useful.",
        " \n" * 5000 + "x",
    ],
)
def test_what_is_text(text: str) -> None:
    assert trimmed(text) == (text, None)


def test_what_was_cut_off_is_no_cut_answer() -> None:
    """The server went on to the token limit, after the answer had come to its end."""
    said = Completion(text="Yes, it is.", leak="cut", finish_reason="length", model="m")
    assert defect(said, said.text) is None
    assert defect(said.model_copy(update={"leak": None}), said.text) == "truncated"


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
