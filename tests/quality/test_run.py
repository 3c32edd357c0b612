"""The measures of a whole run, and a run without the rows that make its gates fail."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cai
from cai.constitution.load import load
from cai.dataset.run import Run
from cai.errors import CaiError
from cai.files import find_constitution
from cai.quality.fix import fix_run
from cai.quality.measure import gather, measure
from cai.quality.records import QUALITY, read_quality
from cai.quality.settings import Thresholds
from cai.report.page import write_report
from tests.quality.made import rows, written
from tests.quality.test_plants import failed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run") / "run"
    return cai.generate(model="scripted:", limit=120, prompts="seeds", out=folder)


def test_a_run_ends_with_its_quality(run: Run) -> None:
    quality = read_quality(run.folder / QUALITY)
    assert quality == measure(run.folder)
    assert quality.rows["sft"] == sum(run.manifest.counts[f"sft.{s}"] for s in ("train", "test"))
    for name in ("boilerplate_share", "churn_share", "consistent_share", "chosen_refusal_share"):
        assert quality.figures[name].n > 0
    assert {row["id"] for row in quality.details["principles"]} <= {
        principle.id for principle in load(find_constitution("default.yaml")).principles
    }
    assert quality.details["label_histogram"]
    assert sum(quality.details["label_histogram"]) == quality.figures["consistent_share"].n


def test_the_file_is_one_flat_object(run: Run) -> None:
    data = json.loads((run.folder / QUALITY).read_text())
    assert set(data["boilerplate_share"]) == {"value", "low", "high", "n"}
    assert isinstance(data["boilerplate_phrases"], list)
    assert all({"name", "passed", "rows", "advice"} <= gate.keys() for gate in data["gates"])


def planted(run: Run, folder: Path) -> Path:
    """The run, of which a fifth of the rows is spoilt in one of three ways."""
    copy = folder / "planted"
    for path in run.folder.rglob("*"):
        if path.is_file() and path.suffix in (".parquet", ".json", ".jsonl", ".yaml"):
            target = copy / path.relative_to(run.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    file = copy / "sft" / "train.parquet"
    table = pq.read_table(file)
    data = table.to_pylist()
    for n, row in enumerate(data):
        text = row["completion"][0]["content"]
        if n % 5 == 0:
            text += " Whatever you decide to do, I am always on your side."
        if n % 10 == 1:
            text = f"Here is the revised response:\n\n{text}"
        if n % 10 == 2:
            text = data[n - 2]["completion"][0]["content"]
        row["completion"][0]["content"] = text
    pq.write_table(pa.Table.from_pylist(data, schema=table.schema), file)
    return copy


def test_fixing_drops_what_fails_and_says_what(run: Run, tmp_path: Path) -> None:
    bad = planted(run, tmp_path)
    limits = Thresholds(max_boilerplate=0.1)
    before = measure(bad, limits)
    assert {"boilerplate", "leftovers", "near-duplicates"} <= failed(before)
    out = tmp_path / "fixed"
    fixed = fix_run(gather(str(bad)), out, before, limits)
    assert not {"boilerplate", "leftovers", "near-duplicates"} & failed(fixed.after)
    listed = [json.loads(line) for line in fixed.record.read_text().splitlines()]
    assert len(listed) == sum(fixed.dropped.values())
    ids = {row["id"] for row in listed if row["dataset"] == "sft"}
    old = pq.read_table(bad / "sft" / "train.parquet").to_pylist()
    new = pq.read_table(out / "sft" / "train.parquet").to_pylist()
    assert new == [row for row in old if row["id"] not in ids]
    for row in pq.read_table(out / "traces" / "train.parquet").to_pylist():
        reason = row["not_in_sft"] or ""
        assert reason.startswith("quality: ") == (row["id"] in ids)
    counts = Run.load(out).manifest.counts
    assert counts["sft.train"] == len(new)
    assert counts["dropped.leftovers"] == fixed.dropped["leftovers"]


def test_a_phrase_is_capped_and_not_struck_out(run: Run, tmp_path: Path) -> None:
    bad = planted(run, tmp_path)
    limits = Thresholds(max_boilerplate=0.1)
    fix_run(gather(str(bad)), tmp_path / "fixed", measure(bad, limits), limits)
    files = (tmp_path / "fixed" / "sft").glob("*.parquet")
    data = [row for file in files for row in pq.read_table(file).to_pylist()]
    texts = [row["completion"][0]["content"] for row in data]
    held = sum("always on your side" in text for text in texts)
    assert 0 < held < 0.15 * len(texts)


def test_a_run_that_passes_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    quality = read_quality(run.folder / QUALITY)
    assert failed(quality) == set()
    fixed = fix_run(gather(str(run.folder)), tmp_path / "fixed", quality, Thresholds())
    assert fixed.dropped == {}
    for name in ("sft", "preferences", "traces"):
        old, new = (
            pq.read_table(f / name / "train.parquet") for f in (run.folder, tmp_path / "fixed")
        )
        assert old.equals(new)
    with pytest.raises(CaiError, match="not empty"):
        fix_run(gather(str(run.folder)), tmp_path / "fixed", quality, Thresholds())


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ("response", {"prompt": "Say hello.", "response": "Hello there, how are you?"}),
        ("completion", {"prompt": "Say hello.", "completion": "Hello there, how are you?"}),
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": "Say hello."},
                    {"role": "assistant", "content": "Hello there, how are you?"},
                ]
            },
        ),
        ("pair", {"prompt": "Say hello.", "chosen": "Hello there.", "rejected": "No."}),
        (
            "transcript",
            {
                "chosen": "\n\nHuman: Say hello.\n\nAssistant: Hello there.",
                "rejected": "\n\nHuman: Say hello.\n\nAssistant: No.",
            },
        ),
    ],
)
def test_data_made_elsewhere_is_read(tmp_path: Path, shape: str, row: dict[str, Any]) -> None:
    quality = measure(written(tmp_path / "data.jsonl", [row]))
    assert quality.rows == {"preferences" if "chosen" in row else "sft": 1}
    assert quality.figures["boilerplate_share"].n == 1
    assert ("length_auc" in quality.figures) == ("chosen" in row)


def test_a_folder_of_two_splits_is_read(tmp_path: Path) -> None:
    made = rows("en", 40)
    for row in made:
        del row["split"]
    folder = tmp_path / "data"
    folder.mkdir()
    written(folder / "train.jsonl", made[:30])
    written(folder / "test.jsonl", made[30:])
    quality = measure(folder)
    assert quality.details["splits"] == {"train": 30, "test": 10}
    assert quality.figures["leak_share"].n == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "a"}\n', "no answer"),
        ("", "no row"),
        ('{"prompt": "a", "response": ""}\n', "cannot be used"),
    ],
)
def test_data_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    with pytest.raises(CaiError, match=message):
        measure(path)


def test_a_broken_quality_file_is_told(tmp_path: Path) -> None:
    (tmp_path / QUALITY).write_text('{"version": 1}')
    with pytest.raises(CaiError, match="damaged"):
        read_quality(tmp_path / QUALITY)
    with pytest.raises(CaiError, match="cai quality RUN"):
        read_quality(tmp_path / "none.json")


def test_rows_of_an_evaluation_set_are_named(tmp_path: Path) -> None:
    made = rows("en", 60)
    suite = [{"prompt": row["prompt"]} for row in made[:6]]
    suite += [{"prompt": "Which of the two old bridges was built by hand, and by whom?"}]
    file = written(tmp_path / "suite.jsonl", suite)
    quality = measure(written(tmp_path / "data.jsonl", made), against=[file])
    assert quality.figures["contaminated_share"].value == 0.1
    [gate] = [gate for gate in quality.gates if gate.name == "contamination"]
    assert not gate.passed
    assert {row.id for row in gate.rows} == {row["id"] for row in made[:6]}
    assert "suite.jsonl:1 (exact, in the prompt)" in gate.rows[0].note


def test_a_last_turn_that_ends_many_conversations_is_no_leak(tmp_path: Path) -> None:
    made = rows("en", 60)
    for row in made:
        row["prompt"] = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": f"Do you mean the {row['id']}?"},
            {"role": "user", "content": "Yes, please go on."},
        ]
    quality = measure(written(tmp_path / "data.jsonl", made))
    assert quality.figures["leak_share"].value == 0
    assert quality.figures["prompt_duplicate_share"].value == 0


def test_half_a_pair_is_a_bad_row(tmp_path: Path) -> None:
    made = [
        {"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": "" if n == 3 else "No."}
        for n in range(40)
    ]
    quality = measure(written(tmp_path / "data.jsonl", made))
    assert quality.rows == {"preferences": 39}
    assert "1 empty answer" in quality.details["bad_rows"][0]


def test_a_file_that_begins_with_pairs_names_the_rows_of_sft_as_ever(tmp_path: Path) -> None:
    made = rows("en", 40)
    for row in made[1:20]:
        row["response"] = f"I'm sorry, but I can't help with that. {row['id']}"
    pairs = [{"prompt": row["prompt"], "chosen": "It is.", "rejected": "No."} for row in made]
    quality = measure(written(tmp_path / "data.jsonl", [*pairs, *made]))
    assert list(quality.rows) == ["sft", "preferences"]
    assert quality.figures["refusal_share"].value == 19 / 40
    assert quality.figures["chosen_refusal_share"].value == 0


@pytest.mark.parametrize("name", ["test", "validation", "test_sft", "dev", "Eval"])
def test_a_split_that_is_held_out_has_many_names(tmp_path: Path, name: str) -> None:
    made = rows("en", 40)
    for row in made:
        row["split"] = {"train": "train_sft", "test": name}[row["split"]]
    made[9]["response"] = made[3]["response"]
    quality = measure(written(tmp_path / "data.jsonl", made))
    assert quality.details["splits"] == {"train": 36, "test": 4}
    assert quality.figures["leak_share"].value == 1 / 4


@pytest.mark.parametrize("last", ["kind", "split"])
def test_a_kind_or_a_split_that_comes_last_is_no_drift(tmp_path: Path, last: str) -> None:
    made = rows("en", 300)
    for n, row in enumerate(made):
        row["split"] = "train"
        if n >= 180:
            row |= {"prompt_kind": "red-team"} if last == "kind" else {"split": "test"}
            row["response"] += " 😀"
    assert measure(written(tmp_path / "data.jsonl", made)).figures["emoji_drift"].value == 0
    for row in made[150:180]:  # of the last third of the others: 120 to 179
        row["response"] += " 😀"
    figure = measure(written(tmp_path / "data.jsonl", made)).figures["emoji_drift"]
    assert figure.value == pytest.approx((30 + 40) / (60 + 40) - (0 + 80) / (120 + 80))


def test_fixing_drops_all_rows_of_a_prompt_that_leaks(run: Run, tmp_path: Path) -> None:
    bad = planted(run, tmp_path)
    held_out = pq.read_table(bad / "preferences" / "test.parquet").to_pylist()[0]
    file = bad / "preferences" / "train.parquet"
    table = pq.read_table(file)
    data = table.to_pylist()
    prompts = [row["id"].partition("#")[0] for row in data]
    name = next(one for one, other in pairwise(prompts) if one == other)
    own = [row for row, prompt in zip(data, prompts, strict=True) if prompt == name]
    for row in own:
        row["prompt"] = held_out["prompt"]
    pq.write_table(pa.Table.from_pylist(data, schema=table.schema), file)
    suite = written(tmp_path / "suite.jsonl", [{"prompt": data[-1]["prompt"][0]["content"]}])
    before = measure(bad, against=[suite])
    assert {"chosen texts: leak", "chosen texts: contamination"} <= failed(before)
    out = tmp_path / "fixed"
    fixed = fix_run(gather(str(bad), [suite]), out, before, Thresholds(), [suite])
    assert failed(fixed.after) == set()
    listed = [json.loads(line) for line in fixed.record.read_text().splitlines()]
    leaks = {row["id"] for row in listed if row["rule"] == "leak"}
    assert leaks == {row["id"] for row in own}
    assert len(leaks) == 2
    same = {row["id"] for row in data if row["prompt"] == data[-1]["prompt"]}
    assert same == {row["id"] for row in listed if row["rule"] == "contamination"} - {prompts[-1]}


def test_fixing_drops_texts_that_break_a_principle(run: Run, tmp_path: Path) -> None:
    bad = planted(run, tmp_path)
    spoilt = set()
    for dataset in ("sft", "traces"):
        file = bad / dataset / "train.parquet"
        table = pq.read_table(file)
        data = table.to_pylist()
        spoilt = spoilt or {row["id"] for row in data[3::4]}
        for row in data:
            if row["id"] in spoilt:
                row["violations"] = ["no-harm"]
        pq.write_table(pa.Table.from_pylist(data, schema=table.schema), file)
    before = measure(bad)
    [gate] = [gate for gate in before.failed if gate.name == "violations"]
    assert {row.id for row in gate.rows} == spoilt
    assert gate.count == len(spoilt)
    fixed = fix_run(gather(str(bad)), tmp_path / "fixed", before, Thresholds())
    assert fixed.after.figures["violation_share"].value == 0
    listed = [json.loads(line) for line in fixed.record.read_text().splitlines()]
    assert {row["id"] for row in listed if row["rule"] == "violations"} <= spoilt
    assert fixed.dropped["violations"] > 0


@pytest.mark.parametrize("file", ["sft/train", "preferences/test", "traces/train"])
def test_a_run_without_one_of_its_files_is_not_measured(
    run: Run, tmp_path: Path, file: str
) -> None:
    copy = planted(run, tmp_path)
    (copy / f"{file}.parquet").unlink()
    for use in (measure, write_report):
        with pytest.raises(CaiError, match=f"{file}.parquet: missing; it had"):
            use(copy)


def test_a_published_folder_has_no_traces_and_is_measured(run: Run, tmp_path: Path) -> None:
    copy = planted(run, tmp_path)
    for path in (copy / "traces").iterdir():
        path.unlink()
    assert measure(copy).rows == measure(run.folder).rows


def test_an_id_that_all_rows_share_makes_them_no_one_prompt(tmp_path: Path) -> None:
    made = rows("en", 60)
    for n, row in enumerate(made):
        row["id"] = "source-7"
        if n % 3 == 0:
            row["response"] += " Whatever you decide to do, I am always on your side."
    made[5]["response"] = made[4]["response"]
    figures = measure(written(tmp_path / "data.jsonl", made)).figures
    assert (figures["boilerplate_share"].value, figures["boilerplate_share"].n) == (1 / 3, 60)
    assert (figures["near_duplicate_share"].value, figures["near_duplicate_share"].n) == (
        1 / 60,
        60,
    )


def test_a_row_that_stands_there_twice_in_a_row_is_a_duplicate(tmp_path: Path) -> None:
    made = [copy for row in rows("en", 40) for copy in (row, row)]
    figures = measure(written(tmp_path / "sft.jsonl", made)).figures
    assert (figures["near_duplicate_share"].value, figures["near_duplicate_share"].n) == (0.5, 80)
    pairs = [
        {"prompt": row["prompt"], "chosen": row["response"], "rejected": rejected}
        for row in rows("en", 40)
        for rejected in ("No.", "No.", "Perhaps not.")
    ]
    figures = measure(written(tmp_path / "pairs.jsonl", pairs)).figures
    figure = figures["near_duplicate_share"]  # the third is another pair of its prompt
    assert (figure.value, figure.n) == (0.5, 80)
