"""What comes of a template, and what only looks like it."""

from __future__ import annotations

import pytest

from cai.cleaning import defect
from cai.cleaning.leaks import trimmed, without_leak
from cai.records import Completion


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
        ("Good.<|eot_id|><|im_end|>\n<|im_start|>user\nMore?", "Good."),
        ("Hi.\n\nUser: and then?", "Hi."),
        ("Hi.\nUser: and then?", "Hi."),
        ("Hi.\n\n**User:** and then?", "Hi."),
        ("Note: it is hot.\n\nHuman: and then?", "Note: it is hot."),
        ("Hi.\n\nAssistant: Hi again.", "Hi."),
        ("Done.\n\n### Instruction:\nGo on", "Done."),
        ("Yes. [INST] And now? [/INST]", "Yes."),
        ("[/INST] Hello.", "Hello."),
        ("<s>Hello.</s>", "Hello."),
        ("Oui.\n\nUtilisateur : et après ?", "Oui."),
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
        "Here is one:\n\nUser: Hi\n\nBot: Hello.\n\nUser: Bye.",
        "User: Hi\nBot: Hello.\nUser: Bye.",
        "Ann: Good morning.\nHuman: Hello, Ann.",
        "Roles\nUser: a person who logs in",
        "Every human: think first.",
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


def test_a_leak_is_told_once() -> None:
    said = Completion(text="Yes.\n\nUser: and?", finish_reason="length", model="m")
    cut = without_leak(said)
    assert (cut.text, cut.leak) == ("Yes.", "cut")
    assert without_leak(cut) == cut
    assert defect(cut, cut.text) is None
    assert defect(said, said.text) == "truncated"
    clean = Completion(text="Yes.", finish_reason="stop", model="m")
    assert without_leak(clean) == clean
