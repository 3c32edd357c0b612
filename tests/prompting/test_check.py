"""What a file of prompts covers: counted by hand."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from cai.constitution.load import load
from cai.constitution.records import Constitution
from cai.errors import CaiError
from cai.evaluate.suites.read import read_suites
from cai.files import find_constitution
from cai.prompting.check import advice, check_prompts
from cai.prompting.request import request_of
from cai.prompting.write import write_prompts
from tests.prompting import writers

CONSTITUTION = """
name: shop
version: 1
principles:
  - {id: refunds, critique: "Is it a lie?", revise: "Mend it.", tags: [refunds]}
  - {id: tone, critique: "Is it rude?", revise: "Mend it.", tags: [tone]}
  - {id: short, check: {max_words: 40}, applies_to: [helpful]}
"""
TEXTS = {
    "a": "How do I get money back for a kettle that I broke myself last week?",
    "b": "How do I get money back for a kettle that arrived broken last week?",
    "c": "When does the shop near the station open on a Sunday in winter?",
    "d": "when does the shop near the station open on a sunday in winter",
    "e": "Write to jane.doe@company.org that the blue umbrella is still missing.",
}


@pytest.fixture
def shop() -> Constitution:
    Path("shop.yaml").write_text(CONSTITUTION)
    return load(Path("shop.yaml"))


def write(*more: dict[str, object]) -> None:
    about = {"a": ("red-team", ["refunds"], "g"), "b": ("borderline", ["refunds"], "g")}
    rows: list[dict[str, object]] = []
    for name, text in TEXTS.items():
        kind, tags, group = about.get(name, ("helpful", [], None))
        rows.append({"id": name, "prompt": text, "kind": kind, "tags": tags, "group": group})
    lines = [json.dumps({k: v for k, v in row.items() if v is not None}) for row in [*rows, *more]]
    Path("p.jsonl").write_text("\n".join(lines) + "\n")


def test_what_is_there_and_what_is_missing(shop: Constitution) -> None:
    write({"prompt": ""})
    found = check_prompts("p.jsonl", shop)
    assert (found.prompts, found.unusable) == (5, 1)
    assert found.kinds == {"red-team": 1, "borderline": 1, "helpful": 3}
    by_name = {c.principle: c for c in found.principles}
    assert by_name["refunds"].of_kind == {"red-team": 1, "borderline": 1}
    assert by_name["short"].of_kind == {"helpful": 3}
    assert found.not_met == ["tone"]
    assert found.near_duplicate_ids == ("d",)  # a and b are twins
    assert found.personal_data_ids == ("e",)
    assert found.lengths == (10, 13, 15, 15)
    assert found.topics == {"refunds": 2}


@pytest.mark.parametrize(
    ("group", "source"),
    [
        ("a/tone/1", "written by NAME (0123456789ab)"),  # for another constitution
        ("shop/tone/1", "a book of questions"),
        ("shop/tone/1", None),
        ("shop/tone/x", "written by NAME (0123456789ab)"),
        ("shop/tone/1/2", "written by NAME (0123456789ab)"),
        ("shop/tone/1", "written by NAME"),
    ],
)
def test_a_group_of_other_people_says_no_principle(
    shop: Constitution, group: str, source: str | None
) -> None:
    about = {"prompt": "Where is my kettle?", "kind": "red-team", "tags": ["refunds"]}
    Path("p.jsonl").write_text(json.dumps({**about, "group": group, "source": source}) + "\n")
    met = {c.principle: c.met for c in check_prompts("p.jsonl", shop).principles}
    assert met == {"refunds": 1, "tone": 0, "short": 0}


def test_what_was_written_for_a_principle_meets_it_alone(shop: Constitution) -> None:
    request = request_of({"constitution": "shop.yaml"}, count=40, out="written.jsonl")
    result = write_prompts(request, engines={"writer": writers.writer()})
    found = check_prompts("written.jsonl", shop)
    expected = {name: sum(counts) for name, counts in result.by_principle}
    assert {c.principle: c.met for c in found.principles} == expected
    other = shop.model_copy(update={"name": "another"})
    assert {c.principle: c.met for c in check_prompts("written.jsonl", other).principles} == {
        "refunds": expected["refunds"],  # by their tags
        "tone": expected["tone"],
        "short": found.kinds["helpful"],
    }


def test_twins_are_near_on_purpose(shop: Constitution) -> None:
    write({"id": "f", "prompt": TEXTS["a"] + " Now.", "kind": "red-team", "group": "g"})
    assert check_prompts("p.jsonl", shop).near_duplicate_ids == ("d", "f")


def test_what_is_near_a_twin_and_another_prompt_is_told(shop: Constitution) -> None:
    """A copy of b has the twin a before it; ordinary work is nobody's twin."""
    write(
        {"id": "b2", "prompt": TEXTS["b"], "kind": "borderline", "group": "g"},
        {"id": "h", "prompt": TEXTS["a"], "kind": "helpful", "group": "g"},
    )
    assert check_prompts("p.jsonl", shop).near_duplicate_ids == ("d", "b2", "h")


