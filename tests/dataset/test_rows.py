from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cai.dataset.rows import edit_distance, sft_rows, target_of, trace_row
from cai.dataset.schema import split_of
from cai.records import Message, RevisionChain, RevisionStep, Row, Verdict
from tests.helpers import method, prompt


def step(revision: str | None, p_change: float = 0.9) -> RevisionStep:
    verdict = Verdict(p_change=p_change, order_gap=0.1, label_mass=0.9)
    return RevisionStep(principle_id="p", critique="c", verdict=verdict, revision=revision)


def chain(*revisions: str | None) -> RevisionChain:
    asked = prompt(kind="borderline")  # what is unchanged is learnt too
    return RevisionChain(prompt=asked, response="one two", steps=tuple(map(step, revisions)))


def rows_of(made: RevisionChain, steps: str) -> list[dict[str, Any]]:
    return list(sft_rows(Row(prompt=made.prompt, chain=made), method(sft_steps=steps)))


def test_targets() -> None:
    assert target_of(chain()) == "response"
    assert target_of(chain(None)) == "unchanged"
    assert target_of(chain("one two")) == "unchanged"
    assert target_of(chain("one three")) == "revision"
    assert target_of(chain("one three", None)) == "revision"


def test_final_step_is_one_row() -> None:
    (row,) = rows_of(chain("a", "b", None), "final")
    assert row["completion"] == [{"role": "assistant", "content": "b"}]
    assert (row["step"], row["principle_ids"], row["target"]) == (2, ["p", "p"], "revision")
    (row,) = rows_of(chain(None), "final")
    assert (row["step"], row["principle_ids"], row["target"]) == (0, ["p"], "unchanged")
    (row,) = rows_of(chain(), "all")
    assert (row["step"], row["principle_ids"], row["target"]) == (0, [], "response")


def test_all_steps_are_rows_without_repetition() -> None:
    rows = rows_of(chain("a", "a", "b"), "all")
    assert [(r["completion"][0]["content"], r["step"]) for r in rows] == [("a", 1), ("b", 3)]
    assert [r["id"] for r in rows] == [f"{prompt().id}#1", prompt().id]
    (row,) = rows_of(chain("a", "a"), "all")
    assert (row["step"], row["id"]) == (1, prompt().id)


def test_edit_distance_is_in_words() -> None:
    assert edit_distance("a b c d", "a x c d") == 0.25
    assert edit_distance("", "") == 0
    assert edit_distance("a", "") == 1


def test_traces_keep_every_step() -> None:
    made = chain("one three", None)
    row = trace_row(Row(prompt=made.prompt, chain=made), method())
    assert row is not None
    assert [s["edit_distance"] for s in row["steps"]] == [0.5, 0.0]
    assert [s["revision"] for s in row["steps"]] == ["one three", None]
    assert row["edit_distance"] == 0.5


def test_the_group_or_the_first_human_turn_decides_the_split() -> None:
    for n in range(200):
        same = [
            prompt(f"Question  {n}?", id="a"),
            prompt(f"question {n}?\n", id="b", kind="helpful"),
            prompt(
                messages=(
                    Message(role="system", content="s"),
                    Message(role="user", content=f"QUESTION {n}?"),
                    Message(role="assistant", content="x"),
                    Message(role="user", content="y"),
                )
            ),
        ]
        assert len({split_of(p, 0.5) for p in same}) == 1
        twins = [prompt(f"{word} {n}", group=f"twin {n}") for word in ("one", "other")]
        assert len({split_of(p, 0.5) for p in twins}) == 1


def test_the_share_is_about_the_share() -> None:
    drawn = [split_of(prompt(f"Question {n}?"), 0.2) for n in range(4000)]
    assert abs(drawn.count("test") - 800) < 4 * (4000 * 0.2 * 0.8) ** 0.5


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_moves_to_test(text: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if split_of(prompt(text), small) == "test":
        assert split_of(prompt(text), large) == "test"
