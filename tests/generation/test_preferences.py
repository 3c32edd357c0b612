from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset

import cai
from cai.checks.judge import judge_check
from cai.checks.results import store
from cai.engines.base import Engine
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.errors import CaiError
from cai.runtime.progress import Quiet

RULES: dict[str, Any] = {
    "name": "rules",
    "version": 1,
    "principles": [
        {
            "id": f"p{n}",
            "critique": f"Criticise by {n}.",
            "revise": f"Revise by {n}.",
            "compare": f"Which is better by {n}?",
        }
        for n in range(8)
    ],
}
Go = Callable[..., cai.Run]


def write_rules(path: Path, rules: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(rules))
    return str(path)


def named(name: str, tmp_path: Path, **given: Any) -> ScriptedEngine:
    return ScriptedEngine(ScriptedOptions(name=name, log=str(tmp_path / f"{name}.log")), **given)


def asked(tmp_path: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in tmp_path.glob("*.log")}


@pytest.fixture
def go(tmp_path: Path, prompts_file: Callable[..., str]) -> Go:
    """Runs into one folder, each role with a logged engine of its own."""
    rules = write_rules(tmp_path / "rules.yaml", RULES)
    prompts = prompts_file(30)

    def generate(**given: Any) -> cai.Run:
        engines: Mapping[str, Engine] = {
            role: named(role, tmp_path)
            for role in ("policy", "critic", "reviser", "judge", "sampler")
        }
        engines = {**engines, **given.pop("engines", {})}
        settings = {"constitution": rules, "prompts": prompts, "out": "run", "test_share": 0.3}
        return cai.generate(**{**settings, "engine": engines, **given})

    return generate


def rows_of(run: cai.Run, name: str) -> list[dict[str, Any]]:
    return [dict(row) for split in getattr(run, name).values() for row in split]


def test_labels_of_both_kinds_of_pair(go: Go) -> None:
    run = go()
    rows = rows_of(run, "preferences")
    kinds = Counter(row["pair_source"] for row in rows)
    assert kinds["sampled"] == 30
    assert kinds["revision"] == run.manifest.counts["target.revision"]
    for row in rows:
        assert row["chosen_probability"] == pytest.approx(0.8)
        assert row["order_gap"] == pytest.approx(0)
        assert row["label_mass"] == pytest.approx(0.9)
        assert len(set(row["principle_ids"])) == 4
        assert row["chosen"] != row["rejected"]
        assert row["judge"] == run.manifest.models["judge"]
        assert row["id"] == f"{row['id'].partition('#')[0]}#{row['pair_source']}"
    traces = {row["id"]: row for row in rows_of(run, "traces")}
    for row in rows:
        pairs = traces[row["id"].partition("#")[0]]["pairs"]
        (pair,) = [p for p in pairs if p["source"] == row["pair_source"]]
        texts = {pair["response_a"], pair["response_b"]}
        assert texts == {row["chosen"][0]["content"], row["rejected"][0]["content"]}
        assert max(pair["p_a"], 1 - pair["p_a"]) == row["chosen_probability"]
    load_dataset("run", "preferences")


def test_each_role_asks_its_own_model(go: Go, tmp_path: Path) -> None:
    run = go(revisions=1, assess=False)
    counts, revised = asked(tmp_path), run.manifest.counts["target.revision"]
    assert counts["policy"] == 30
    assert counts["critic"] == 30 * 3
    assert counts["reviser"] == revised
    assert counts["sampler"] == 60
    assert counts["judge"] == (30 + revised) * 8
    assert len(set(run.manifest.models.values())) == 5
    assert set(run.manifest.tokens) == {"policy", "critic", "reviser", "judge", "sampler"}


def test_an_edited_comparison_question_makes_judge_calls_alone(go: Go, tmp_path: Path) -> None:
    run = go()
    before, traces = asked(tmp_path), rows_of(run, "traces")
    touched = sum(
        any(j["principle_id"] == "p3" for j in pair["judgements"] or [])
        for row in traces
        for pair in row["pairs"]
    )
    sft = (tmp_path / "run/sft/train.parquet").read_bytes()
    edited = json.loads(json.dumps(RULES))
    edited["principles"][3]["compare"] = "Which is better, all in all?"
    write_rules(tmp_path / "rules.yaml", edited)
    go()
    after = asked(tmp_path)
    assert {role: after[role] - before[role] for role in before if role != "judge"} == {
        "policy": 0, "critic": 0, "reviser": 0, "sampler": 0,
    }  # fmt: skip
    assert after["judge"] - before["judge"] == 2 * touched > 0
    assert (tmp_path / "run/sft/train.parquet").read_bytes() == sft


