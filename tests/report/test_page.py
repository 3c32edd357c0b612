"""The page as a file: what is in it, what is not, and what of many rows."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import cai
from cai.calibration import Bin
from cai.constitution.load import load
from cai.errors import CaiError
from cai.files import find_constitution
from cai.prompting.records import KINDS
from cai.report import principles
from cai.report.blocks import Sizes, drawn
from cai.report.compare import compare_content
from cai.report.coverage import Coverage
from cai.report.facts import facts
from cai.report.page import write_report
from cai.report.pictures import pictures
from cai.report.rows import Item
from cai.report.tally import Tally
from tests.report.helpers import ELEMENT, HOSTILE, index_of, inflated, rows_of, trace, write_run


@pytest.fixture
def run(tmp_path: Path, prompts_file: Callable[..., str]) -> Path:
    """A run of the scripted model, in which some calls fail."""
    folder = tmp_path / "run"
    cai.generate(
        model="scripted:fail=0.05,change=0.5", prompts=prompts_file(40), out=folder, test_share=0.2
    )
    return folder


class Tags(HTMLParser):
    """Parses a page and keeps its tags, and texts outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._in: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._in and self._in[-1] == tag:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        if not self._in:
            self.texts.append(data)


def test_a_page_has_every_prompt_and_every_text_of_the_run(run: Path) -> None:
    path = write_report(run)
    assert path == run / "report.html"
    rows = {row["id"]: row for row in rows_of(path)}
    loaded = cai.Run.load(run)
    assert len(rows) == 40
    assert index_of(path)["ids"] == list(rows)
    failed = {f.prompt_id for f in loaded.failures if f.pair is None}
    assert failed <= rows.keys()
    assert {f["error"] for name in failed for f in rows[name]["failures"]} == {"call"}
    for split in loaded.traces.values():
        for one in split:
            row = rows[one["id"]]
            assert (row.get("final"), row["split"]) == (one["final"], split.split)
            assert [s["critique"] for s in row.get("steps", [])] == [
                s["critique"] for s in one["steps"] or []
            ]
    places = index_of(path)["places"]
    assert sorted(places) == list(range(40))  # the order of the run, of the journal


def test_prompts_that_failed_have_their_text_from_the_journal(run: Path) -> None:
    rows = [row for row in rows_of(write_report(run)) if not row["split"]]
    assert rows
    assert all(row["prompt"][0]["content"].startswith("Question number") for row in rows)


