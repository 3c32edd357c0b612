"""Each format is read as its tool documents it, and holds the texts of the run as they are."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import cai
from cai.cli import app
from cai.cli.export import FORMATS as NAMES
from cai.dataset.schema import DATASETS, PREFERENCES, SFT, SPLITS
from cai.errors import CaiError
from cai.publish.export import Export, export_run
from cai.publish.formats.table import FORMATS

SYSTEM = {"role": "system", "content": "You are brief."}
HOSTILE = [
    "Ignore | this.\n---\nconfigs: [{path: x}]\n---\n```\n<script>alert(1)</script>",
    "Half a line\u2028and\u2029\u0085another, \r\n and \x00\x1b[31m with controls",
    '"quoted" \\ {{ template }} {% raw %} $(rm -rf x) `x`',
    "عربي \u202eabc 日本語 😀 e\u0301 \ufeff",
    "2024-01-01 00:00:00",
    "Show <image> and <audio>.",
]
TALK = [
    {"role": "user", "content": "Hello there."},
    {"role": "assistant", "content": "Hello to you."},
    {"role": "user", "content": "And what is that?"},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of odd prompts, with rows of both datasets in both splits."""
    folder = tmp_path_factory.mktemp("made")
    prompts: list[dict[str, Any]] = [{"prompt": text} for text in HOSTILE]
    prompts += [{"messages": TALK}, {"messages": [SYSTEM, *TALK]}]
    prompts += [{"prompt": f"Question number {n}, please."} for n in range(32)]
    lines = [json.dumps({**prompt, "kind": "borderline"}) + "\n" for prompt in prompts]
    (folder / "prompts.jsonl").write_text("".join(lines))
    made = cai.generate(
        model="scripted:",
        prompts=str(folder / "prompts.jsonl"),
        out=str(folder / "run"),
        test_share=0.3,
    )
    return Path(made.folder)


def rows_of(run: Path, dataset: str, split: str = "train") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run / dataset / f"{split}.parquet").to_pylist()
    return rows


def loaded(folder: Path | str, config: str, split: str = "train") -> list[dict[str, Any]]:
    """By the name of the folder and the header of its README.md."""
    return list(datasets.load_dataset(str(folder), config)[split])


def loaded_file(path: Path | str) -> list[dict[str, Any]]:
    """As trainers load a single file: by its suffix; it is the split `train`."""
    kind = {".jsonl": "json", ".parquet": "parquet"}[Path(path).suffix]
    return list(datasets.load_dataset(kind, data_files=str(path))["train"])


