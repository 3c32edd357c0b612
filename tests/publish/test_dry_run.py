"""What would be sent, in a folder: it loads, its header is valid, and what must not go is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

import cai
from cai.cli import app
from cai.dataset.schema import PREFERENCES, SFT
from cai.errors import CaiError
from cai.publish.content import Choice
from cai.publish.push import Order, dry_run
from cai.quality.measure import measure
from cai.quality.records import write_quality
from cai.report.blocks import element, packed

CHOICE = Choice("me/data")
IBAN = "DE89 3704 0044 0532 0130 00"
PHONES = (
    *("+49 30 901820", "+33 1 42 68 53 00", "+44 20 7946 0958"),
    *("+1 202-456-1111", "+81 3-5253-4111"),
)
# Made up, in the form of keys of AWS and of the Hub.
KEYS = ("AKIA" + "Q3EXPLMB7Z2KWD5T", "hf_" + "kQzWvXbNtRpLmJhGfDsAyUiOcEaBqTw")


def sent(run: Path, choice: Choice = CHOICE, **order: Any) -> Path:
    return dry_run(run, choice, run.parent / "dry", Order(**order)).folder


def plant(run: Path, *texts: str) -> list[str]:
    """Put texts into answers of the first training rows, and return the ids of the rows."""
    path = run / "sft" / "train.parquet"
    rows = pq.read_table(path).to_pylist()
    for row, text in zip(rows, texts, strict=False):
        row["completion"][-1]["content"] = f"Well, {text}, as you know."
    pq.write_table(pa.Table.from_pylist(rows, schema=SFT), path)
    return [row["id"] for row in rows[: len(texts)]]


@pytest.mark.parametrize("name", ["sft", "preferences"])
def test_the_example_loads(run: Path, name: str) -> None:
    folder = sent(run)
    data = load_dataset(str(folder), name)
    assert data["train"].column_names == (SFT if name == "sft" else PREFERENCES).names
    assert data["train"].num_rows == {"sft": 9, "preferences": 3}[name]


def test_a_scripted_run_loads_in_each_split_and_its_header_is_valid(
    tmp_path: Path, prompts_file: object
) -> None:
    prompts = prompts_file(120)  # type: ignore[operator]
    run = tmp_path / "run"
    cai.generate(prompts=prompts, model="scripted:", out=run, test_share=0.3)
    write_quality(measure(str(run)), run / "quality.json")
    folder = sent(run, Choice("me/data", include=("traces", "failures"), licence="cc-by-4.0"))
    manifest = json.loads((folder / "manifest.json").read_text())
    card = DatasetCard.load(folder / "README.md")
    header = card.data.to_dict()
    for config in ("sft", "preferences", "traces"):
        for split, data in load_dataset(str(folder), config).items():
            assert data.num_rows == manifest["counts"][f"{config}.{split}"] > 0
    assert [c["config_name"] for c in header["configs"]] == ["sft", "preferences", "traces"]
    assert header["license"] == "cc-by-4.0"
    assert header["annotations_creators"] == ["machine-generated"]
    assert "gates passed" in card.text
    assert "| Refusals |" in card.text or "95 % interval" in card.text
    assert "tokens read" in card.text
    assert str(tmp_path) not in "".join(
        path.read_text() for path in folder.rglob("*") if path.suffix in (".md", ".json", ".yaml")
    )


def test_croissant_has_what_the_hub_cannot_know(run: Path) -> None:
    folder = sent(run, Choice("me/data", licence="mit"))
    data = json.loads((folder / "croissant.json").read_text())
    assert data["rai:dataCollectionType"] == ["Synthetic data", "Machine-generated"]
    entity, plan = data["prov:wasGeneratedBy"]["prov:used"]
    assert entity["url"] == "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct"
    assert plan["identifier"].startswith("aae8d1af")
    assert {file["name"] for file in data["distribution"]} == {
        "sft/train.parquet",
        "preferences/train.parquet",
    }


# rdflib, by which it reads JSON-LD, warns of its own parts.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_croissant_is_valid(run: Path) -> None:
    import mlcroissant

    dataset = mlcroissant.Dataset(sent(run, Choice("me/data", licence="mit")) / "croissant.json")
    assert not dataset.metadata.issues.errors
    assert dataset.metadata.data_limitations


def test_a_journal_is_a_whole_copy_and_goes_with_no_row_left_out(
    tmp_path: Path, prompts_file: object
) -> None:
    import sqlite3

    run = tmp_path / "run"
    cai.generate(prompts=prompts_file(10), model="scripted:", out=run)  # type: ignore[operator]
    folder = sent(run, Choice("me/data", include=("journal",)))
    with sqlite3.connect(folder / "calls.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM calls").fetchone()[0] > 0
    one = cai.Run.load(run).trace_ids(1)[0]
    with pytest.raises(CaiError, match="also those of rows that are left out"):
        dry_run(run, Choice("me/data", ("journal",), (one,)), tmp_path / "other")


def test_the_folder_has_to_be_empty_and_names_right(run: Path) -> None:
    sent(run)
    with pytest.raises(CaiError, match="not an empty folder"):
        sent(run)
    for choice in (Choice("data"), Choice("a/b/c"), Choice("me/data", licence="My Own")):
        with pytest.raises(CaiError, match="not the name of a"):
            dry_run(run, choice, run.parent / "new")
    with pytest.raises(CaiError, match="not a run folder"):
        dry_run(run.parent / "nothing", CHOICE, run.parent / "new")


# --- what must not go ---


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe@gmail.com", "e-mail address"),
        (f"pay to {IBAN}", "IBAN"),
        *((f"call {number}", "phone number") for number in PHONES),
    ],
)
def test_personal_data_is_told_with_its_row_and_wants_a_yes(
    run: Path, text: str, kind: str
) -> None:
    [row] = plant(run, text)
    told: list[str] = []
    with pytest.raises(CaiError, match="1 places hold personal data: nothing was sent") as caught:
        dry_run(run, CHOICE, run.parent / "dry", tell=told.append)
    assert told == [f"sft/train.parquet, row {row}, completion: {kind}"]
    assert f"--without {row}" in caught.value.hint
    assert not (run.parent / "dry").exists()
    assert (sent(run, allow_personal=True) / "README.md").is_file()


def test_what_only_looks_like_personal_data_is_sent(run: Path) -> None:
    plant(run, f"pay to {IBAN[:-1]}1", "call +49 0 12", "write to jane@example.com")
    assert (sent(run) / "README.md").is_file()


@pytest.mark.parametrize(
    ("region", "number"),
    [
        *(("DE", "030 901820"), ("FR", "01 42 68 53 00"), ("GB", "020 7946 0958")),
        *(("US", "(202) 456-1111"), ("JP", "03-5253-4111")),
    ],
)
def test_phones_in_national_form_are_found_where_their_country_is_named(
    run: Path, region: str, number: str
) -> None:
    plant(run, f"call {number}")
    assert (sent(run) / "README.md").is_file()
    with pytest.raises(CaiError, match="1 places hold personal data"):
        dry_run(run, CHOICE, run.parent / "other", Order(region=region))
    with pytest.raises(CaiError, match="no country that is known"):
        dry_run(run, CHOICE, run.parent / "other", Order(region="Utopia"))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_refuses_until_its_rows_are_left_out(run: Path, key: str) -> None:
    [row] = plant(run, f"use {key}")
    for options in ({}, {"allow_personal": True}):
        with pytest.raises(CaiError, match="looks like a key or token") as caught:
            sent(run, **options)
        assert f"--without {row}" in caught.value.hint
        assert key not in str(caught.value)
    folder = sent(run, Choice("me/data", without=(row,)))
    assert pq.read_table(folder / "sft" / "train.parquet").num_rows == 8
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert key.encode() not in everything


def test_a_key_in_another_file_refuses_too(run: Path) -> None:
    path = run / "constitution.yaml"
    path.write_text(path.read_text().replace("Short answers", f"Short {KEYS[0]} answers"))
    with pytest.raises(CaiError, match="looks like a key") as caught:
        sent(run, allow_personal=True)
    assert "Take it out of the file" in caught.value.hint


def test_a_key_inside_the_blocks_of_a_page_refuses_too(run: Path) -> None:
    def report(folder: Path, out: Path) -> None:
        block = packed(f'{{"final": "use {KEYS[1]}"}}'.encode())
        out.write_text(f"<html>{element('rows-0', block)}</html>")

    with pytest.raises(CaiError, match="looks like a key"):
        dry_run(run, CHOICE, run.parent / "dry", report=report)


def test_the_command_line(run: Path) -> None:
    [row] = plant(run, f"pay to {IBAN}")
    done = CliRunner().invoke(app, ["push", str(run), "me/data", "--dry-run", "dry"])
    assert isinstance(done.exception, CaiError)
    assert f"row {row}, completion: IBAN" in done.stderr
    arguments = ["push", str(run), "me/data", "--dry-run", "dry", "--without", row]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Nothing was sent" in done.stdout
    assert "sft/train.parquet" in done.stdout
    done = CliRunner().invoke(app, ["push", str(run), "me/data", "--include", "all"])
    assert "no such part" in str(done.exception)
