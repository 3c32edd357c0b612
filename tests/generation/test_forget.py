"""A prompt is forgotten: its text is in no file, the others stay, and it does not come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import cai
from cai.dataset.traces import rows_of
from cai.errors import CaiError
from cai.generation.forget.job import forget, plan_forgetting
from cai.generation.forget.plan import Wanted
from cai.generation.merge import merge_shards
from cai.generation.tombstones import PENDING
from cai.publish.export import export_run
from cai.quality.fix import fix_run
from cai.quality.measure import gather, measure
from cai.quality.settings import Thresholds
from cai.report.page import shows_chains, write_report
from tests.generation.forgetting import (
    FILES,
    RULES,
    SECRET,
    calls_made,
    holding,
    rows,
    texts,
    without,
)
from tests.report.helpers import rows_of as page_rows


def test_it_is_in_no_file_and_the_others_stay(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    go()
    run = tmp_path / "run"
    go(out="later", seed=1)
    (run / "report.html").unlink()
    write_report(run, chains=False)  # as the user wanted it: it stays without chains
    write_report(run, other="later")
    (run / "report-moved.html").write_text(f"<p>{SECRET}</p>")  # its other run is not there
    (run / "quality.json").write_text((run / "quality.json").read_text().replace("q8", SECRET))
    (run / ".failures.jsonl.tmp").write_text(SECRET)
    before, manifest = rows(run), cai.Run.load(run).manifest
    pages = {"report.html", "report-later.html", "report-moved.html"}
    assert {"calls.sqlite", *pages} < holding(run)
    assert "report.html" in holding(run, "q7")

    plan = plan_forgetting(run, Wanted(id="q7"))
    assert holding(run)  # a plan writes nothing
    assert forget(run, Wanted(id="q7")).counts == plan.counts
    assert holding(run) == set()
    assert [path.name for path in run.glob("*.html")] == ["report.html"]  # the later run has it too
    write_report(run, other="later")
    assert holding(run) == {"report-later.html"}
    later = forget(tmp_path / "later", Wanted(id="q7"))
    assert later is not None
    assert [copy.path for copy in later.holders.copies] == [str(run / "report-later.html")]
    assert holding(tmp_path / "later") == set()
    assert not shows_chains(run / "report.html")
    assert "q8" in {row["id"] for row in page_rows(run / "report.html")}
    assert rows(run) == without(before, "q7")
    assert plan.counts["prompts"] == plan.counts["traces"] == 1
    assert plan.counts["calls"] > 3
    assert plan.counts["unused calls"] == 0
    after = cai.Run.load(run).manifest
    assert after.prompts["rows"] == manifest.prompts["rows"] - 1
    line = json.loads((run / "forgotten.jsonl").read_text())
    assert line["counts"] == plan.counts
    assert len(line["digests"]) == 1
    assert not (run / PENDING).exists()
    with pytest.raises(CaiError, match="no prompt is like that"):
        forget(run, Wanted(id="q7"))


def test_running_again_makes_no_call_and_the_same_files(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    forget(tmp_path / "run", Wanted(source="b"))
    run, made = tmp_path / "run", calls_made(tmp_path)
    files = {name: (run / name).read_bytes() for name in (*FILES, "README.md", "failures.jsonl")}
    manifest = cai.Run.load(run).manifest
    go()
    assert calls_made(tmp_path) == made
    assert {name: (run / name).read_bytes() for name in files} == files
    again = cai.Run.load(run).manifest
    for part in ("counts", "prompts", "tokens"):
        assert getattr(again, part) == getattr(manifest, part), part
    # The file of prompts changes: it is read again, and the text does not come in.
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write(json.dumps({"id": "new", "prompt": f"Tell  me of {SECRET.upper()}, please."}))
    go(approve=lambda plan: True)
    assert calls_made(tmp_path) == made
    assert holding(run) == set()
    assert cai.Run.load(run).manifest.prompts["forgotten"] == 2


def test_reuse_and_other_folders_do_not_take_it_in(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    forget(tmp_path / "run", Wanted(match="sesame  LANE 7"))
    made = calls_made(tmp_path)
    go(out="other", reuse=["run"])
    assert calls_made(tmp_path) == made
    assert holding(tmp_path / "other") == set()
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write('{"id": "q99", "prompt": "One more?"}\n')
    go(out="other", approve=lambda plan: True)  # by itself: the tombstone is its own
    assert holding(tmp_path / "other") == set()


def test_a_text_is_found_whatever_its_case_in_prompts_and_in_what_models_wrote(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    assert plan_forgetting(tmp_path / "run", Wanted(match="QUESTION  9,")).ids == ("q9",)
    traces = {row["id"]: row for row in rows(tmp_path / "run")[FILES[4]]}
    name, trace = next(iter(traces.items()))
    for path in (tmp_path / "run").glob("*/*.parquet"):
        path.unlink()  # the calls alone have it now
    written = trace["response"].upper()
    assert name in plan_forgetting(tmp_path / "run", Wanted(match=written)).ids


def test_limit_and_shards_keep_their_prompts(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    for part in (1, 2):
        go(out=f"s{part}", shard=f"{part}/2", limit=20)
    before = [rows(tmp_path / f"s{part}") for part in (1, 2)]
    for part in (1, 2):
        if any(row["id"] == "q7" for some in before[part - 1].values() for row in some):
            forget(tmp_path / f"s{part}", Wanted(id="q7"))
    made = calls_made(tmp_path)
    merge_shards(["s1", "s2"], "whole")
    whole = {row["id"] for name in FILES[4:] for row in rows(tmp_path / "whole")[name]}
    assert whole == {f"q{i}" for i in range(20)} - {"q7"}
    assert holding(tmp_path / "whole") == set()
    for part in (1, 2):
        (tmp_path / "prompts.jsonl").touch()
        go(out=f"s{part}", shard=f"{part}/2", limit=20)
    assert calls_made(tmp_path) == made


def test_calls_that_others_use_stay(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    """Two prompts with one text in other case: both go. Labels of equal answers are shared."""
    text = "".join(
        json.dumps({"id": name, "prompt": words, "kind": "borderline"}) + "\n"
        for name, words in (("a", "Say it."), ("b", "say  IT."), ("c", "Say more."))
    )
    (tmp_path / "prompts.jsonl").write_text(text)
    go()
    plan = forget(tmp_path / "run", Wanted(id="a"))
    assert plan.ids == ("a", "b")
    made = calls_made(tmp_path)
    go()
    assert calls_made(tmp_path) == made


def test_a_conversation_that_goes_on_from_it_goes_too(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    first = {"role": "user", "content": f"Tell me of {SECRET}."}
    talk = [first, {"role": "assistant", "content": "No."}, {"role": "user", "content": "Why?"}]
    rows_ = [{"id": "a", "messages": [first]}, {"id": "b", "messages": talk}]
    rows_ += [{"id": "c", "messages": talk[2:]}]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_))
    go()
    assert forget(tmp_path / "run", Wanted(id="a")).ids == ("a", "b")
    assert holding(tmp_path / "run") == set()
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_[::-1]))
    go(approve=lambda plan: True)
    assert holding(tmp_path / "run") == set()
    assert cai.Run.load("run").manifest.prompts["rows"] == 1


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(CaiError, match="not a run folder"):
        forget(tmp_path / "other", Wanted(id="a"))
    assert list((tmp_path / "other").iterdir()) == []


def test_calls_of_earlier_settings_go_too(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    go()
    changed = json.loads(json.dumps(RULES))
    for principle in changed["principles"]:
        principle["critique"] += " Look twice."
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(changed))
    go()
    plan = forget(tmp_path / "run", Wanted(id="q7"))
    assert plan.counts["unused calls"] > 0
    assert holding(tmp_path / "run") == set()
    made = calls_made(tmp_path)
    go()
    assert calls_made(tmp_path) == made


def test_a_fixed_run_without_a_journal(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    go()
    limits = Thresholds(max_boilerplate=0.0)
    quality = measure("run", limits)
    fix_run(gather("run"), tmp_path / "fixed", quality, limits)
    folder = tmp_path / "fixed"
    with (folder / "dropped.jsonl").open("a") as file:
        file.write(
            json.dumps({"dataset": "sft", "id": "q7", "rule": "leak", "note": SECRET}) + "\n"
        )
    before = rows(folder)
    plan = forget(folder, Wanted(match=SECRET))
    assert holding(folder) == set()
    assert rows(folder) == without(before, "q7")
    assert plan.holders.runs == (str(tmp_path / "run"),)
    counts = cai.Run.load(folder).manifest.counts
    assert sum(counts.get(f"sft.{s}", 0) for s in ("train", "test")) == sum(
        len(rows(folder)[f"sft/{s}.parquet"]) for s in ("train", "test")
    )


def test_a_folder_of_the_first_version(tmp_path: Path) -> None:
    first = Path(__file__).parents[1] / "data" / "run-0.1.0"
    shutil.copytree(first, tmp_path / "run")
    trace = next(rows_of(tmp_path / "run" / "traces" / "train.parquet"))
    words = trace["prompt"][-1]["content"]
    plan = forget(tmp_path / "run", Wanted(id=trace["id"]))
    assert plan.counts["traces"] == 1
    assert plan.counts["calls"] > 1
    (tmp_path / "run" / "prompts.jsonl").unlink()  # beside it for a test of its own
    assert [p for p, text in texts(tmp_path / "run") if words in text] == []
    assert all(r["id"] != trace["id"] for r in rows_of(tmp_path / "run/traces/train.parquet"))


def test_an_input_that_was_no_prompt(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write(json.dumps({"id": SECRET, "prompt": ""}) + "\n")
    go(max_bad_rows=0.5)
    plan = forget(tmp_path / "run", Wanted(match=SECRET))
    assert plan.counts["failures"] == 1
    assert holding(tmp_path / "run") == set()
    assert "failures" not in cai.Run.load("run").manifest.counts


def test_who_held_it_is_told(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    go()
    pushes = [{"repo": "me/data", "revision": "main", "commit": "abc", "files": 3}]
    (tmp_path / "run/pushes.jsonl").write_text(json.dumps(pushes[0]) + "\n")
    for name, data, model in (("m1", "run", "default"), ("m2", "x.jsonl", "m1"), ("m3", "y", "z")):
        (tmp_path / name).mkdir()
        record = {"settings": {"data": data, "model": model}, "data": {"files": {}}}
        (tmp_path / name / "training.json").write_text(json.dumps(record))
    holders = forget(tmp_path / "run", Wanted(id="q7")).holders
    assert holders.pushes == ({"repo": "me/data", "revision": "main", "commit": "abc"},)
    assert [Path(model).name for model in holders.models] == ["m1", "m2"]
    line = json.loads((tmp_path / "run/forgotten.jsonl").read_text())
    assert line["pushes"][0]["commit"] == "abc"


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(id="a", match="b"), Wanted(match="  ")])
def test_what_to_forget_is_one_thing(
    wanted: Wanted, go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    with pytest.raises(CaiError):
        forget(tmp_path, wanted)


KILLED = """
import os, signal, sys
from pathlib import Path
from cai.generation.forget import job as f, files
from cai.publish import export
point, n = sys.argv[1], int(sys.argv[2])
passed = [0]
def at(name, module, call):
    real = getattr(module, call)
    def wrapped(*args, **named):
        result = real(*args, **named)
        passed[0] += name == point
        if name == point and passed[0] == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(module, call, wrapped)