def card(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def yaml_blocks(text: str) -> list[Any]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", text, re.S)]


def commands(text: str) -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.+?)```", text, re.S)
    return [shlex.split(block.replace("\\\n", "")) for block in blocks]


def answer(messages: list[dict[str, str]]) -> dict[str, str]:
    [message] = messages
    assert message["role"] == "assistant"
    return message


# --- each format, as its tool reads it ---


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_run_s_own_columns_come_back(run: Path, form: str, split: str) -> None:
    result = export_run(run, form, "out")
    for dataset in ("sft", "preferences"):
        assert loaded("out", dataset, split) == rows_of(run, dataset, split)
    assert result.lost == (
        "Chains, judgements, failures, and sources and licences of prompts stay in the run.",
    )
    if form == "parquet":
        assert pq.read_schema("out/sft/train.parquet").equals(SFT)
        assert pq.read_schema("out/preferences/train.parquet").equals(PREFERENCES)


def test_trl_s_own_functions_know_the_rows_of_trl(run: Path) -> None:
    from trl import data_utils

    export_run(run, "trl", "out")
    for config, columns in (("sft", ["prompt", "completion"]), ("preferences", PAIR)):
        rows, made = loaded("out", config), rows_of(run, config)
        assert rows == [{name: row[name] for name in columns} for row in made]
        assert all(data_utils.is_conversational(row) for row in rows)


PAIR = ["prompt", "chosen", "rejected"]


def test_kto_is_what_trl_s_own_unpairing_makes_of_the_pairs(run: Path) -> None:
    from trl import data_utils

    export_run(run, "trl", "pairs")
    export_run(run, "kto", "out")
    pairs = datasets.load_dataset("pairs", "preferences")["train"]
    unpaired = data_utils.maybe_unpair_preference_dataset(pairs)
    rows = datasets.load_dataset("out", "kto")["train"]
    assert data_utils.maybe_unpair_preference_dataset(rows) is rows  # it is unpaired already

    def key(row: dict[str, Any]) -> str:
        return json.dumps(row, sort_keys=True)

    assert sorted(map(key, rows)) == sorted(map(key, unpaired))
    assert [row["label"] for row in rows] == [True, False] * len(pairs)


def test_the_handbook_s_names_of_splits_and_columns(run: Path) -> None:
    """As `get_dataset` of the handbook does: `load_dataset(dataset_name, dataset_config)`."""
    from trl import data_utils

    export_run(run, "alignment-handbook", "out")
    recipes = yaml_blocks(card(Path("out")))
    for config, recipe in zip(("sft", "preferences"), recipes, strict=True):
        data = datasets.load_dataset(recipe["dataset_name"], recipe["dataset_config"])
        ending = {"sft": "sft", "preferences": "prefs"}[config]
        assert recipe["dataset_train_split"] == f"train_{ending}"
        assert recipe["dataset_test_split"] == f"test_{ending}"
        assert set(data) == {f"train_{ending}", f"test_{ending}"}
        for split in SPLITS:
            rows = list(data[recipe[f"dataset_{split}_split"]])
            made = rows_of(run, config, split)
            if config == "sft":
                wanted = [{"messages": row["prompt"] + row["completion"]} for row in made]
                assert rows == wanted
            else:
                # What DPOTrainer does with dialogues: the turns that both have are the prompt.
                apart = [data_utils.extract_prompt(row) for row in rows]
                assert [{name: row[name] for name in PAIR} for row in apart] == [
                    {name: row[name] for name in PAIR} for row in made
                ]


def test_axolotl_by_its_documented_schema(run: Path) -> None:
    """`chat_template` with `message_field_training`, and `chat_template.default` of `rl: dpo`."""
    export_run(run, "axolotl", "out")
    sft, dpo = yaml_blocks(card(Path("out")))
    assert dpo["rl"] == "dpo"
    assert "rl" not in sft
    for split, key in (("train", "datasets"), ("test", "test_datasets")):
        [config] = sft[key]
        assert (config["type"], config["roles_to_train"]) == ("chat_template", [])
        for row, made in zip(loaded_file(config["path"]), rows_of(run, "sft", split), strict=True):
            turns = row[config["field_messages"]]
            marks = [turn.pop(config["message_field_training"]) for turn in turns]
            assert turns == made["prompt"] + made["completion"]
            assert marks == [False] * len(made["prompt"]) + [True]
        [config] = dpo[key]
        assert config["type"] == "chat_template.default"
        rows = loaded_file(config["path"])
        for row, made in zip(rows, rows_of(run, "preferences", split), strict=True):
            assert row[config["field_messages"]] == made["prompt"]
            assert row[config["field_chosen"]] == answer(made["chosen"])
            assert row[config["field_rejected"]] == answer(made["rejected"])


def test_llama_factory_by_its_documented_schema(run: Path) -> None:
    """Its sharegpt format: roles alternate after a system turn, an answer or a pair at the end."""
    export_run(run, "llama-factory", "out")
    info = json.loads(Path("out/dataset_info.json").read_text())
    for config in yaml_blocks(card(Path("out"))):
        dataset = "sft" if config["stage"] == "sft" else "preferences"
        for key, split in (("dataset", "train"), ("eval_dataset", "test")):
            entry = info[config[key]]
            assert entry["formatting"] == "sharegpt"
            assert entry.get("ranking", False) == (dataset == "preferences")
            rows = loaded_file(Path(config["dataset_dir"]) / entry["file_name"])
            assert [r["messages"] for r in rows] == [
                made["prompt"] + made.get("completion", []) for made in rows_of(run, dataset, split)
            ]
            for row in rows:
                turns = [turn[entry["tags"]["role_tag"]] for turn in row["messages"]]
                turns = turns[1:] if turns[0] == entry["tags"]["system_tag"] else turns
                assert set(turns[::2]) == {entry["tags"]["user_tag"]}
                assert set(turns[1::2]) <= {entry["tags"]["assistant_tag"]}
                assert len(turns) % 2 == (dataset == "preferences")
                if dataset == "preferences":
                    assert row["chosen"]["role"] == row["rejected"]["role"] == "assistant"


def test_openrlhf_by_its_documented_schema(run: Path) -> None:
    """Lists of messages under the keys that its flags name, joined for `apply_chat_template`."""
    export_run(run, "openrlhf", "out")
    for words in commands(card(Path("out"))):
        flags = dict(pair for pair in pairwise(words) if pair[0][:2] == "--")
        dataset = "sft" if "openrlhf.cli.train_sft" in words else "preferences"
        keys = [value for flag, value in flags.items() if re.match(r"--data\.\w+_key", flag)]
        assert keys == (["prompt", "completion"] if dataset == "sft" else PAIR)
        assert "--data.apply_chat_template" in words
        assert flags["--eval.split"] == "train"  # the split of a single file
        for flag, split in (("--data.dataset", "train"), ("--eval.dataset", "test")):
            rows, made = loaded_file(flags[flag]), rows_of(run, dataset, split)
            assert rows == [{key: row[key] for key in keys} for row in made]


def test_nemo_rl_by_its_documented_schema(run: Path) -> None:
    """`context`, `completions` with `rank` (0 is the better one); `messages` that end so."""
    export_run(run, "nemo-rl", "out")
    for words in commands(card(Path("out"))):
        given = dict(word[2:].split("=", 1) for word in words if word.startswith("++"))
        dataset = "sft" if "examples/run_sft.py" in words else "preferences"
        name = {"sft": "openai_format", "preferences": "PreferenceDataset"}[dataset]
        for part, split in (("train", "train"), ("validation", "test")):
            assert given[f"data.{part}.dataset_name"] == name
            rows = loaded_file(given[f"data.{part}.data_path"])
            for row, made in zip(rows, rows_of(run, dataset, split), strict=True):
                if dataset == "sft":
                    assert row == {"messages": made["prompt"] + made["completion"]}
                    continue
                assert row == {
                    "context": made["prompt"],
                    "completions": [
                        {"rank": 0, "completion": made["chosen"]},
                        {"rank": 1, "completion": made["rejected"]},
                    ],
                }


# --- what holds of all ---


@pytest.mark.parametrize("form", FORMATS)
def test_the_folder_is_read_by_its_readme_and_holds_every_text(run: Path, form: str) -> None:
    result = export_run(run, form, "out")
    header = yaml.safe_load(card(Path("out")).split("---\n")[1])
    counts: dict[str, int] = {}
    for config in header["configs"]:
        data = datasets.load_dataset("out", config["config_name"])
        for split in data:
            counts[f"{config['config_name']}/{split}"] = len(data[split])
    assert counts == {str(Path(t.path).with_suffix("")): t.rows for t in result.tables}
    texts = json.dumps([loaded(*key) for key in configs(result)], ensure_ascii=False)
    for text in HOSTILE:
        assert json.dumps(text, ensure_ascii=False)[1:-1] in texts
    assert FORMATS[form].source.split()[0] in card(Path("out"))


def configs(result: Export) -> Iterator[tuple[Path, str, str]]:
    for table in result.tables:
        yield result.folder, table.config, table.name


def test_each_format_says_what_it_loses(run: Path) -> None:
    pairs, sft = rows_of(run, "preferences"), rows_of(run, "sft")
    count = len(pairs) + len(rows_of(run, "preferences", "test"))
    soft = f"preferences, {count} of {count} rows: the label is soft"
    for form in set(FORMATS) - {"jsonl", "parquet"}:
        result = export_run(run, form, form)
        lost = "\n".join(result.lost)
        assert soft in lost
        assert "the columns id, chosen_probability, pair_source" in lost
        assert "system turn" in lost
        assert ("sft (40 rows) is not written" in lost) == (form == "kto")
        assert ("the earlier ones too" in lost) == (
            form in ("alignment-handbook", "llama-factory", "nemo-rl")
        )
        assert ("`<image>`" in lost) == (form == "llama-factory")
        assert all(f"- {sentence}\n" in card(Path(form)) for sentence in result.lost)
    assert len(sft) < 40


def test_a_row_that_llama_factory_would_skip_is_left_out(run: Path, tmp_path: Path) -> None:
    late = copied(run, tmp_path / "late", {"prompt": [TALK[0], TALK[1], SYSTEM, TALK[2]]})
    result = export_run(late, "llama-factory", "out")
    assert result.lost[0].startswith("sft: 1 of 40 rows are left out: a system turn stands later")
    assert sum(t.rows for t in result.tables if t.dataset == "sft") == 39


def copied(run: Path, folder: Path, change: dict[str, Any], times: int = 1) -> Path:
    """A run whose first row of each train file is changed, and whose rows stand there `times`."""
    for dataset in DATASETS:
        (folder / dataset).mkdir(parents=True)
        for split in SPLITS:
            rows = rows_of(run, dataset, split)
            if split == "train":
                rows = [{**rows[0], **change}, *rows[1:]]
            table = pa.Table.from_pylist(rows * times, schema=DATASETS[dataset])
            pq.write_table(table, folder / dataset / f"{split}.parquet", row_group_size=1000)
    for name in ("manifest.json", "failures.jsonl"):
        (folder / name).write_bytes((run / name).read_bytes())
    return folder


def test_white_space_around_an_answer_is_told_to_users_of_axolotl(
    run: Path, tmp_path: Path
) -> None:
    change = {"chosen": [{"role": "assistant", "content": "Yes.\n"}]}
    folder = tmp_path / "spaced"
    copied(run, folder, {})
    rows = rows_of(run, "preferences")
    table = pa.Table.from_pylist([{**rows[0], **change}, *rows[1:]], schema=PREFERENCES)
    pq.write_table(table, folder / "preferences" / "train.parquet")
    lost = export_run(folder, "axolotl", "out").lost
    assert any("begins or ends with white space" in sentence for sentence in lost)
    assert loaded("out", "preferences")[0]["chosen"]["content"] == "Yes.\n"


def test_pairs_below_a_margin_are_left_out(run: Path, tmp_path: Path) -> None:
    folder = copied(run, tmp_path / "weak", {"chosen_probability": 0.6})
    count = sum(len(rows_of(run, "preferences", split)) for split in SPLITS)
    for least, written in ((0.2, count), (0.25, count - 1)):  # 2 x 0.6 - 1 is a little below 0.2
        result = export_run(folder, "trl", str(least), min_margin=least)
        tables = [table for table in result.tables if table.dataset == "preferences"]
        assert sum(table.rows for table in tables) == written
        words = f"preferences: {count - written} of {count} rows are left out: the label's margin"
        assert any(sentence.startswith(words) for sentence in result.lost) == (written < count)
    with pytest.raises(CaiError, match=r"no row to write as kto.*--min-margin"):
        export_run(folder, "kto", "out", min_margin=0.99)


def test_one_split_alone(run: Path) -> None:
    export_run(run, "trl", "out", splits=("test",))
    assert sorted(p.name for p in Path("out").rglob("*.parquet")) == ["test.parquet"] * 2
    assert "There are no train rows of sft and preferences here" in card(Path("out"))
    export_run(run, "nemo-rl", "train", splits=("train",))
    assert "++data.validation=null" in card(Path("train"))


def test_a_run_with_one_dataset_exports_that_one_and_says_so(prompts_file: Any) -> None:
    cai.generate(
        model="scripted:", prompts=prompts_file(20), out="run", stages=("sft",), test_share=0.0
    )
    result = export_run("run", "axolotl", "out")
    assert [table.path for table in result.tables] == ["sft/train.parquet"]
    assert "preferences is not written: the run has no rows of it." in result.lost
    assert not Path("out/preferences").exists()
    assert "rl: dpo" not in card(Path("out"))
    with pytest.raises(CaiError, match=r"no row to write as kto: sft \(20 rows\) is not written"):
        export_run("run", "kto", "kto")
    with pytest.raises(CaiError, match="no rows of it in test"):
        export_run("run", "trl", "test", splits=("test",))
    assert not Path("kto").exists()
    assert not Path("test").exists()


def test_nothing_is_written_over_and_a_stopped_export_leaves_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    Path("file").write_text("mine")
    for out in ("full", "file"):
        with pytest.raises(CaiError, match="not an empty folder"):
            export_run(run, "trl", out)
    with pytest.raises(CaiError, match="no such format"):
        export_run(run, "csv", "out")
    with pytest.raises(CaiError, match="not a run folder"):
        export_run("nowhere", "trl", "out")
    Path("empty/.export.tmp/sft").mkdir(parents=True)  # of an export that was killed
    with monkeypatch.context() as patch:
        patch.setattr("cai.publish.export.export_card", lambda *_: 1 / 0)
        for out in ("empty", "new/out"):
            with pytest.raises(ZeroDivisionError):
                export_run(run, "trl", out)
    assert list(Path("empty").iterdir()) == []
    assert not Path("new/out").exists()
    export_run(run, "trl", "empty")
    assert sorted(path.name for path in Path("empty").iterdir()) == [
        *(".export.json", "README.md", "preferences", "sft"),
    ]


def test_a_folder_of_another_content_is_read_anew(run: Path, tmp_path: Path) -> None:
    import shutil

    export_run(run, "trl", "out")
    before = loaded("out", "sft")
    shutil.rmtree("out")
    change = {"completion": [{"role": "assistant", "content": "Another answer."}]}
    export_run(copied(run, tmp_path / "other", change), "trl", "out")
    assert loaded("out", "sft")[1:] == before[1:]
    assert loaded("out", "sft")[0]["completion"] == change["completion"]


@pytest.mark.parametrize("form", ["nemo-rl", "axolotl"])
def test_memory_does_not_grow_with_the_rows(run: Path, tmp_path: Path, form: str) -> None:
    """Five times as many rows: the most that Python holds at once grows by less than half."""
    import tracemalloc

    peaks = []
    for times in (50, 250):
        folder = copied(run, tmp_path / str(times), {}, times)
        tracemalloc.start()
        export_run(folder, form, tmp_path / f"out{times}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_odd_names_of_folders_are_quoted(run: Path) -> None:
    out = "it's: a #folder, [x]=1"
    export_run(run, "axolotl", f"a/{out}")
    paths = [d["path"] for block in yaml_blocks(card(Path("a") / out)) for d in block["datasets"]]
    assert paths == [f"a/{out}/sft/train.parquet", f"a/{out}/preferences/train.parquet"]
    export_run(run, "openrlhf", f"o/{out}")
    assert f"o/{out}/sft/train.parquet" in commands(card(Path("o") / out))[0]
    export_run(run, "nemo-rl", f"n/{out}")
    wanted = f'++data.train.data_path="n/{out}/sft/train.jsonl"'
    assert wanted in commands(card(Path("n") / out))[0]


def test_the_command_prints_files_and_losses(run: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(run), "--format", "kto", "--out", "out"])
    assert done.exit_code == 0
    assert "out/kto/train.parquet: " in done.stdout
    assert "How to train on it: out/README.md" in done.stdout
    assert "sft (40 rows) is not written: the format has pairs alone." in done.stderr
    assert tuple(FORMATS) == NAMES
    again = CliRunner().invoke(app, ["export", str(run), "--format", "kto", "--out", "out"])
    assert isinstance(again.exception, CaiError)
