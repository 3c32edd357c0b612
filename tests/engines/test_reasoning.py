from __future__ import annotations

import pytest

from cai.engines.reasoning import split_reasoning


@pytest.mark.parametrize(
    ("output", "text", "reasoning"),
    [
        ("Hello.", "Hello.", None),
        (" spaces stay \n", " spaces stay \n", None),
        ("<think>\nhm\n</think>\n\nHello.", "Hello.", "hm"),
        ("<thinking>a</thinking>x", "x", "a"),
        ("<REASONING>a</REASONING>x", "x", "a"),
        ("hm, so\n</think>\nHello.", "Hello.", "hm, so"),
        ("<think>never ends", "", "never ends"),
        ("<think></think>\n\nHello.", "Hello.", None),
        ("<think>a<think>b</think>c</think>d", "d", "abc"),
        ("one <think>a</think>two <think>b</think>three", "one two three", "ab"),
        ("half <think>b", "half", "b"),
        ("</think>", "", None),
        ("I think <b>so</b>.", "I think <b>so</b>.", None),
    ],
)
def test_split_reasoning(output: str, text: str, reasoning: str | None) -> None:
    assert split_reasoning(output) == (text, reasoning)
