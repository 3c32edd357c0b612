"""Near-duplicates one at a time: the same as the join finds, in little memory."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc

import pytest

from cai.prompting import nearness
from cai.prompting.nearness import NEAR, Nearness
from cai.quality.duplicates import earlier_duplicates
from cai.quality.shingles import shingles
from tests.prompting import writers

WORDS = ["old", "lamp", "near", "our", "green", "door", "was", "never", "bright", "on", "a", "day"]
SIGNS = list("我想问一下这个红色的包裹什么时候能到家里谢谢你们店")


def texts(units: list[str], space: str, count: int) -> list[str]:
    """Many of them are another one with a few units changed."""
    dice = random.Random(7)
    made: list[list[str]] = []
    for _ in range(count):
        if made and dice.random() < 0.6:
            text = list(dice.choice(made))
            for _ in range(dice.randint(0, 3)):
                text[dice.randrange(len(text))] = dice.choice(units)
        else:
            text = dice.choices(units, k=dice.randint(1, 30))
        made.append(text)
    return [space.join(text) for text in made]


@pytest.mark.parametrize(("units", "space"), [(WORDS, " "), (SIGNS, "")])
def test_it_finds_what_the_exact_join_finds(
    monkeypatch: pytest.MonkeyPatch, units: list[str], space: str
) -> None:
    monkeypatch.setattr(nearness, "_RECENT", 50)  # so that the index is sorted often
    some = texts(units, space, 600)
    near, found = Nearness(), []
    for text in some:
        found.append(near.is_near(text))
        near.add(text)
    expected = earlier_duplicates(shingles(some), NEAR).rows >= 0
    assert found == expected.tolist()
    assert 100 < sum(found) < 500


def test_no_text_is_kept() -> None:
    near = Nearness()
    near.add(writers.sentence("first"))
    tracemalloc.start()
    for n in range(5_000):
        near.add(f"{writers.sentence(str(n))} {'And so on, and on.' * 40}")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 5_000 * 600  # a text alone is 800 bytes


MEASURE = """
import resource
from pathlib import Path
from cai.prompting.request import request_of
from cai.prompting.write import write_prompts
from tests.prompting import writers
from tests.prompting.test_write import CONSTITUTION

Path("shop.yaml").write_text(CONSTITUTION)
for count in (300, 5_000):
    request = request_of({"constitution": "shop.yaml"}, count=count, out=f"{count}.jsonl")
    write_prompts(request, engines={"writer": writers.writer()})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_flat() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True)
    few, many = (int(line) / 1024 for line in done.stdout.split())
    assert many - few < 5  # MB
