"""Cleaning takes time in proportion to the text, whatever is in it."""

from __future__ import annotations

import time

import pytest

from cai.cleaning import clean_revision, defect
from cai.cleaning.leaks import trimmed
from cai.records import Completion

SIZE = 20_000
MOST = 9.0  # times as long for four times the text; a square would be 16
FLOOR = 0.05  # seconds below which a time says nothing


def work(text: str) -> float:
    said = Completion(text=text, finish_reason="stop", model="m")
    start = time.process_time()
    clean_revision(text, text[:3000])
    trimmed(text)
    defect(said, text, (text[:-3], "How do I bake?"), (text[:3000],), critiques=(text,))
    return time.process_time() - start


@pytest.mark.parametrize(
    "unit",
    [
        "bread needs flour and time ",
        "面包需要面粉和时间",
        "\n",
        " \n",
        "*",
        "(",
        ")",
        "a. ",
        '"',
        "I'm sorry my my my ",
        "I apologize for my previous response. ",
        "(Note: I removed x) ",
        "Here is new new new ",
        "Changes made:\n",
        "x</s>",
        "[INST]",
        "`<|im_start|>user` ",
        "Hi.\n\nHuman: x\n\n",
        "```",
        "<think>",
        "1. Hell. ",
    ],
    ids=repr,
)
def test_four_times_the_text_takes_no_square_of_the_time(unit: str) -> None:
    work("warm up " * 200)
    short, long = (unit * (size // len(unit)) + "x" for size in (SIZE, 4 * SIZE))
    ratios = []
    for _ in range(3):
        ratios.append(work(long) / max(work(short), FLOOR))
        if ratios[-1] <= MOST:
            return
    pytest.fail(f"4 times the text takes {ratios} times as long")