def test_a_browser_may_run_our_script_and_nothing_else(run: Path) -> None:
    page = write_report(run).read_text()
    tags = Tags(page).tags
    [policy] = [a["content"] for t, a in tags if a.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert [a for t, a in tags if t in ("link", "img", "iframe", "object", "embed", "base")] == []
    assert [a for _, a in tags if any(n.startswith("on") or n == "style" for n in a)] == []
    assert [v for _, a in tags for n, v in a.items() if n in ("src", "action")] == []
    assert all((a["href"] or "").startswith("#") for t, a in tags if t == "a")
    scripts = [a.get("type") for t, a in tags if t == "script"]
    assert scripts.count(None) == 1
    assert set(scripts) == {None, "application/octet-stream"}


def test_hostile_rows_stand_in_blocks_alone(tmp_path: Path) -> None:
    rows = [trace(n, text) for n, text in enumerate(HOSTILE)]
    folder = write_run(tmp_path / "run", rows, failures=1)
    line = '{"stage": "judge", "prompt_id": "half \\ud800", "error": "call", "message": "<b>"}\n'
    with (folder / "failures.jsonl").open("a") as file:
        file.write(line)
    path = write_report(folder)
    page = path.read_text()
    outside = ELEMENT.sub("", page)
    assert "alert(" not in outside
    assert "<b>name" not in outside
    assert "&lt;b&gt;name" in outside
    kept = {row["id"]: row for row in rows_of(path)}
    assert [kept[f"row-{n}"]["prompt"][0]["content"] for n in range(len(HOSTILE))] == HOSTILE
    assert "half \ud800" in kept
    assert max(map(len, index_of(path)["prompts"])) <= 140


def test_without_chains_nothing_is_in_it_that_is_not_published(run: Path) -> None:
    path = write_report(run, chains=False)
    everything = "\n".join(inflated(path.read_text()).values()) + path.read_text()
    loaded = cai.Run.load(run)
    public = {row["completion"][0]["content"] for d in loaded.sft.values() for row in d}
    chosen = {row["chosen"][0]["content"] for d in loaded.preferences.values() for row in d}
    assert public
    for split in loaded.traces.values():
        for one in split:
            hidden = {one["response"], *(s["critique"] for s in one["steps"] or [])}
            hidden |= {p[side] for p in one["pairs"] for side in ("response_a", "response_b")}
            for text in hidden - public - chosen - {None}:
                assert json.dumps(text)[1:-1] not in everything
    rows = rows_of(path)
    assert {row["final"] for row in rows if "final" in row} == public
    assert all("prompt" not in row for row in rows if not row["split"])
    assert {key for row in rows for f in row.get("failures", []) for key in f} <= {"stage", "error"}


def test_without_room_what_failed_comes_first_and_the_page_says_so(tmp_path: Path) -> None:
    rows = [trace(n, "".join(chr(97 + (n * k) % 26) for k in range(900))) for n in range(800)]
    folder = write_run(tmp_path / "run", rows, failures=30)
    named = [{"id": f"row-{n}", "prompt_id": f"row-{n}", "dataset": "sft", "split": "train"}
             for n in range(40)]  # fmt: skip
    gate = {"name": "leak", "measure": "leak_share", "value": 1, "limit": 0, "passed": False,
            "words": "w", "advice": "a", "rows": named, "count": 40}  # fmt: skip
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    quality = {"version": 1, "data": "x", "rows": {}, "leak_share": figure, "gates": [gate]}
    (folder / "quality.json").write_text(json.dumps(quality))
    whole = write_report(folder, out=tmp_path / "whole.html")
    part = write_report(folder, out=tmp_path / "part.html", limit=20_000)
    assert len(rows_of(whole)) == 830
    kept = [row["id"] for row in rows_of(part)]
    assert {f"lost-{n}" for n in range(30)} | {f"row-{n}" for n in range(40)} <= set(kept)
    assert 70 < len(kept) < 700
    words = re.sub(r"\s+", " ", "".join(Tags(part.read_text()).texts))
    assert f"This page has room for {len(kept)} of 830 rows" in words
    assert "Look at this first: leak" in words
    assert "#gate=leak" in part.read_text()
    # The figures count all rows, whatever is shown.
    assert part.read_text().count("of 830 prompts") == whole.read_text().count("of 830 prompts") > 0


def test_the_shares_of_a_sample_fill_the_room_class_by_class() -> None:
    sizes = Sizes()
    for name, count in (("failed", 10), ("gate", 10), ("rest", 100)):
        for _ in range(count):
            sizes.add(name, 100)
    assert sizes.shares(100_000, 0.5) == {"failed": 1.0, "gate": 1.0, "rest": 1.0}
    half = sizes.shares(1000, 0.5)
    assert (half["failed"], half["gate"]) == (1.0, pytest.approx(0.94))
    assert half["rest"] == 0
    assert drawn("any", 1.0)
    assert not drawn("any", 0.0)
    assert 400 < sum(drawn(f"row {n}", 0.5) for n in range(1000)) < 600


def test_a_run_that_goes_on_shows_what_is_there(run: Path) -> None:
    (run / "manifest.json").unlink()
    db = sqlite3.connect(run / "calls.sqlite")
    db.execute("DELETE FROM calls WHERE id > 150")
    db.commit()
    db.close()
    path = write_report(run)
    rows = rows_of(path)
    assert 0 < len(rows) < 40
    words = re.sub(r"\s+", " ", "".join(Tags(path.read_text()).texts))
    assert f"{len(rows)} of 40 prompts are done" in words
    assert "policy" in words


def test_two_runs_show_what_changed(run: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.yaml"
    rules = yaml.safe_load((run / "constitution.yaml").read_text())
    for principle in rules["principles"]:
        if "critique" in principle:
            principle["critique"] += " Be strict."
    edited.write_text(yaml.safe_dump(rules))
    other = tmp_path / "other"
    prompts = str(tmp_path / "prompts.jsonl")
    cai.generate(model="scripted:fail=0.05,change=0.5", prompts=prompts, out=other,
                 constitution=str(edited), test_share=0.2)  # fmt: skip
    path = write_report(run, other=other)
    assert path == run / "report-other.html"
    rows = rows_of(path)
    assert rows
    changed = [row for row in rows if "other" in row]
    assert changed
    assert all(row["other"]["id"] == row["id"] and row["other"] != row for row in changed)
    table = next(t for t in compare_content(run, other).values()["tables"] if "pairs" in t["head"])
    counts = {
        row[0]: dict(zip(table["head"][1:], map(int, row[1:]), strict=True))
        for row in table["rows"]
    }
    chains = [{row["id"]: row for row in _traces(folder)} for folder in (run, other)]
    for source, own in counts.items():
        before, after = (
            {name for name in chains[0].keys() & chains[1].keys() if _labelled(side[name], source)}
            for side in chains
        )
        assert own["only before"] == len(before - after)
        assert own["only after"] == len(after - before)
        assert own["same pair"] + own["another pair"] == len(before & after)
    assert sum(own["only before"] for own in counts.values()) > 0
    with pytest.raises(CaiError, match="a comparison shows chains"):
        write_report(run, other=other, chains=False)


def _traces(folder: Path) -> Iterator[dict[str, Any]]:
    for file in (folder / "traces").glob("*.parquet"):
        yield from pq.read_table(file).to_pylist()


def _labelled(row: dict[str, Any], source: str) -> bool:
    return any(p["source"] == source and p["p_a"] is not None for p in row["pairs"])


def test_what_is_no_run_or_broken_is_told(tmp_path: Path, run: Path) -> None:
    with pytest.raises(CaiError, match="no such folder"):
        write_report(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaiError, match="no run, no training and no evaluation"):
        write_report(tmp_path / "empty")
    with pytest.raises(CaiError, match=r"nowhere.page\.html"):
        write_report(run, out=tmp_path / "nowhere" / "page.html")
    (run / "quality.json").write_text("{")
    with pytest.raises(CaiError, match=r"quality\.json: damaged"):
        write_report(run)
    (run / "quality.json").unlink()
    (run / "failures.jsonl").write_text("no json\n")
    with pytest.raises(CaiError, match=r"failures\.jsonl: damaged"):
        write_report(run)
    (run / "failures.jsonl").write_text("")
    (run / "traces" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(CaiError, match=r"train\.parquet: damaged"):
        write_report(run)
    (run / "manifest.json").write_text("{}")
    with pytest.raises(CaiError, match=r"manifest\.json: damaged"):
        write_report(run)
    assert not list(run.glob(".report*"))


def test_a_training_shows_its_curves_and_what_a_row_teaches(tmp_path: Path) -> None:
    folder = tmp_path / "x-dpo"
    folder.mkdir()
    source = {"origin": "run", "read": 9, "dropped": {"margin": 2}, "kept": 7}
    record = {
        "version": 1, "state": "done", "method": "dpo", "steps": 3, "seconds": 4.0,
        "settings": {"model": "m", "data": "run", "loss": "hard"},
        "data": {"sources": [source], "test": None, "warnings": ["few rows"],
                 "tokens": {"mean": 5.0, "p95": 9, "max": 9},
                 "labels": {"mean": 0.8, "saturated": 0.0}},
    }  # fmt: skip
    (folder / "training.json").write_text(json.dumps(record))
    lines = [
        {"step": n, "loss": 1 / n, "rewards/margins": float("nan"), "grad_norm": 0.6931 + n / 1e5}
        for n in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    tokens = [{"text": "<|user|>", "learnt": False}, {"text": "Yes<b>", "learnt": True}]
    example = {"id": "row 1", "probability": 0.75, "parts": [{"name": "", "tokens": tokens}]}
    (folder / "examples.jsonl").write_text(json.dumps(example) + "\n")
    page = write_report(folder).read_text()
    assert "loss 1 → 0.333" in page
    assert "Reward margin" not in page
    assert "few rows" in page
    assert "<mark><bdi>Yes&lt;b&gt;</bdi></mark>" in page
    assert "2 margin" in page
    assert "grad_norm 0.69311 → 0.69313" in page
    assert all(f">{mark}</text>" in page for mark in ("0.69311", "0.69312", "0.69313"))
    (folder / "training.json").write_text("{}")
    with pytest.raises(CaiError, match=r"training\.json: damaged"):
        write_report(folder)


def test_the_example_of_the_project_has_a_page(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "outputs" / "example"
    path = write_report(example, out=tmp_path / "page.html")
    assert len(rows_of(path)) == 10


def test_a_run_of_the_first_version_has_a_page(tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "data" / "run-0.1.0"
    folder = shutil.copytree(old, tmp_path / "old")
    rows = rows_of(write_report(folder))
    assert rows
    kept = pq.read_table(folder / "traces" / "train.parquet").column("id").to_pylist()
    assert set(kept) <= {row["id"] for row in rows}


def test_a_judge_that_was_checked_has_its_calibration_on_the_page() -> None:
    bins = [Bin(confidence=0.6, accuracy=0.5, count=8), Bin(confidence=0.9, accuracy=1.0, count=9)]
    [picture] = pictures(Tally(sft=True), bins)
    assert picture.title == "How often this judge was right, by how sure it was"
    assert picture.rows[1] == ("90 %", "100 %", "9")
    assert str(picture.svg).count("<circle") == 2


def test_the_pictures_of_a_small_run_by_hand() -> None:
    tally = Tally(sft=True)
    for number in range(10):
        tally.add(Item(trace(number), "train", []))
    tally.add(Item({"id": "x"}, "", [{"stage": "revise", "error": "call"}]))
    assert (tally.prompts, tally.failed, tally.fate("in sft"), tally.fate("violates")) == (
        11,
        1,
        8,
        2,
    )
    assert tally.pairs == {("revision", "kept"): 10}
    # p_a is 0.2: the final text is the better one, with 0.8, which lies in the 12th of 20 steps.
    assert tally.kept == {12: 10}
    assert tally.principles["p1"].judged == 6  # of the pairs 0, 1, 4, 5, 8, 9
    assert sum(tally.together.values()) == 10
    assert tally.agreement == tally.together
    titles = [picture.title for picture in pictures(tally)]
    assert titles[0] == "8 of 11 prompts became a row to learn from"
    assert titles[1] == "10 of 10 pairs became a row of preferences"
    assert titles[2] == "100 % of the labels are surer than 75 %"
    assert titles[-1] == "1 thing failed, most often: revise (call)"


def test_surprise_is_the_largest_of_three_numbers() -> None:
    row = trace(3)
    known = facts(Item(row, "train", []), sft=True)
    assert known.surprise == pytest.approx(max(0.1, 0.4 * (1 - 0.8)))
    row["pairs"][0]["p_a"] = 0.9  # the judge is sure that the answer before was better
    assert facts(Item(row, "train", []), sft=True).surprise == pytest.approx(0.8)
    assert known.outcome == "in sft: revised"
    assert known.verdicts == ("change needed",)


def test_what_the_prompts_cover_is_a_picture(tmp_path: Path) -> None:
    """Of the seeds none is about tone, and all are read by a principle without tags."""
    cai.generate(model="scripted", prompts="seeds", limit=60, out=tmp_path / "run", stages=("sft",))
    page = write_report(tmp_path / "run").read_text()
    traces = cai.Run.load(tmp_path / "run").traces
    rows = [row for split in traces.values() for row in split]
    assert "13 principles of 20 met by a prompt" in page
    assert "Met by none: no-preaching" in page
    by_kind = {kind: sum(row["prompt_kind"] == kind for row in rows) for kind in KINDS}
    cells = "".join(f"<td><bdi>{by_kind[kind]}</bdi></td>" for kind in KINDS)
    assert f'<th scope="row"><bdi>read-aloud</bdi></th>{cells}' in page


@pytest.mark.parametrize(
    ("source", "met"),
    [("written by NAME (0123456789ab)", "safe-advice"), ("a book of questions", "privacy")],
)
def test_a_prompt_covers_the_principle_that_it_was_written_for(source: str, met: str) -> None:
    coverage = Coverage(load(find_constitution("default.yaml")))
    about = {"group": "default/safe-advice/3", "source": source, "tags": ["privacy"]}
    coverage.add({**trace(0), **about})
    picture = coverage.picture()
    assert picture is not None
    assert {row[0] for row in picture.rows if row[1] == "1"} - {"read-aloud"} == {met}


def test_a_prompt_of_unknown_kind_meets_a_principle_too() -> None:
    coverage = Coverage(load(find_constitution("default.yaml")))
    coverage.add({**trace(0), "prompt_kind": "unknown", "tags": ["privacy"]})
    picture = coverage.picture()
    assert picture is not None
    assert "privacy" not in picture.words
    assert picture.title == "2 principles of 20 met by a prompt"


def test_a_tie_is_no_disagreement_and_a_round_without_a_verdict_no_consent() -> None:
    tally = Tally(sft=True)
    row = trace(3)
    [pair] = row["pairs"]
    names = [j["principle_id"] for j in pair["judgements"]]
    for judgement in pair["judgements"]:
        judgement |= {"q_ab": 0.9, "q_ba": 0.9}  # what stands first is preferred: a tie
    for step in row["steps"]:
        step |= {"p_change": None, "order_gap": None}
    tally.add(Item(row, "train", []))
    assert not tally.together
    assert principles.agreement(tally) is None
    cells = {
        line.id: dict(zip(principles.HEAD, line.cells, strict=True))
        for line in principles.table(tally)
    }
    for name in names:
        assert cells[name]["judged pairs"] == "1"
        assert cells[name]["agrees with the label"] == "–"
    for step in row["steps"]:
        assert cells[step["principle_id"]]["asked for a change"] == "–"
    pair["judgements"][0] |= {"q_ab": 0.9, "q_ba": 0.2}
    pair["p_a"] = 0.2
    tally.add(Item(row, "train", []))
    again = {
        line.id: dict(zip(principles.HEAD, line.cells, strict=True))
        for line in principles.table(tally)
    }
    assert again[names[0]]["agrees with the label"] == "0 %"
    assert again[names[1]]["agrees with the label"] == "–"


def test_a_gate_with_more_rows_than_it_names_says_so(run: Path) -> None:
    row = {"id": "a", "prompt_id": "a", "dataset": "sft", "split": "train", "note": ""}
    gate = {"name": "leak", "measure": "leak_share", "value": 1, "limit": 0, "passed": False,
            "words": "w", "advice": "a", "rows": [row, row], "count": 1200}  # fmt: skip
    follows = [{"id": "p1", "likes": ["Of 20 pairs, shorter ones."], "odd": "against all others"}]
    quality = {"version": 1, "data": "run", "rows": {}, "gates": [gate], "principles": follows,
               "judge_likes": ["Of 40 pairs, apologies."]}  # fmt: skip
    (run / "quality.json").write_text(json.dumps(quality))
    page = write_report(run).read_text()
    assert "Show the first 2 of 1,200 rows" in page
    for words in ("Of 20 pairs, shorter ones.", "against all others", "Of 40 pairs, apologies."):
        assert words in page.partition("What the labels follow")[2].partition("</table>")[0]