def test_running_again_makes_no_call_and_the_same_bytes(go: Go, tmp_path: Path) -> None:
    def promised(run: cai.Run) -> dict[str, bytes]:
        files = [*run.folder.rglob("*.parquet"), run.folder / "failures.jsonl"]
        return {str(f): f.read_bytes() for f in files}

    first, calls = promised(go()), asked(tmp_path)
    assert promised(go(max_open_rows=3)) == first
    assert asked(tmp_path) == calls


@pytest.mark.parametrize("q", [(1.0, 1.0), (0.97, 0.95), (0.0, 0.0), (0.02, 0.3)])
def test_a_judge_of_positions_yields_no_row(go: Go, tmp_path: Path, q: tuple[float, float]) -> None:
    def position(said: str, options: list[str]) -> Sequence[float]:
        p = q[options[0] > options[1]]
        return (p, 1 - p)

    run = go(engines={"judge": named("judge", tmp_path, score=position)})
    counts = run.manifest.counts
    assert counts["pairs.sampled.inconsistent"] == 30
    assert "pairs.sampled.labelled" not in counts
    assert not list((run.folder / "preferences").glob("*.parquet"))
    with pytest.raises(CaiError, match="the preferences dataset is empty"):
        _ = run.preferences
    pairs = [pair for row in rows_of(run, "traces") for pair in row["pairs"]]
    assert {pair["dropped"] for pair in pairs} <= {"inconsistent", "unchanged"}


def broken(value: float, mass: float = 1.0) -> Any:
    return lambda said, options: (value, mass - value if value == value else value)


@pytest.mark.parametrize(
    ("score", "error"), [(broken(0.001, 0.003), "label mass"), (broken(math.nan), "call")]
)
def test_a_judge_that_gives_no_label_harms_no_sft_row(
    go: Go, tmp_path: Path, score: Any, error: str
) -> None:
    run = go(engines={"judge": named("judge", tmp_path, score=score)})
    assert len(rows_of(run, "sft")) == 30
    pairs = 30 + run.manifest.counts["target.revision"]
    assert [(f.stage, f.error) for f in run.failures] == [("judge", error)] * pairs
    assert {f.pair for f in run.failures} == {"revision", "sampled"}
    assert run.manifest.counts["failures.pairs"] == pairs
    assert "failures" not in run.manifest.counts


@pytest.mark.parametrize("cot", [False, True])
def test_a_replay_counts_what_was_made(go: Go, tmp_path: Path, cot: bool) -> None:
    def bad(name: str) -> ScriptedEngine:
        return ScriptedEngine(ScriptedOptions(name=name, reject=0.4, fail=0.05))

    run = go(engines={"sampler": bad("sampler"), "judge": bad("judge")}, cot=cot)
    assert run.failures
    written = sum(row["output"] for row in run.manifest.tokens.values())
    assert written == run.manifest.timings["last"]["tokens_written"]


def test_stages_and_pairs_pick(go: Go, tmp_path: Path) -> None:
    run = go(stages=["preferences"], pairs=["sampled"])
    assert set(asked(tmp_path)) - {"policy", "critic", "reviser"} == {"judge", "sampler"}
    assert "policy" not in asked(tmp_path)
    assert {row["pair_source"] for row in rows_of(run, "preferences")} == {"sampled"}
    assert not list((run.folder / "sft").glob("*.parquet"))
    assert rows_of(run, "traces")[0]["response"] is None
    run = go()  # adds the other stage and the other pairs
    assert len(rows_of(run, "sft")) == 30
    judged = asked(tmp_path)["judge"]
    assert judged == 8 * (30 + run.manifest.counts["target.revision"])
    with pytest.raises(CaiError, match=r"30 rows that stand here would be replaced.*stages"):
        go(stages=["sft"])


def test_a_margin_drops_weak_labels(go: Go) -> None:
    run = go(min_margin=0.7)  # the scripted judge's margin is 0.6
    assert run.manifest.counts["pairs.sampled.margin"] == 30
    assert len(rows_of(go(min_margin=0.5), "preferences")) > 30


def check_of(judge: ScriptedEngine, verdict: str, rules: str) -> Path:
    """A stored check of this judge with a verdict written into it."""
    result = judge_check(engine=judge, limit=30, out="check", constitution=rules)
    store(result.model_copy(update={"verdict": verdict}))
    return Path("check/result.json")


def prefers(better: Callable[[str], bool]) -> Any:
    return lambda s, o: (0.9, 0.1) if (better(o[0]), o[0]) > (better(o[1]), o[1]) else (0.1, 0.9)


