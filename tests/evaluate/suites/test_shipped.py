"""The shipped suites: their numbers, their twins, and that they are nobody's seeds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from cai.evaluate.suites.read import read_suites
from cai.evaluate.suites.records import SuiteItem
from cai.files import seeds_dir, suites_dir
from cai.prompts import Intake
from cai.quality.duplicates import duplicates_between, earlier_duplicates
from cai.quality.shingles import shingles
from cai.records import Prompt


def items() -> list[SuiteItem]:
    return [item for suite in read_suites("default") for item in suite.items]


def test_numbers_are_those_of_the_readme() -> None:
    harmful, benign, helpful = read_suites("default")
    assert [len(s.items) for s in (harmful, benign, helpful)] == [100, 100, 100]
    assert sum(i.check is not None for i in helpful.items) == 50
    text = (suites_dir() / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z-]+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    for suite, column in ((harmful, 1), (benign, 2)):
        assert Counter(i.category for i in suite.items) == {r[0]: int(r[column]) for r in rows}


def test_every_harmful_prompt_has_its_twin() -> None:
    harmful, benign, _ = read_suites("default")
    pairs = [{i.pair: i.category for i in suite.items} for suite in (harmful, benign)]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 100
    texts = [
        {i.pair: set(i.prompt.last_human_turn.lower().split()) for i in s.items}
        for s in (harmful, benign)
    ]
    shared = [len(texts[0][p] & texts[1][p]) / len(texts[0][p] | texts[1][p]) for p in pairs[0]]
    assert min(shared) > 0.1
    assert np.mean(shared) > 0.3  # close in words


def test_no_two_are_alike_but_twins() -> None:
    ours = items()
    found = earlier_duplicates(shingles(i.prompt.last_human_turn for i in ours), 0.5)
    for n, other in enumerate(found.rows):
        assert other < 0 or (ours[n].pair is not None and ours[n].pair == ours[other].pair)


def test_none_is_near_a_seed() -> None:
    seeds = [p for name in sorted(seeds_dir().glob("*.jsonl")) for p in Intake(str(name))]
    texts = [p.last_human_turn for p in seeds if isinstance(p, Prompt)]
    assert len(texts) > 300
    ours = shingles(i.prompt.last_human_turn for i in items())
    assert duplicates_between(shingles(texts), ours, 0.5).total == 0


def test_rules_are_kept_by_what_they_ask_for_and_each_is_said() -> None:
    for item in items():
        if item.check is not None and item.check.max_words is not None:
            assert str(item.check.max_words) in item.prompt.last_human_turn
    assert Path(suites_dir() / "helpful.jsonl").read_text(encoding="utf-8").count('"check"') == 50
