"""Faults of known size, planted in a clean set: each is found at its size, and nothing else is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cai.quality.measure import measure
from cai.quality.records import Quality
from tests.quality.made import WRITERS, rows, written

LANGUAGES = ["en", "zh"]
LAST_WORDS = {
    "en": "I'm always here to listen if you ever want to talk about it.",
    "zh": "如果你想聊聊这件事，我随时都在这里倾听。",
}
SORRY = {"en": "I'm sorry, but I can't help with that.", "zh": "对不起，我无法帮助您完成这个请求。"}
APOLOGY = {"en": "I apologize for any confusion. ", "zh": "非常抱歉给您带来困扰。"}
ANNOUNCED = {"en": "Here is the revised response:\n\n", "zh": "以下是修改后的回答：\n\n"}
Rows = list[dict[str, Any]]
Plant = Callable[[Rows, str], None]


def quality_of(tmp_path: Path, made: Rows, **given: Any) -> Quality:
    return measure(written(tmp_path / "data.jsonl", made), **given)


def failed(quality: Quality) -> set[str]:
    return {gate.name for gate in quality.failed}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_clean_set_passes_every_gate(tmp_path: Path, language: str) -> None:
    quality = quality_of(tmp_path, rows(language))
    assert failed(quality) == set()
    assert quality.rows == {"sft": 300}
    for name in ("boilerplate", "near_duplicate", "leak", "leftover", "repetition", "refusal"):
        assert quality.figures[f"{name}_share"].value == 0, name


def boilerplate(made: Rows, language: str) -> None:
    for row in made[: 2 * len(made) // 5]:
        row["response"] += f" {LAST_WORDS[language]}"


def near_duplicates(made: Rows, language: str) -> None:
    rng = random.Random(5)
    for n in range(0, len(made), 10):
        row = made[n + 1]
        row["response"] = made[n]["response"] + WRITERS[language](rng, 1)[:12]


def over_refusals(made: Rows, language: str) -> None:
    for n, row in enumerate(made[: len(made) // 5]):
        row["response"] = f"{SORRY[language]} {n}"


def leftovers(made: Rows, language: str) -> None:
    for row in made[: len(made) // 10]:
        row["response"] = ANNOUNCED[language] + row["response"]


def emojis(made: Rows, language: str) -> None:
    for row in made[2 * len(made) // 3 :: 2]:
        row["response"] += " 😀🎉💖"


def loops(made: Rows, language: str) -> None:
    for row in made[: len(made) // 10]:
        row["response"] += row["response"][-30:] * 12


def control_tokens(made: Rows, language: str) -> None:
    for row in made[: len(made) // 20]:
        row["response"] += "<|im_end|>\n<|im_start|>user\n"


def personal(made: Rows, language: str) -> None:
    for row in made[: len(made) // 20]:
        row["response"] += " anna.berg@mail.nettlefield.org"


PLANTS: dict[str, tuple[Plant, str, float, str]] = {
    "boilerplate": (boilerplate, "boilerplate_share", 0.4, "boilerplate"),
    "near-duplicates": (near_duplicates, "near_duplicate_share", 0.1, "near-duplicates"),
    "over-refusals": (over_refusals, "over_refusal_share", 0.2, "over-refusal"),
    "leftovers": (leftovers, "leftover_share", 0.1, "leftovers"),
    "emojis": (emojis, "emoji_drift", 0.5, "emoji drift"),
    "loops": (loops, "repetition_share", 0.1, "repetition"),
    "control tokens": (control_tokens, "control_token_share", 0.05, "control tokens"),
    "personal data": (personal, "personal_data_share", 0.05, "personal data"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_is_found_at_its_size(tmp_path: Path, name: str, language: str) -> None:
    plant, measure_name, size, gate = PLANTS[name]
    made = rows(language)
    plant(made, language)
    quality = quality_of(tmp_path, made)
    figure = quality.figures[measure_name]
    assert figure.value == pytest.approx(size, abs=0.005)
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= size <= figure.high
    assert gate in failed(quality)
    named = next(g for g in quality.gates if g.name == gate)
    assert named.count == len(named.rows) == round(size * (100 if "drift" in gate else 300))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_phrases_behind_boilerplate_are_whole(tmp_path: Path, language: str) -> None:
    made = rows(language)
    boilerplate(made, language)
    phrases = quality_of(tmp_path, made).details["boilerplate_phrases"]
    assert phrases[0]["prompts"] == 120
    longest = max((phrase["phrase"] for phrase in phrases), key=len)
    expected = {"en": "here to listen if you ever want to talk about it", "zh": "想聊聊这件事"}
    assert expected[language] in longest


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("what", ["row", "prompt"])
def test_a_leak_into_the_test_split(tmp_path: Path, language: str, what: str) -> None:
    made = rows(language)
    test = [row for row in made if row["split"] == "test"]
    train = [row for row in made if row["split"] == "train"]
    for row, source in zip(test[:6], train, strict=False):
        row["prompt"] = f"{source['prompt']} !"
        if what == "row":
            row["response"] = source["response"]
    quality = quality_of(tmp_path, made)
    assert quality.figures["leak_share"].value == pytest.approx(6 / 30)
    assert "leak" in failed(quality)
    [gate] = [gate for gate in quality.gates if gate.name == "leak"]
    assert {row.id for row in gate.rows} == {row["id"] for row in test[:6]}


def pairs(language: str, count: int = 300) -> Rows:
    rng = random.Random(3)
    write = WRITERS[language]
    made: Rows = []
    for n in range(count):
        made.append(
            {
                "id": f"p{n}",
                "prompt": f"{write(rng, 1)} {n}",
                "chosen": write(rng, rng.choice((4, 5, 6))),
                "rejected": write(rng, rng.choice((4, 5, 6))),
                "prompt_kind": "helpful",
            }
        )
    return made


@pytest.mark.parametrize("language", LANGUAGES)
def test_pairs_without_a_bias_say_nothing(tmp_path: Path, language: str) -> None:
    quality = quality_of(tmp_path, pairs(language))
    assert failed(quality) == set()
    figure = quality.figures["length_auc"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= 0.5 <= figure.high
    assert quality.details["chosen_texts"] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_judge_that_goes_by_length(tmp_path: Path, language: str) -> None:
    made = pairs(language)
    for n, row in enumerate(made):
        both = sorted((row["chosen"], row["rejected"]), key=len)
        if n % 10:  # nine of ten by length
            row["rejected"], row["chosen"] = both
        else:
            row["chosen"], row["rejected"] = both
    quality = quality_of(tmp_path, made)
    figure = quality.figures["longer_wins_share"]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= 0.9 <= figure.high
    assert "length" in failed(quality)
    assert "is the longer one" in quality.details["chosen_texts"][0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_judge_that_likes_apologies(tmp_path: Path, language: str) -> None:
    made = pairs(language)
    for n, row in enumerate(made[:100]):
        side = "rejected" if n % 10 == 0 else "chosen"
        row[side] = APOLOGY[language] + row[side]
    quality = quality_of(tmp_path, made)
    figure = quality.figures["apology_wins_share"]
    assert (figure.value, figure.n) == (0.9, 100)
    assert "judge likes apology" in failed(quality)
    assert any("opens with an apology" in line for line in quality.details["chosen_texts"])