class Loud(Quiet):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_only_a_usable_judge_filters_revisions(go: Go, tmp_path: Path) -> None:
    """This judge thinks the answer better that stands first in the alphabet."""
    rules, loud = str(tmp_path / "rules.yaml"), Loud()

    def judge() -> ScriptedEngine:
        return named("judge", tmp_path, score=prefers(lambda text: text[0] < "M"))

    def run() -> cai.Run:
        loud.warnings.clear()
        return go(engines={"judge": judge()}, progress=loud, approve=lambda plan: True)

    before = run()
    assert "was never checked" in loud.warnings[0]
    assert "cai check judge --judge" in loud.warnings[0]
    assert {row["verified"] for row in rows_of(before, "sft")} == {None}
    check_of(judge(), "weak", rules)
    assert len(rows_of(run(), "sft")) == 30
    assert "did not pass its check" in loud.warnings[0]
    check_of(judge(), "usable", rules)
    filtered = run()
    assert not loud.warnings
    worse = filtered.manifest.counts["verified.worse"]
    assert worse > 0
    rows, traces = rows_of(filtered, "sft"), rows_of(filtered, "traces")
    assert len(rows) == 30 - worse
    assert Counter(t["verified"] for t in traces)[False] == worse
    for trace in traces:
        kept = [row for row in rows if row["id"] == trace["id"]]
        assert bool(kept) == (trace["verified"] is not False)
        if kept:
            assert kept[0]["verified"] == trace["verified"]
    assert filtered.manifest.judge == {"usable": True, "temperature": 1.0}


def test_a_newly_usable_judge_asks_before_rows_go(go: Go, tmp_path: Path) -> None:
    go()
    check_of(named("judge", tmp_path), "usable", str(tmp_path / "rules.yaml"))
    with pytest.raises(CaiError, match="judge check: never checked → found usable"):
        go()


def test_a_temperature_is_applied_to_rows_and_not_to_traces(go: Go, tmp_path: Path) -> None:
    path = check_of(named("judge", tmp_path), "weak", str(tmp_path / "rules.yaml"))
    result = json.loads(path.read_text())
    result["calibration"]["temperature"] = 2.0
    path.write_text(json.dumps(result))
    run = go(judge_calibration=str(path), approve=lambda plan: True)
    for row in rows_of(run, "preferences"):  # sigmoid(logit(0.8) / 2) = 2 / 3, as 0.8 / 0.2 = 4
        assert row["chosen_probability"] == pytest.approx(2 / 3)
    pairs = [pair for row in rows_of(run, "traces") for pair in row["pairs"]]
    assert {round(abs(p["p_a"] - 0.5), 9) for p in pairs if p["p_a"] is not None} == {0.3}
    with pytest.raises(CaiError, match="another judge"):
        go(judge_calibration=str(path), cot=True, approve=lambda plan: True)
    with pytest.raises(CaiError, match=r"none\.json"):
        go(judge_calibration="none.json")


def test_labels_that_serve_are_picked_and_recorded(go: Go, tmp_path: Path) -> None:
    class NoLetters(ScriptedEngine):
        starts = 0

        def check_labels(self, choices: Sequence[str], answer_prefix: str) -> None:
            if choices[0] in "AX":
                raise CaiError(f"{choices[0]} is no single token")

        async def start(self) -> None:
            await super().start()
            type(self).starts += 1

    class Nothing(ScriptedEngine):
        def check_labels(self, choices: Sequence[str], answer_prefix: str) -> None:
            raise CaiError(f"{choices[0]} is no single token")

    options = ScriptedOptions(name="judge", log=str(tmp_path / "judge.log"))
    run = go(engines={"judge": NoLetters(options)})
    assert run.manifest.labels["judge"][:2] == ["1", "2"]
    assert run.manifest.labels["critic"][:2] == ["A", "B"]
    calls = asked(tmp_path)
    again = go(engines={"judge": NoLetters(options)})
    assert again.manifest.labels == run.manifest.labels
    assert asked(tmp_path) == calls
    assert NoLetters.starts == 1  # the journal knows the labels: the model is not loaded for them
    with pytest.raises(CaiError, match="no pair of labels serves this model: A is no single token"):
        go(engines={"judge": Nothing(ScriptedOptions(name="other"))}, approve=lambda plan: True)


def test_a_constitution_without_comparisons_makes_no_pair(
    tmp_path: Path, prompts_file: Callable[..., str]
) -> None:
    mute = json.loads(json.dumps(RULES))
    for principle in mute["principles"]:
        del principle["compare"]
    rules = write_rules(tmp_path / "mute.yaml", mute)
    given = {"constitution": rules, "prompts": prompts_file(5), "model": "scripted"}
    run = cai.generate(**given, out="run")
    assert "judge" not in run.manifest.models
    assert len(rows_of(run, "sft")) == 5
    with pytest.raises(CaiError, match="no principle has a comparison question"):
        cai.generate(**given, out="other", stages=["preferences"])


def test_splits_are_shared_with_the_other_datasets(go: Go) -> None:
    run = go()

    def prompts(name: str, split: str) -> set[str]:
        return {str(prompt) for prompt in getattr(run, name)[split]["prompt"]}

    for one in ("sft", "preferences", "traces"):
        for other in ("sft", "preferences", "traces"):
            assert not prompts(one, "train") & prompts(other, "test")
