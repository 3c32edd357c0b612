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
        ("<think>a<think>b</think>c</think>d", "d", "a<think>b</think>c"),
        ("[THINK]a[/THINK]x", "x", "a"),
        ("<seed:think>a</seed:think>x", "x", "a"),
        # An answer may speak of the tags: only a block at the start is reasoning.
        ("one <think>a</think>two", "one <think>a</think>two", None),
        ("Use `<reasoning>x</reasoning>` here.", "Use `<reasoning>x</reasoning>` here.", None),
        ("half <think>b", "half <think>b", None),
        ("The tag `</think>` ends it.", "The tag `</think>` ends it.", None),
        ("</think>", "", None),
        ("I think <b>so</b>.", "I think <b>so</b>.", None),
    ],
)
def test_split_reasoning(output: str, text: str, reasoning: str | None) -> None:
    assert split_reasoning(output) == (text, reasoning)


@pytest.mark.parametrize(
    ("output", "opened", "text", "reasoning"),
    [
        ("hm</think>Hello.", True, "Hello.", "hm"),
        ("never ends", True, "", "never ends"),
        ("a line\n</think>\nHello.", False, "a line\n</think>\nHello.", None),
        ("<think>hm</think>Hello.", False, "Hello.", "hm"),
    ],
)
def test_a_closing_tag_counts_where_the_prompt_opened_a_block(
    output: str, opened: bool, text: str, reasoning: str | None
) -> None:
    assert split_reasoning(output, opened=opened) == (text, reasoning)