at("calls", f.Eraser, "compact")
at("commit", f.Eraser, "erase")
at("rewrite", files, "rewrite")
at("lines", files, "_filter")
at("measure", files, "_measure")
at("card", files, "dataset_card")
at("pages", files, "_write_pages")
at("export", export, "publish")
at("exports", files, "write_exports_anew")
at("end", f, "write_anew")
f.forget(Path("run"), f.Wanted(id="q7"))
"""


def state(folder: Path) -> dict[str, Any]:
    """All files of a folder, without the moment at which it was asked for."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "calls.sqlite", "forgotten.jsonl")
    }
    db = sqlite3.connect(folder / "calls.sqlite")
    tables = ("prompts", "prompts_failures", "calls", "attempts", "forgotten", "meta")
    rows = {table: db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
    db.close()
    lines = (folder / "forgotten.jsonl").read_text().splitlines()
    told = [{**json.loads(line), "time": ""} for line in lines]
    for line in told:
        line["exports"] = [Path(path).name for path in line["exports"]]
    return {**files, **rows, "forgotten.jsonl": told}


def test_another_command_ends_what_was_stopped_and_does_its_own(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    done = subprocess.run([sys.executable, "-c", KILLED, "commit", "1"], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert forget(tmp_path / "run", Wanted(id="q9")).ids == ("q9",)
    assert holding(tmp_path / "run") == set()
    assert len((tmp_path / "run/forgotten.jsonl").read_text().splitlines()) == 2
    assert cai.Run.load("run").manifest.prompts["rows"] == 38


def test_killed_at_any_point_the_same_command_ends_the_same(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    export_run("run", "llama-factory", "run/data")
    shutil.copytree("run", "whole/run")
    forget(tmp_path / "whole/run", Wanted(id="q7"))
    undisturbed = state(tmp_path / "whole/run")
    shutil.copytree("run", "kept/run")
    points = [("commit", 1), ("calls", 1), ("rewrite", 2), ("rewrite", 6), ("lines", 1)]
    points += [("measure", 1), ("card", 1), ("pages", 1), ("exports", 1), ("end", 1)]
    for point, n in [*points, *(("export", n) for n in range(1, 7))]:
        shutil.rmtree("run")
        shutil.copytree("kept/run", "run")
        command = [sys.executable, "-c", KILLED, point, str(n)]
        done = subprocess.run(command, check=False, env=dict(os.environ), timeout=120)
        assert done.returncode == -signal.SIGKILL, point
        with pytest.raises(CaiError, match="forgetting a prompt was stopped"):
            go()
        forget(tmp_path / "run", Wanted(id="q7"))
        again = state(tmp_path / "run")
        for name in undisturbed.keys() | again.keys():
            if name not in ("manifest.json", "quality.json", "report.html"):  # times, a path
                assert again.get(name) == undisturbed.get(name), (point, name)
        assert holding(tmp_path / "run") == set()
