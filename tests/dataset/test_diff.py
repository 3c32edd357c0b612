"""What changed between two runs: by hand on written rows, and on runs of the scripted engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import cai
from cai.constitution.change import ConstitutionChange
from cai.dataset.diff import diff_runs
from cai.dataset.rows import edit_distance
from cai.dataset.run_change import JudgementCounts, LabelCounts, Presence, RevisionCounts
from cai.dataset.schema import TRACES, Manifest
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.errors import CaiError

RULES: dict[str, Any] = {
    "name": "rules",
    "version": 1,
    "principles": [
        {
            "id": f"p{n}",
            "critique": f"Criticise by {n}.",
            "revise": f"Revise by {n}.",
            "compare": f"Which answer is longer, says rule {n}?",
        }
        for n in range(5)
    ],
}
LONGER, SHORTER = 0.8, 0.2


def edited(number: int, **fields: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(RULES))
    copy["principles"][number] |= fields
    return copy


def scored(said: str, options: list[str]) -> Sequence[float]:
    """A judge that goes by length, the way round the principle asks; a verdict is always yes."""
    if "Which answer is" not in said:
        return [0.8 if option == max(options) else 0.1 for option in options]
    wanted = (min if "shorter" in said else max)(map(len, options))
    return [0.8 if len(option) == wanted else 0.2 for option in options]


@pytest.fixture
def go(tmp_path: Path, prompts_file: Callable[..., str]) -> Callable[..., Path]:
    """Makes a run by a constitution and gives its folder."""
    prompts = prompts_file(40)

    def make(name: str, rules: dict[str, Any] = RULES, **given: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(rules))
        engine = ScriptedEngine(ScriptedOptions(), score=scored)
        settings = {"constitution": str(path), "prompts": prompts, "engine": engine}
        settings |= {"revisions": 1, **given}
        return cai.generate(**{"out": tmp_path / name, "test_share": 0.2, **settings}).folder

    return make


def by_id(folder: Path) -> dict[str, dict[str, Any]]:
    rows = [r for path in (folder / "traces").iterdir() for r in pq.read_table(path).to_pylist()]
    return {row["id"]: row for row in rows}


def pair_of(row: dict[str, Any], source: str) -> dict[str, Any]:
    return next(pair for pair in row["pairs"] if pair["source"] == source)


# Rows written by hand.


def write_run(
    folder: Path, rows: Sequence[dict[str, Any]], rules: dict[str, Any] = RULES, **facts: Any
) -> Path:
    """A run folder; rows name their split, and lack `pairs` where none of them has any."""
    (folder / "traces").mkdir(parents=True)
    manifest = Manifest(
        **{
            "constitution": {},
            "templates": {},
            "models": {"policy": "m"},
            "seed": 0,
            "packages": {},
            "prompts": {},
            "counts": {},
            "calls": {},
            "tokens": {},
            "timings": {},
            **facts,
        }
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    (folder / "constitution.yaml").write_text(yaml.safe_dump(rules))
    names = [name for name in TRACES.names if name != "pairs" or any("pairs" in r for r in rows)]
    for split in ("train", "test"):
        found = [row for row in rows if row.get("split", "train") == split]
        if found:
            table = pa.Table.from_pylist(found, schema=pa.schema([TRACES.field(n) for n in names]))
            pq.write_table(table, folder / "traces" / f"{split}.parquet", row_group_size=2)
    return folder


def row(name: str, final: str = "first", by: str = "p0", **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "prompt": [{"role": "user", "content": f"Ask {name}?"}],
        "response": "first",
        "steps": [{"step": 1, "principle_id": by}],
        "final": final,
        "target": "unchanged" if final == "first" else "revision",
        **fields,
    }


def pair(
    texts: str, p_a: float | None, dropped: str | None = None, **q: tuple[float, float]
) -> dict[str, Any]:
    return {
        "source": "sampled",
        "response_a": f"{texts} one",
        "response_b": f"{texts} two",
        "p_a": p_a,
        "judgements": [{"principle_id": p, "q_ab": a, "q_ba": b} for p, (a, b) in q.items()],
        "dropped": dropped,
    }


HIGH, LOW, EVEN = (0.9, 0.3), (0.2, 0.6), (0.7, 0.7)  # p = 0.8, 0.3, 0.5

BEFORE = [
    row("flips", "one two three four", pairs=[pair("f", 0.8, p0=HIGH)], split="test"),
    row("grows", pairs=[pair("g", 0.65, p0=HIGH, p1=EVEN)]),
    row("stays", "same text", pairs=[pair("s", 0.8, p0=HIGH)]),
    row("swapped", "one two", by="p0", pairs=[pair("old", 0.8, p0=HIGH)]),
    row("loses", pairs=[pair("l", 0.8, p0=HIGH)]),
    row("joins", pairs=[]),
    row("even", pairs=[pair("e", 0.5, "inconsistent", p1=EVEN)]),
    row("never", pairs=[pair("n", None, "equal")]),
    row("gone", pairs=[pair("n", 0.8, p0=HIGH)]),
]
AFTER = [
    row("new"),
    row("never", pairs=[pair("n", None, "equal")]),
    row("even", pairs=[pair("e", 0.8, p1=HIGH)]),
    row("joins", response=None, steps=None, final=None, target=None, pairs=[pair("j", 0.8)]),
    row("loses", "a new text", pairs=[pair("l", None, "no principle")]),
    row("swapped", "one three", by="p1", response="other", pairs=[pair("new", 0.3, p0=LOW)]),
    row("stays", "same text", pairs=[pair("s", 0.8, p0=HIGH)]),
    row("grows", pairs=[pair("g", 0.8, "margin", p0=HIGH, p2=HIGH)]),
    row("flips", pairs=[pair("f", 0.3, "inconsistent", p0=LOW)]),
]


def test_every_count_by_hand(tmp_path: Path) -> None:
    found = diff_runs(write_run(tmp_path / "a", BEFORE), write_run(tmp_path / "b", AFTER))
    assert found.constitution == ConstitutionChange()
    assert found.also_changed == ()
    assert found.prompts == Presence(both=8, only_before=1, only_after=1)
    assert found.different == 6  # all but `never` and `stays`
    assert found.chains == Presence(both=7, only_before=1)
    assert found.revisions == RevisionCounts(
        rows=7,
        other_principles=1,
        other_response=1,
        other_final=3,
        revision_to_unchanged=1,
        unchanged_to_revision=1,
    )
    assert list(found.revisions_by_principle) == ["p0", "p1"]
    assert found.revisions_by_principle["p0"] == found.revisions  # each row once
    assert found.revisions_by_principle["p1"] == RevisionCounts(
        rows=1, other_principles=1, other_response=1, other_final=1
    )
    counts = found.labels["sampled"]
    assert counts == LabelCounts(
        same_pair=4,  # flips, grows, stays, even
        changed=3,
        flips=1,
        mean_change=counts.mean_change,
        rows_lost=2,
        rows_gained=1,
        another_pair=1,
        unlabelled=1,
        only_before={"no principle": 1},
        only_after={"no pair": 1},
    )
    assert counts.mean_change == pytest.approx((0.5 + 0.15 + 0 + 0.3) / 4)
    p0, p1, p2 = found.judgements.values()
    assert p0 == JudgementCounts(asked_in_both=3, flips=1, mean_change=p0.mean_change)
    assert p0.mean_change == pytest.approx(0.5 / 3)
    assert p1 == JudgementCounts(asked_in_both=1, only_before=1, mean_change=p1.mean_change)
    assert p1.mean_change == pytest.approx(0.3)
    assert p2 == JudgementCounts(only_after=1)


def test_the_largest_changes_by_hand(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", BEFORE), write_run(tmp_path / "b", AFTER)
    found = diff_runs(a, b)
    labels = [(c.prompt_id, c.flipped) for c in found.largest_label_changes]
    assert labels == [("flips", True), ("even", False), ("grows", False)]
    flip, _, grown = found.largest_label_changes
    assert (flip.p_a_before, flip.p_a_after) == (0.8, 0.3)
    assert (flip.prompt, flip.response_a, flip.response_b) == ("Ask flips?", "f one", "f two")
    assert (grown.principles_before, grown.principles_after) == (("p0", "p1"), ("p0", "p2"))
    revised = [
        (c.prompt_id, c.final_before, c.final_after, c.edit_distance)
        for c in found.largest_revision_changes
    ]
    assert revised == [
        ("flips", "one two three four", "first", 1),
        ("loses", "first", "a new text", 1),
        ("swapped", "one two", "one three", 0.5),
    ]
    assert [c.same_response for c in found.largest_revision_changes] == [True, True, False]
    assert found.largest_revision_changes[2].principles_before == ("p0",)
    assert found.largest_revision_changes[2].principles_after == ("p1",)
    one = diff_runs(a, b, show=1)
    assert one.largest_label_changes == found.largest_label_changes[:1]
    assert one.largest_revision_changes == found.largest_revision_changes[:1]
    none = diff_runs(a, b, show=0)
    assert none.largest_label_changes == none.largest_revision_changes == ()
    assert none.labels == found.labels


def test_a_flip_stands_before_a_larger_change_and_ties_go_by_id(tmp_path: Path) -> None:
    values = {"d": (0.51, 1.0), "c": (0.6, 0.4), "b": (0.4, 0.6), "a": (0.5, 0.9)}
    before = [row(name, "old", pairs=[pair(name, p)]) for name, (p, _) in values.items()]
    after = [row(name, "new", pairs=[pair(name, p)]) for name, (_, p) in values.items()]
    found = diff_runs(write_run(tmp_path / "a", before), write_run(tmp_path / "b", after))
    labels = [(c.prompt_id, c.flipped) for c in found.largest_label_changes]
    assert labels == [("b", True), ("c", True), ("d", False), ("a", False)]
    assert [c.prompt_id for c in found.largest_revision_changes] == ["a", "b", "c", "d"]


def test_the_order_and_the_split_of_rows_play_no_part(tmp_path: Path) -> None:
    rows = [row(f"q{n}", f"text {n}", pairs=[pair(str(n), 0.6)]) for n in range(9)]
    moved = [{**r, "split": "test" if n % 2 else "train"} for n, r in enumerate(reversed(rows))]
    a, b = write_run(tmp_path / "a", rows), write_run(tmp_path / "b", moved)
    assert diff_runs(a, b).same_data
    others = [{**r, "final": f"{r['final']} more"} for r in moved]
    found = diff_runs(a, write_run(tmp_path / "c", others), show=9).largest_revision_changes
    assert [c.final_before for c in found] == [f"text {n}" for n in range(9)]
    assert [c.final_after for c in found] == [f"text {n} more" for n in range(9)]


def test_other_messages_under_one_id_are_counted(tmp_path: Path) -> None:
    system = [{"role": "system", "content": "Be kind."}, *row("x")["prompt"]]
    a = write_run(tmp_path / "a", [row("x"), row("y")])
    found = diff_runs(a, write_run(tmp_path / "b", [row("x", prompt=system), row("y")]))
    assert (found.reworded, found.different) == (1, 1)


def test_a_run_from_before_there_were_pairs(tmp_path: Path) -> None:
    plain = [{k: v for k, v in r.items() if k != "pairs"} for r in BEFORE]
    a, b = write_run(tmp_path / "a", plain), write_run(tmp_path / "b", BEFORE)
    assert "pairs" not in pq.read_schema(a / "traces" / "train.parquet").names
    found = diff_runs(a, b)
    assert found.labels["sampled"].only_after == {"no pair": 7}
    assert found.labels["sampled"].unlabelled == 1
    assert diff_runs(b, a).labels["sampled"].only_before == {"no pair": 7}
    assert diff_runs(a, a).labels == {}
    assert diff_runs(a, a).same_data


def test_empty_runs(tmp_path: Path) -> None:
    empty = write_run(tmp_path / "empty", [])
    assert diff_runs(empty, empty).prompts == Presence()
    full = write_run(tmp_path / "full", BEFORE)
    assert diff_runs(empty, full).prompts == Presence(only_after=9)
    assert diff_runs(full, empty).prompts == Presence(only_before=9)
    assert not diff_runs(full, empty).same_data


def test_a_folder_that_is_no_run_and_a_damaged_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", BEFORE)
    for a, b in ((tmp_path, run), (run, tmp_path)):
        with pytest.raises(CaiError, match="not a run folder"):
            diff_runs(a, b)
    (run / "traces" / "train.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(CaiError, match=r"train\.parquet: damaged"):
        diff_runs(run, run)


def test_what_differs_besides_the_constitution_is_named(tmp_path: Path) -> None:
    one = {"models": {"policy": "m", "judge": "j"}, "templates": {"judge": "x", "revise": "y"}}
    two = {"models": {"policy": "m", "judge": "k"}, "templates": {"judge": "z"}}
    a = write_run(tmp_path / "a", BEFORE, **one, judge={"usable": True})
    b = write_run(tmp_path / "b", BEFORE, **two, judge={"usable": False})
    (a / "config.yaml").write_text("seed: 0\nconstitution: a.yaml\nlimit: 3\nbatch_size: 1\n")
    (b / "config.yaml").write_text("seed: 1\nconstitution: b.yaml\nlimit: 4\nbatch_size: 2\n")
    found = diff_runs(a, b)
    assert found.also_changed == ("model of the judge", "template judge", "judge check", "seed")
    assert diff_runs(a, a).also_changed == ()


def test_changes_of_the_constitution(tmp_path: Path) -> None:
    rules = edited(1, compare="Other words?", weight=2.0, applies_to=["red-team"])
    rules["principles"][0] = {"id": "z", "compare": "Which?"}
    rules["principles"].reverse()
    rules |= {"name": "other", "description": "New."}
    a, b = write_run(tmp_path / "a", BEFORE), write_run(tmp_path / "b", BEFORE, rules)
    found = diff_runs(a, b)
    change = found.constitution
    assert (change.added, change.removed) == (("z",), ("p0",))
    assert [(p.id, p.fields) for p in change.edited] == [
        ("p1", ("compare", "weight", "applies_to"))
    ]
    assert change.other == ("name", "description")
    assert found.same_data
    assert not found.same_constitution
    # In the order of the later constitution; what was removed from it stands last.
    assert list(found.judgements) == ["p1", "p0"]


# Runs of the scripted engine.


@pytest.mark.parametrize("engine", [{}, {"engine": None, "model": "scripted:"}])
def test_two_runs_by_one_constitution(go: Callable[..., Path], engine: dict[str, Any]) -> None:
    a, b = go("a", **engine), go("b", test_share=0.5, **engine)
    found = diff_runs(a, b)
    assert found.same_constitution
    assert found.same_data
    assert found.prompts == found.chains == Presence(both=40)
    assert found.also_changed == ("test_share",)
    assert found.labels["sampled"].same_pair == 40
    assert found.labels["sampled"].mean_change == 0
    assert found.largest_label_changes == found.largest_revision_changes == ()


def test_an_edited_comparison_flips_the_labels_that_asked_it(go: Callable[..., Path]) -> None:
    rules = edited(2, compare="Which answer is shorter?")
    a, b = go("a", judge_principles=1), go("b", rules, judge_principles=1)
    found = diff_runs(a, b)
    assert [(p.id, p.fields) for p in found.constitution.edited] == [("p2", ("compare",))]
    assert found.revisions == RevisionCounts(rows=40)
    asked = sum(
        p["judgements"][0]["principle_id"] == "p2" for r in by_id(a).values() for p in r["pairs"]
    )
    assert 5 < asked < 40
    assert sum(counts.same_pair for counts in found.labels.values()) == 80
    assert sum(counts.flips for counts in found.labels.values()) == asked
    for name, counts in found.judgements.items():
        if name == "p2":
            assert counts.asked_in_both == counts.flips == asked
            assert counts.mean_change == pytest.approx(LONGER - SHORTER)
        else:
            assert (counts.flips, counts.mean_change) == (0, 0)
        assert counts.only_before == counts.only_after == 0
    assert len(found.largest_label_changes) == 5
    for change in found.largest_label_changes:
        longer = len(change.response_a) > len(change.response_b)
        before, after = (LONGER, SHORTER) if longer else (SHORTER, LONGER)
        assert change.p_a_before == pytest.approx(before)
        assert change.p_a_after == pytest.approx(after)
        assert change.principles_before == change.principles_after == ("p2",)


def test_an_edited_revision_changes_its_rows_only(go: Callable[..., Path]) -> None:
    a, b = go("a"), go("b", edited(1, revise="Say it quite another way."))
    found = diff_runs(a, b, show=40)
    old, new = by_id(a), by_id(b)
    rows = {i for i, r in old.items() if r["steps"][0]["principle_id"] == "p1"}
    assert 3 < len(rows) < 20
    for name, counts in found.revisions_by_principle.items():
        assert counts.other_final == (len(rows) if name == "p1" else 0)
        assert counts.other_response == counts.other_principles == 0
    assert found.revisions.other_final == found.different == len(rows)
    assert found.labels["revision"].another_pair == len(rows)
    assert found.labels["revision"].same_pair == 40 - len(rows)
    assert found.labels["sampled"].changed == 0
    changes = found.largest_revision_changes
    assert {c.prompt_id for c in changes} == rows
    for change in changes:
        assert change.final_before == old[change.prompt_id]["final"]
        assert change.final_after == new[change.prompt_id]["final"]
        assert change.edit_distance == edit_distance(change.final_before, change.final_after)
        assert change.same_response
    assert list(changes) == sorted(changes, key=lambda c: (-c.edit_distance, c.prompt_id))


def test_an_added_principle_takes_over_some_draws(go: Callable[..., Path]) -> None:
    extra = {"id": "extra", "critique": "c?", "revise": "r.", "compare": "Which answer is shorter?"}
    rules = {**RULES, "principles": [*RULES["principles"], extra]}
    a, b = go("a"), go("b", rules)
    found = diff_runs(a, b)
    assert found.constitution.added == ("extra",)
    moved = found.revisions_by_principle["extra"]
    assert moved.rows == moved.other_principles == found.revisions.other_principles > 0
    asked = found.judgements["extra"]
    assert asked.asked_in_both == asked.only_before == 0
    # For each pair that asks the new one another is asked no more: four are drawn.
    assert asked.only_after == sum(c.only_before for c in found.judgements.values()) > 0
    back = diff_runs(b, a)
    assert back.constitution.removed == ("extra",)
    assert back.judgements["extra"].only_before == asked.only_after
    assert list(back.judgements)[-1] == "extra"


def test_a_run_without_preferences_and_one_without_chains(go: Callable[..., Path]) -> None:
    sft = go("sft", stages=("sft",))
    pairs = go("pairs", stages=("preferences",), pairs=("sampled",))
    found = diff_runs(sft, pairs)
    assert found.prompts == Presence(both=40)
    assert found.chains == Presence(only_before=40)
    assert found.revisions == RevisionCounts()
    assert found.labels["sampled"].only_after == {"no pair": 40}
    assert set(found.also_changed) == {"stages", "pairs"}
    assert diff_runs(sft, sft).labels == {}
    assert diff_runs(pairs, pairs).same_data


def test_failed_rows_are_in_one_run_only(go: Callable[..., Path]) -> None:
    failing = ScriptedEngine(ScriptedOptions(fail=0.1))
    a, b = go("a"), go("b", engine=failing)
    lost = set(by_id(a)) - set(by_id(b))
    found = diff_runs(a, b)
    assert found.prompts == Presence(both=40 - len(lost), only_before=len(lost))
    assert found.chains.only_before > 0
    assert found.labels["sampled"].only_before["no pair"] > 0
    assert "model of the policy" in found.also_changed