def test_overlap_with_the_suites_is_told(shop: Constitution) -> None:
    taken = read_suites("benign")[0].items[5].prompt.last_human_turn
    write({"id": "s", "prompt": taken, "kind": "borderline"})
    assert check_prompts("p.jsonl", shop).in_suite_ids == ("s",)


def test_the_command_that_fills_the_gaps(shop: Constitution) -> None:
    write()
    found = check_prompts("p.jsonl", shop)
    gaps = {c.principle: c.lacks for c in found.principles}
    every = ["red-team", "borderline", "helpful"]
    assert gaps == {"refunds": every, "tone": every, "short": ["helpful"]}
    command = shlex.split(advice(found, "p.jsonl", shop, "my shop.yaml") or "")
    # five of each of 3 + 3 + 1 kinds, by equal weights
    assert command[3:] == [
        *("--constitution", "my shop.yaml", "--model", "NAME", "--count", "35"),
        *("--avoid", "p.jsonl", "--seed", "5", "--out", "more.jsonl"),
    ]


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1, 0.5)])
def test_that_command_fills_them(weights: tuple[float, float, float]) -> None:
    """And a file without gaps needs none."""
    text = CONSTITUTION
    for name, weight in zip(("refunds", "tone", "short"), weights, strict=True):
        text = text.replace(f"id: {name}", f"id: {name}, weight: {weight}")
    Path("shop.yaml").write_text(text)
    shop = load(Path("shop.yaml"))
    write(*({"prompt": f"{writers.sentence(str(n))}", "kind": "helpful"} for n in range(5)))
    command = shlex.split(
        advice(check_prompts("p.jsonl", shop), "p.jsonl", shop, "shop.yaml") or ""
    )
    assert [command[n + 1] for n, part in enumerate(command) if part == "--principle"] == [
        "refunds",
        "tone",
    ]
    count = int(command[command.index("--count") + 1])
    request = request_of(
        {"constitution": "shop.yaml"},
        count=count,
        out="more/more.jsonl",
        avoid=("p.jsonl",),
        principles=("refunds", "tone"),
    )
    result = write_prompts(request, engines={"writer": writers.writer()})
    assert {one.slot.principle.id for one in result.written} == {"refunds", "tone"}
    shutil.copy("p.jsonl", "more/p.jsonl")
    assert check_prompts("more", shop).gaps == []
    assert advice(check_prompts("more", shop), "more", shop, "shop.yaml") is None


def test_the_shipped_seeds() -> None:
    found = check_prompts("seeds", load(find_constitution("default.yaml")))
    assert found.kinds == {"red-team": 142, "borderline": 78, "helpful": 152}
    assert found.near_duplicates == found.in_suites == found.personal_data == 0


def test_no_prompt_at_all(shop: Constitution) -> None:
    Path("p.jsonl").write_text('{"prompt": ""}\n')
    with pytest.raises(CaiError, match="no prompt can be used"):
        check_prompts("p.jsonl", shop)
