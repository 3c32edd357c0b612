"""Exports, dry runs of a push and pages: written anew without a prompt, or told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import cai
from cai.cli.export import FORMATS
from cai.errors import CaiError
from cai.generation.forget.copies import write_exports_anew
from cai.generation.forget.erasure import Erasure
from cai.generation.forget.job import forget, plan_forgetting
from cai.generation.forget.plan import Wanted
from cai.publish.content import Choice
from cai.publish.export import export_run
from cai.publish.push import dry_run
from tests.generation.forgetting import holding


def forgotten(folder: str = "run") -> Erasure:
    done = forget(Path(folder), Wanted(id="q7"))
    assert done is not None
    return done


def visible(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".export.json"
    }


def left(plan: Erasure) -> dict[str, str]:
    return {Path(copy.path).name: copy.why for copy in plan.holders.copies}


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_what_the_run_without_the_prompt_gives(
    form: str, go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    export_run("run", form, "data", min_margin=0.01)
    assert holding(Path("data"))
    assert forgotten().exports == (str(tmp_path / "data"),)
    assert holding(Path("data")) == set()
    Path("data").rename("again")
    export_run("run", form, "data", min_margin=0.01)
    assert visible(Path("again")) == visible(Path("data"))


def test_exports_are_found_wherever_they_were_written(
    go: Callable[..., cai.Run], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    go()
    far = tmp_path_factory.mktemp("far") / "data"
    folders = [tmp_path / "run/inside", far, tmp_path / "beside"]
    for folder in folders:
        export_run("run", "trl", folder)
    notes = [json.loads(line) for line in Path("run/exports.jsonl").read_text().splitlines()]
    assert [note["folder"] for note in notes] == ["inside", str(far), "../beside"]
    Path("run/exports.jsonl").write_text(json.dumps(notes[1]) + "\n")  # the others tell it alone
    dry_run("run", Choice("me/data"), far.parent / "look")
    plan = plan_forgetting(Path("run"), Wanted(id="q7"))
    assert set(plan.exports) == set(map(str, folders))
    assert [copy.path for copy in plan.holders.copies] == [str(far.parent / "look")]
    assert holding(far)
    forgotten()
    for folder in folders:
        assert holding(folder) == set()
        assert not (folder / ".export.tmp").exists()
    line = json.loads(Path("run/forgotten.jsonl").read_text())
    assert set(line["exports"]) == set(map(str, folders))
    # Moved together, they are still found.
    shutil.copytree("run", "moved/run")
    shutil.move("beside", "moved/beside")
    done = forget(Path("moved/run"), Wanted(id="q9"))
    assert done is not None
    assert str(tmp_path / "moved/beside") in done.exports
    assert str(far) not in done.exports  # it is of the run that was copied


def test_what_cannot_be_written_anew_is_told(
    go: Callable[..., cai.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go()
    for name in ("edited", "more", "deleted", "bare", "killed", "stuck"):
        export_run("run", "jsonl", name)
    with Path("edited/sft/train.jsonl").open("a") as file:
        file.write("{}\n")
    Path("more/mine.txt").write_text("notes")
    shutil.rmtree("deleted")
    Path("bare/.export.json").unlink()
    Path("killed/.export.tmp").mkdir()
    dry_run("run", Choice("me/data"), Path("look"))
    kept = {name: visible(Path(name)) for name in ("edited", "more", "bare", "look")}
    publish = cai.publish.export.publish

    def refused(temporary: Path, final: Path) -> None:
        if "stuck" in final.parts:
            raise PermissionError(13, "Permission denied", str(final))
        publish(temporary, final)

    monkeypatch.setattr("cai.publish.export.publish", refused)
    plan = forgotten()
    told = left(plan)
    assert told.keys() == {"edited", "more", "bare", "killed", "look", "stuck"}
    assert "changed by hand" in told["edited"]
    assert "changed by hand" in told["more"]
    assert "Permission denied" in told["stuck"]
    assert "dry run" in told["look"]
    assert plan.holders.gone == (str(tmp_path / "deleted"),)
    assert plan.exports == ()
    assert {name: visible(Path(name)) for name in kept} == kept
    assert json.loads(Path("run/forgotten.jsonl").read_text())["copies"]


def test_what_never_held_it_is_left_alone(go: Callable[..., cai.Run], tmp_path: Path) -> None:
    go()
    ids = [row["id"] for row in pq.read_table("run/sft").to_pylist()]
    dry_run("run", Choice("me/data", without=("q7",)), Path("look"))
    go(out="other")
    export_run("other", "trl", "of-other")
    before = visible(Path("of-other"))
    plan = forgotten()
    assert "q7" in ids
    assert plan.exports == plan.holders.copies == ()
    assert visible(Path("of-other")) == before
    assert plan.holders.runs == (str(tmp_path / "other"),)


def test_an_export_of_which_nothing_is_left_is_gone(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    row = {"id": "q7", "prompt": "Sesame Lane 7?", "kind": "borderline"}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(row) + "\n")
    go(test_share=0.0)
    export_run("run", "trl", "data")
    forgotten()
    assert visible(Path("data")) == {}
    assert holding(Path("run")) == set()


def test_a_split_of_which_nothing_is_left_is_gone(
    go: Callable[..., cai.Run], tmp_path: Path
) -> None:
    go()
    splits = {
        row["id"]: split
        for split in ("train", "test")
        for row in pq.read_table(f"run/sft/{split}.parquet").to_pylist()
    }
    other = next(name for name, split in splits.items() if split != splits["q7"])
    lines = Path("prompts.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["id"] in ("q7", other)]
    Path("prompts.jsonl").write_text("\n".join(kept) + "\n")
    go(out="small")
    export_run("small", "trl", "data")
    done = forget(Path("small"), Wanted(id="q7"))
    assert done is not None
    assert done.exports == (str(tmp_path / "data"),)
    files = {path.name for path in Path("data").rglob("*.parquet")}
    assert files == {f"{splits[other]}.parquet"}
    assert holding(Path("data")) == set()


def test_an_export_that_lost_its_record_after_the_plan_is_told(go: Callable[..., cai.Run]) -> None:
    go()
    for name in ("emptied", "changed"):
        export_run("run", "trl", name)
        Path(name, ".export.json").unlink()
    shutil.rmtree("emptied")  # as one of which nothing is left, when a process is killed
    (copy,) = write_exports_anew(Path("run"), ["emptied", "changed"])
    assert copy.path == "changed"
    assert "no .export.json" in copy.why


def test_a_dry_run_is_no_run(go: Callable[..., cai.Run]) -> None:
    go()
    dry_run("run", Choice("me/data"), Path("look"))
    with pytest.raises(CaiError, match="dry-run wrote, and not a run"):
        forget(Path("look"), Wanted(id="q7"))


def test_nothing_goes_that_was_not_approved(go: Callable[..., cai.Run]) -> None:
    go()
    before: dict[str, Any] = visible(Path("run"))
    seen: list[Erasure] = []
    assert forget(Path("run"), Wanted(id="q7"), lambda plan: bool(seen.append(plan))) is None
    assert [plan.ids for plan in seen] == [("q7",)]
    after = visible(Path("run"))
    assert {k: v for k, v in after.items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }
