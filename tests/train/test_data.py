from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cai.engines.local.chat import Chat
from cai.errors import CaiError, InputError
from cai.records import messages_as_data
from cai.train.config import resolve_training
from cai.train.data.examples import Example, examples
from cai.train.data.load import TrainData, load_rows
from cai.train.data.report import (
    DataReport,
    LabelStatistics,
    TokenStatistics,
    token_statistics,
)
from cai.train.data.selection import select
from cai.train.data.source import Source, read_source
from cai.train.encoding import Encoder

Load = Callable[..., TrainData]


def turns(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pair(n: int, p: float = 0.8, **more: Any) -> dict[str, Any]:
    return {
        "id": f"row-{n}",
        "prompt": turns("user", f"Question {n}?"),
        "chosen": turns("assistant", f"Good answer {n}."),
        "rejected": turns("assistant", f"Bad answer {n}."),
        "chosen_probability": p,
        "pair_source": "sampled",
        **more,
    }


def demonstration(n: int, **more: Any) -> dict[str, Any]:
    answer = {"completion": turns("assistant", f"Answer {n}.")}
    return {"id": f"row-{n}", "prompt": turns("user", f"Question {n}?"), **answer, **more}


def write(folder: Path, name: str, **splits: list[dict[str, Any]]) -> str:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")
    return str(folder)


@pytest.fixture
def load(tokenizer: Any, tmp_path: Path) -> Load:
    encoder = Encoder(Chat(tokenizer), "<|im_end|>")

    def rows(method: Any, data: str, **given: Any) -> TrainData:
        settings = resolve_training(method, {"data": data, "max_length": 400, **given})
        return load_rows(settings, encoder, tmp_path / "cache")

    return rows


@pytest.fixture
def texts(tokenizer: Any) -> Callable[[TrainData], list[str]]:
    """The last user's texts of rows that `load` gave."""

    def of(found: TrainData) -> list[str]:
        rows = [row.get("prompt_ids") or row["input_ids"] for row in found.train]
        turns = [tokenizer.decode(ids).split("<|im_start|>user\n")[-1] for ids in rows]
        return [turn.split("<|im_end|>")[0] for turn in turns]

    return of


def test_a_run_is_read_in_both_splits(load: Load, tokenizer: Any, tmp_path: Path) -> None:
    train, test = [pair(n) for n in range(6)], [pair(n) for n in range(6, 8)]
    found = load("dpo", write(tmp_path / "run", "preferences", train=train, test=test))
    assert len(found.train) == 6
    assert found.eval is not None
    assert len(found.eval) == 2
    columns = ["prompt_ids", "chosen_ids", "rejected_ids", "chosen_probability"]
    assert found.train.column_names == columns
    row = found.train[0]
    prompt = tokenizer.apply_chat_template(
        train[0]["prompt"], add_generation_prompt=True, return_dict=False
    )
    assert row["prompt_ids"] == prompt
    assert [tokenizer.decode(row[name]) for name in columns[1:3]] == [
        "Good answer 0.<|im_end|>", "Bad answer 0.<|im_end|>",
    ]  # fmt: skip
    assert row["chosen_probability"] == 0.8
    assert found.report.labels is not None
    assert found.report.labels.mean == pytest.approx(0.8)


def test_every_row_is_accounted_for(load: Load, texts: Any, tmp_path: Path) -> None:
    train = [
        pair(0),
        pair(1),
        pair(1),  # a duplicate
        pair(2, p=0.5),  # no label
        pair(3, rejected=turns("assistant", "Good answer 3.")),  # the same sides
        pair(4, chosen=turns("assistant", "")),  # nothing to learn
        pair(5, prompt=turns("user", "QUESTION  9?")),  # stands in the test split
        pair(6, pair_source="revision"),
        pair(7, p=0.6),  # margin 0.2
        pair(8),
    ]
    run = write(tmp_path / "run", "preferences", train=train, test=[pair(9)])
    found = load("dpo", run, pair_source="sampled", min_margin=0.3)
    (counts,) = found.report.sources
    dropped = {name: n for name, n in counts.dropped.items() if n}
    assert dropped == {
        "no preference": 1, "same answers": 1, "empty answer": 1, "duplicate": 1,
        "leak": 1, "pair source": 1, "margin": 1,
    }  # fmt: skip
    assert (counts.read, counts.kept) == (10, 3)
    assert texts(found) == ["Question 0?", "Question 1?", "Question 8?"]


def test_too_long_rows_are_dropped_cut_or_stop_the_run(load: Load, tmp_path: Path) -> None:
    rows = [demonstration(n) for n in range(19)]
    rows.append(demonstration(19, completion=turns("assistant", "word " * 300)))
    run = write(tmp_path / "run", "sft", train=rows)
    found = load("sft", run, max_length=100)
    assert len(found.train) == 19
    assert found.report.sources[0].dropped["too long"] == 1
    cut = load("sft", run, max_length=100, too_long="cut")
    assert (len(cut.train), cut.report.cut) == (20, 1)
    with pytest.raises(CaiError) as caught:
        load("sft", run, max_length=100, max_too_long=0.01)
    assert "5" in caught.value.message  # per cent
    assert caught.value.hint


def test_a_mix_takes_its_weight_and_only_into_train(load: Load, tmp_path: Path) -> None:
    main = [demonstration(n) for n in range(10)]
    run = write(tmp_path / "run", "sft", train=main, test=[demonstration(99)])
    other = tmp_path / "helpful.jsonl"
    rows = [{"prompt": f"Help {n}?", "completion": f"Gladly {n}."} for n in range(30)]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load("sft", run, mix=[f"{other}=0.5"])
    assert len(found.train) == 15
    assert found.eval is not None
    assert len(found.eval) == 1
    again = load("sft", run, mix=[f"{other}=0.5"])
    assert again.train[:] == found.train[:]
    assert again.report == found.report
    elsewhere = load("sft", run, mix=[f"{other}=0.5"], seed=1)
    assert elsewhere.report.rows_digest != found.report.rows_digest
    assert len(load("sft", run, mix=[str(other)]).train) == 40


def test_sure_labels_are_refused_where_doubt_is_to_be_learnt(load: Load, tmp_path: Path) -> None:
    run = write(tmp_path / "run", "preferences", train=[pair(n, p=0.995) for n in range(5)])
    for loss in ("soft", "geometric"):
        with pytest.raises(CaiError, match=r"above 0\.99"):
            load("dpo", run, loss=loss)
    assert len(load("dpo", run, loss="hard").train) == 5


def test_what_cannot_be_read_is_an_error_with_a_hint(load: Load, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "other", "sft", train=[{"text": "x"}])
    damaged = tmp_path / "damaged" / "sft"
    damaged.mkdir(parents=True)
    (damaged / "train.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "file.jsonl").write_text('{"prompt": "a", "completion"\n')
    for name in ("none", "empty", "other", "damaged", "file.jsonl"):
        with pytest.raises(CaiError) as caught:
            load("sft", str(tmp_path / name))
        assert name in caught.value.message
        assert caught.value.hint
    run = write(tmp_path / "run", "preferences", train=[pair(0, p=0.5)])
    with pytest.raises(CaiError, match="no row is left"):
        load("dpo", run)
    with pytest.raises(CaiError, match="sft"):
        load("sft", run)


# A turn is its role, its words and `<end>`; the answer's role is asked.
WORDS = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' <end> ' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
_known: dict[str, int] = {}  # words of all tests, so that an id is always the same word


def words(template: str = WORDS) -> Encoder:
    """An encoder of words, to count by; it knows those of the files in the working folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = " ".join(path.read_text(errors="ignore") for path in Path().glob("*.jsonl"))
    roles = ("user", "assistant", "system")
    found = ["?", "<end>", *roles, "q", "a", *re.findall(r"[\w:.!,]+", texts)]
    for word in found:
        _known.setdefault(word, len(_known))
    core = Tokenizer(models.WordLevel(dict(_known), unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="?", eos_token="<end>", chat_template=template
    )
    return Encoder(Chat(tokenizer), "<end>")


def counted(
    rows: list[dict[str, Any]], template: str = WORDS, method: Any = "sft", **given: Any
) -> TrainData:
    """The rows of a file, by words, in the working folder."""
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = resolve_training(method, {"data": "rows.jsonl", "max_too_long": 1.0, **given})
    return load_rows(settings, words(template), Path("cache"))


def spoken(ids: list[int]) -> str:
    names = {index: word for word, index in _known.items()}
    return " ".join(names[i] for i in ids)


def learnt(row: dict[str, Any]) -> str:
    """The words of a row of demonstrations that are learnt."""
    pairs = zip(row["input_ids"], row["completion_mask"], strict=True)
    return spoken([token for token, mask in pairs if mask])


def asked(row: dict[str, Any]) -> str:
    """The words of a row's prompt."""
    if "prompt_ids" in row:
        return spoken(row["prompt_ids"])
    return spoken(row["input_ids"][: row["completion_mask"].index(1)])


def prompts(found: TrainData) -> list[str]:
    """The last user's words of each row."""
    return [asked(row).split(" user ")[-1].removeprefix("user ").removesuffix(" <end> assistant")
            for row in found.train]  # fmt: skip


# --- the filters, one by one, counted by hand


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": " \n"}, "empty answer"),
        ({"rejected": ""}, "empty answer"),
        ({"chosen": turns("user", "a")}, "other prompt"),
        ({"chosen": "b"}, "same answers"),
        ({"chosen": " b "}, "same answers"),  # a template strips it
        ({"chosen_probability": 0.5}, "no preference"),
        ({"chosen_probability": 0}, "no preference"),
        ({"prompt": " "}, "empty prompt"),
        ({"prompt": turns("assistant", "q")}, "other prompt"),
        ({"prompt": turns("tool", "q")}, "tool call"),
        ({"prompt": [{"role": "user"}]}, "null content"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "not text"),
        ({"prompt": [*turns("user", "a"), *turns("user", "b")]}, "doubled turn"),
        ({"prompt": turns("system", "a")}, "no user turn"),
        ({"chosen": [*turns("user", "other"), *turns("assistant", "a")]}, "other prompt"),
        ({"chosen": "\ud800"}, "lone surrogate"),
        ({"id": "\ud800"}, "lone surrogate"),
        ({"prompt": 7}, "wrong type"),
        ({"prompt": []}, "wrong type"),
        ({"prompt": turns("bard", "q")}, "unknown role"),
        ({"prompt": "[{'role': 'user', 'content': 'a'}\n {'role': 'user'}]"}, "unreadable text"),
        ({"rejected": None}, "no column"),
        ({"id": ["a"]}, "bad field"),
        ({"pair_source": True}, "bad field"),
    ],
)
def test_why_a_row_is_dropped(row: dict[str, Any], reason: Any) -> None:
    good = {"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.75}
    rows = [{**good, "prompt": f"q{n}"} for n in range(39)]
    found = counted([*rows, {**good, "prompt": "q", **row}], method="dpo", loss="hard")
    assert found.report.dropped == {reason: 1}
    assert prompts(found) == [row["prompt"] for row in rows]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.8", r"must be a number, not a text \('0\.8'\)"),
        ("80", r"must be a number, not a text \('80'\)"),
        (80, "80 is not from 0 to 1"),
        (1.01, r"1\.01 is not from 0 to 1"),
        (-0.5, r"-0\.5 is not from 0 to 1"),
        (float("nan"), "nan is not from 0 to 1"),
        (float("inf"), "inf is not from 0 to 1"),
        (True, r"must be a number, not true or false \(True\)"),
        ([0.8], "must be a number, not a list"),
    ],
)
def test_a_label_that_is_no_probability_stops_the_run(value: Any, message: str) -> None:
    pairs = [
        {"prompt": f"q{n}", "chosen": "a", "rejected": "b", "chosen_probability": 0.8}
        for n in range(40)
    ]
    pairs[30]["chosen_probability"] = value
    with pytest.raises(InputError, match=message) as caught:
        counted(pairs, method="dpo")
    assert caught.value.where == "rows.jsonl:31: chosen_probability"
    assert "80 per cent is 0.8" in caught.value.hint


def test_some_rows_without_a_label_stop_the_run() -> None:
    pairs = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(4)]
    labelled = [{**row, "chosen_probability": 0.8} for row in pairs]
    for rows, lacks, has in (
        ([*labelled[:3], pairs[3]], 4, 1),
        ([*pairs[:2], *labelled[2:]], 1, 3),
        ([*labelled[:3], {**pairs[3], "chosen_probability": None}], 4, 1),
    ):
        with pytest.raises(InputError) as caught:
            counted(rows, method="dpo")
        assert caught.value.where == f"rows.jsonl:{lacks}"
        assert f"no chosen_probability, and rows.jsonl:{has} has one" in caught.value.message
        assert "in every row" in caught.value.hint
    cells = "prompt,chosen,rejected,chosen_probability\nq,a,b,0.75\np,a,b,\n"
    Path("rows.csv").write_text(cells)
    settings = resolve_training("dpo", {"data": "rows.csv"})
    with pytest.raises(InputError, match=r"rows\.csv:3: no chosen_probability"):
        load_rows(settings, words(), Path("cache"))
    Path("rows.csv").write_text(cells.replace("p,a,b,\n", ""))
    found = load_rows(settings, words(), Path("cache"))
    assert found.train["chosen_probability"][:] == [0.75]
    edges = [{**row, "chosen_probability": p} for row, p in zip(pairs, (0.500001, 1), strict=False)]
    assert counted(edges, method="dpo").report.dropped == {}


def hh(*said: str) -> str:
    speakers = ("Human", "Assistant") * len(said)
    return "".join(f"\n\n{who}: {text}" for who, text in zip(speakers, said, strict=False))


TALK = [*turns("user", "a"), *turns("assistant", "b"), *turns("user", "c")]
PAIRS: list[dict[str, Any]] = [
    {"chosen": hh("a", "b", "c", "yes"), "rejected": hh("a", "b", "c", "no")},
    {"prompt": "", "chosen": hh("a", "b", "c", "yes"), "rejected": hh("a", "b", "c", "no")},
    {"prompt": hh("a", "b", "c") + "\n\nAssistant:", "chosen": " yes", "rejected": " no"},
    {"prompt": hh("a", "b", "c"), "chosen": "yes", "rejected": "no"},
    {
        "prompt": hh("a", "b", "c") + "\n\nAssistant:",
        "chosen": hh("a", "b", "c", "yes"),
        "rejected": hh("a", "b", "c", "no"),
    },
    {
        "prompt": TALK,
        "chosen": [*TALK, *turns("assistant", "yes")],
        "rejected": hh("a", "b  ", "c\n", "no"),
    },
    {
        "prompt": json.dumps(TALK),
        "chosen": str([*TALK, *turns("assistant", "yes")]),
        "rejected": turns("assistant", "no"),
    },
    {
        "chosen": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"},
                   {"from": "human", "value": "c"}, {"from": "gpt", "value": "yes"}],
        "rejected": [*TALK, *turns("assistant", "no")],
    },
]  # fmt: skip


@pytest.mark.parametrize("row", PAIRS)
@pytest.mark.parametrize("windows", [False, True])
def test_every_form_of_a_pair_is_the_same_pair(row: dict[str, Any], windows: bool) -> None:
    if windows:
        row = {k: v.replace("\n", "\r\n") if isinstance(v, str) else v for k, v in row.items()}
    found = counted([row], method="dpo", loss="hard")
    assert found.report.dropped == {}
    (row,) = found.train
    assert asked(row) == "user a <end> assistant b <end> user c <end> assistant"
    sides = [spoken(row[name]) for name in ("chosen_ids", "rejected_ids")]
    assert sides == ["yes <end>", "no <end>"]
    assert row["chosen_probability"] == 1.0


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*TALK, *turns("assistant", "yes")]},
        {"messages": json.dumps([*TALK, *turns("assistant", "yes")])},
        {"prompt": None, "completion": None, "messages": [*TALK, *turns("assistant", "yes")]},
        {
            "conversations": [
                {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"},
                {"from": "human", "value": "c"}, {"from": "gpt", "value": "yes"},
            ]
        },
        {"prompt": hh("a", "b", "c"), "completion": "yes"},
        {"prompt": hh("a", "b", "c") + "\n\nAssistant:", "completion": " yes"},
        {"prompt": hh("a", "b", "c"), "completion": hh("a", "b", "c", "yes")},
        {"completion": hh("a", "b", "c", "yes")},
        {"prompt": TALK, "completion": [*TALK, *turns("assistant", "yes")]},
    ],
)  # fmt: skip
def test_every_form_of_a_demonstration_is_the_same_demonstration(row: dict[str, Any]) -> None:
    found = counted([row])
    (made,) = found.train
    assert asked(made) == "user a <end> assistant b <end> user c <end> assistant"
    assert learnt(made) == "yes <end>"


@pytest.mark.parametrize(
    ("prompt", "first"),
    [("q", "q\n"), ("q\r\nr", "q\nr"), ("q  ", "q"), (turns("user", "q\n"), " q ")],
)
def test_white_space_makes_no_other_prompt(prompt: Any, first: str) -> None:
    sides = {
        name: [*turns("user", first), *turns("assistant", text)]
        for name, text in (("chosen", "a"), ("rejected", "b"))
    }
    found = counted([{"prompt": prompt, **sides}], method="dpo", loss="hard")
    assert found.report.dropped == {}
    expected = turns("user", prompt) if isinstance(prompt, str) else prompt
    (example,) = read_source("rows.jsonl", "preferences").train
    assert isinstance(example, Example)
    assert messages_as_data(example.prompt) == expected  # as it is written


def test_a_system_message_of_its_own_column_leads_the_prompt() -> None:
    row = {"system": "Be brief.", "prompt": "q", "chosen": "a", "rejected": "b"}
    found = counted([row], method="dpo", loss="hard")
    assert asked(found.train[0]) == "system Be brief. <end> user q <end> assistant"


def test_training_reads_compressed_files_and_tables() -> None:
    row = {"prompt": "q", "completion": "a"}
    for name in ("rows.jsonl.gz", "rows.jsonl"):  # the second without the end that says so
        Path(name).write_bytes(gzip.compress(json.dumps(row).encode()))
        settings = resolve_training("sft", {"data": name})
        assert prompts(load_rows(settings, words(), Path("cache"))) == ["q"]
    for name, text in (
        ("rows.csv", "prompt,completion\nq,a\n"),
        ("rows.tsv", "prompt\tcompletion\nq\ta\n"),
    ):
        Path(name).write_bytes(text.encode("utf-16"))
        settings = resolve_training("sft", {"data": name})
        assert prompts(load_rows(settings, words(), Path("cache"))) == ["q"]


def test_broken_lines_are_counted_and_too_many_stop_the_run() -> None:
    lines = [json.dumps({"prompt": f"q{n}", "completion": "a"}) for n in range(40)]
    lines[7] = '{"prompt": "q7", "compl'
    Path("rows.jsonl").write_text("\n".join(lines))
    settings = resolve_training("sft", {"data": "rows.jsonl"})
    found = load_rows(settings, words(), Path("cache"))
    assert (found.report.kept, found.report.dropped) == (39, {"broken line": 1})
    lines[8:11] = ["{", "5", "x"]
    Path("rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        load_rows(settings, words(), Path("cache"))
    assert caught.value.where == "rows.jsonl:8"
    for number in (9, 10, 11):
        assert f"\nrows.jsonl:{number}: " in caught.value.message
    assert "4 of 40 rows cannot be used: 4 broken line (10.0%" in caught.value.message
    assert "one JSON object a line" in caught.value.hint


def test_duplicates_have_one_prompt_and_the_same_answers() -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.7}
    rows = [row, {**row, "chosen_probability": 0.9}, {**row, "chosen": "b", "rejected": "a"}]
    found = counted(rows, method="dpo")
    assert found.report.dropped == {"duplicate": 1}
    assert [r["chosen_probability"] for r in found.train] == [0.7, 0.7]  # the first, the swapped
    sft = [{"prompt": p, "completion": c} for p, c in (("q", "a"), ("q", "b"), ("q", "a"))]
    assert counted(sft).report.dropped == {"duplicate": 1}


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("Say  HELLO\nnow", True),
        (" say hello now ", True),
        ("\uff33\uff41\uff59 hello now", True),  # full-width letters
        ("say hello now!", False),
        ("sayhello now", False),
    ],
)
def test_what_leaks(load: Load, tmp_path: Path, text: str, leaks: bool) -> None:
    system = turns("system", "Be brief.")
    talk = [*turns("user", "hi"), *turns("assistant", "hello")]
    train = [
        demonstration(0),
        demonstration(1, prompt=turns("user", text)),
        demonstration(2, prompt=[*system, *turns("user", text)]),  # another system text
        demonstration(3, prompt=[*talk, *turns("user", text)]),  # another conversation
    ]
    test = [
        demonstration(9, prompt=turns("user", "say hello now")),
        # What is not tested for its length or its answer still must not be trained on.
        demonstration(10, prompt=turns("user", "Question 0?"), completion=turns("assistant", "")),
    ]
    found = load("sft", write(tmp_path / "run", "sft", train=train, test=test))
    assert found.report.dropped == {"leak": 3 if leaks else 1}
    assert found.report.test is not None
    assert found.report.test.dropped == {"empty answer": 1}


def test_pair_source_and_margin() -> None:
    base = {"prompt": "q", "rejected": "b"}
    sources = [{**base, "chosen": s, "pair_source": s} for s in ("revision", "sampled", "revision")]
    sources[2]["prompt"] = "q2"
    for wanted, kept in (("all", 3), ("revision", 2), ("sampled", 1)):
        found = counted(sources, method="dpo", loss="hard", pair_source=wanted)
        assert found.report.kept == kept
        assert found.report.dropped == ({"pair source": 3 - kept} if kept < 3 else {})
    Path("other.jsonl").write_text(json.dumps({**base, "chosen": "a"}) + "\n")  # names no source
    found = counted(sources, method="dpo", loss="hard", pair_source="sampled", mix=["other.jsonl"])
    assert [source.kept for source in found.report.sources] == [1, 1]
    with pytest.raises(CaiError, match="no column pair_source"):
        counted([{**base, "chosen": "a"}], method="dpo", loss="hard", pair_source="sampled")
    margins = [{**base, "chosen": str(p), "chosen_probability": p} for p in (0.625, 0.75, 0.875)]
    found = counted(margins, method="dpo", min_margin=0.5)  # 2 x 0.75 - 1, and equal is enough
    assert found.report.dropped == {"margin": 1}
    assert found.train["chosen_probability"][:] == [0.75, 0.875]
    seven = [{**base, "chosen": "a", "chosen_probability": 0.7}]
    found = counted(seven, method="dpo", min_margin=0.4)
    assert found.train["chosen_probability"][:] == [0.7]  # 2 x 0.7 - 1 < 0.4 in floating point


def test_lengths_are_of_the_prompt_the_longer_answer_and_the_end() -> None:
    # user a b <end> assistant x y z <end>: 9 tokens, of which 5 are the prompt's.
    row = {"prompt": "a b", "chosen": "x y z", "rejected": "w", "chosen_probability": 0.8}
    found = counted([row], method="dpo", max_length=9)
    assert found.report.tokens == TokenStatistics(mean=9, p95=9, max=9)
    found = counted([row, {**row, "prompt": "a", "rejected": "v"}], method="dpo", max_length=8)
    assert found.report.dropped == {"too long": 1}  # 9 > 8; the other has 8
    swapped = {**row, "chosen": "w", "rejected": "x y z"}
    assert counted([swapped], method="dpo", max_length=9).report.tokens.max == 9


def test_a_cut_leaves_at_least_one_token_of_the_answer() -> None:
    rows = [
        {"prompt": "a b", "completion": "x y z"},  # 5 + 4
        {"prompt": "a b c", "completion": "x"},  # 6 + 2
        {"prompt": "a", "completion": "x"},  # 4 + 2
    ]
    found = counted(rows, too_long="cut", max_length=6)
    assert found.report.dropped == {"too long": 1}  # the prompt of the second has 6 already
    assert (found.report.cut, found.report.kept) == (1, 2)
    assert found.report.tokens == TokenStatistics(mean=6, p95=6, max=6)
    assert [learnt(row) for row in found.train] == ["x", "x <end>"]  # the cut teaches no end
    assert any("1 of 2 rows are cut" in text for text in found.report.warnings)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_lengths_are_those_that_trl_trains_on(method: Any, tiny: Path, tokenizer: Any) -> None:
    from cai.train.build import make_trainer

    answers = ["yes", "word " * 40, "no, and why"]
    names = ("completion",) if method == "sft" else ("chosen", "rejected")
    rows = [
        {"prompt": f"Question {n}?", **{name: f"{name} {text}" for name in names}}
        for n, text in enumerate(answers)
    ]
    rows = [row | ({"chosen_probability": 0.8} if method == "dpo" else {}) for row in rows]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"data": "rows.jsonl", "max_length": 70, "batch_size": 1, "device": "cpu"}
    settings = resolve_training(method, {**given, "too_long": "cut", "max_too_long": 1.0})
    found = load_rows(settings, Encoder(Chat(tokenizer), "<|im_end|>"), Path("cache"))
    rows = (found.train, found.eval)
    trainer = make_trainer(settings, tiny, Path("out"), tokenizer, rows, Console(quiet=True))
    batches = [trainer.data_collator([row]) for row in trainer.train_dataset]
    lengths = [int(batch["attention_mask"].sum(1).max()) for batch in batches]
    assert max(lengths) == 70 > sorted(lengths)[1]
    assert found.report.tokens == token_statistics(lengths)
    assert found.report.cut == 1


@pytest.mark.parametrize(
    ("limit", "stops"), [(0.25, False), (0.2499, True), (0.0, True), (1.0, False)]
)
@pytest.mark.parametrize("way", ["drop", "cut"])
def test_the_share_of_rows_that_are_too_long(limit: float, stops: bool, way: str) -> None:
    rows = [{"prompt": str(n), "completion": "x " * (1 + 9 * (n == 2))} for n in range(4)]
    given = {"max_length": 10, "max_too_long": limit, "too_long": way}
    if not stops:
        assert counted(rows, **given).report.read == 4
        return
    with pytest.raises(CaiError) as caught:
        counted(rows, **given)
    assert "1 of 4 rows (25.0%) have more than max_length = 10 tokens" in caught.value.message
    assert "of rows.jsonl, has 15" in caught.value.message  # user 2 <end> assistant 10x <end>
    assert f"max_too_long is {limit}" in caught.value.hint


# --- what the template does not take


def without(role: str, text: str = "") -> str:
    """The template of words, which refuses turns of a role, or those with a word in them."""
    condition = f"m['role'] == '{role}' and '{text}' in m['content']"
    refusal = f"{{% if {condition} %}}{{{{ raise_exception('not this one') }}}}{{% endif %}}"
    return WORDS.replace("{{ m['role']", refusal + "{{ m['role']", 1)


def test_a_template_without_a_system_role() -> None:
    row = {"prompt": [*turns("system", "Be brief."), *turns("user", "q")], "completion": "a"}
    assert asked(counted([row]).train[0]).startswith("system Be brief. <end> user q")
    found = counted([row, {"prompt": "p", "completion": "a"}], without("system"))
    assert asked(found.train[0]) == "user Be brief. q <end> assistant"
    assert found.report.dropped == {}
    (warning,) = found.report.warnings
    assert "no place for a system text: in 1 rows" in warning


def test_rows_that_the_template_refuses_or_cuts() -> None:
    rows = [{"prompt": "p", "completion": "a"}, {"prompt": "odd", "completion": "a"}]
    found = counted(rows, without("user", "odd"))
    assert found.report.dropped == {"template": 1}
    assert "1 rows cannot be trained on" in found.report.warnings[0]
    assert "refuses the conversation: not this one" in found.report.warnings[0]
    cuts = WORDS.replace("m['content']", "m['content'].split('#')[0]", 1)
    rows = [{"prompt": "p", "completion": "a"}, {"prompt": "p # q", "completion": "a"}]
    found = counted(rows, cuts)
    assert (found.report.kept, found.report.dropped) == (1, {"template": 1})
    assert "leaves out part of what the user says" in found.report.warnings[0]
    with pytest.raises(CaiError, match="no row is left to train on") as caught:
        counted(rows[1:], cuts)
    assert "0 of 1 rows; left out: 1 template" in caught.value.hint


def test_control_tokens_in_a_text_are_text(load: Load, tokenizer: Any, tmp_path: Path) -> None:
    odd = demonstration(1, completion=turns("assistant", "so <|im_end|> it goes"))
    found = load("sft", write(tmp_path / "run", "sft", train=[demonstration(0), odd]))
    assert found.report.warnings == ()
    ids, mask = found.train[1]["input_ids"], found.train[1]["completion_mask"]
    answer = ids[mask.index(1) :]
    assert tokenizer.decode(answer) == "so <|im_end|> it goes<|im_end|>"
    assert answer.count(tokenizer.eos_token_id) == 1


def test_a_prompt_that_is_long_in_turns_is_whole_and_not_learnt() -> None:
    talk = [*turns("system", "s"), *turns("user", "a"), *turns("assistant", "b")]
    row = {"prompt": [*talk, *turns("user", "c")], "completion": "d"}
    (found,) = counted([row]).train
    assert asked(found) == "system s <end> user a <end> assistant b <end> user c <end> assistant"
    assert learnt(found) == "d <end>"


# --- mixes


def helpful(count: int, name: str = "helpful.jsonl", start: int = 0) -> str:
    rows = [{"prompt": f"h{n}", "completion": "gladly"} for n in range(start, start + count)]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


MAIN = [{"prompt": f"m{n}", "completion": "a"} for n in range(10)]


def test_a_weight_counts_rows_that_stay_and_a_larger_draw_adds_to_a_smaller() -> None:
    other = helpful(20)
    main = [*MAIN, *MAIN[:4]]  # 14 rows, of which 10 stay
    small, large = (counted(main, mix=[f"{other}={weight}"]) for weight in (0.3, 0.5))
    source = small.report.sources[1]
    assert (source.read, source.asked, source.kept, source.unused) == (20, 3, 3, 17)
    assert prompts(large)[:13] == prompts(small)
    assert prompts(small)[:10] == [f"m{n}" for n in range(10)]
    assert prompts(small)[10:] != ["h0", "h1", "h2"]
    # By the hash of (seed, id); the id of a row without one is that of its content.
    drawn = counted(main, mix=[f"{other}=0.3"], seed=1)
    assert set(prompts(drawn)[10:]) != set(prompts(small)[10:])


def test_a_mix_that_is_too_small_is_taken_whole_and_reported() -> None:
    found = counted(MAIN, mix=[f"{helpful(4)}=1.5"])
    assert found.report.sources[1].kept == 4
    assert found.report.warnings == (
        "helpful.jsonl: 4 rows, fewer than were asked for (1.5 x 10 = 15)",
    )
    assert counted(MAIN, mix=[helpful(4)]).report.warnings == ()


def test_a_mix_gives_no_row_of_another_source_and_none_of_the_test_split(
    load: Load, texts: Any, tmp_path: Path
) -> None:
    first = helpful(4)  # h0 to h3
    second = helpful(4, "more.jsonl", start=2)  # h2 to h5
    again = {"prompt": turns("user", "h0"), "completion": turns("assistant", "gladly")}
    main = [demonstration(0), demonstration(1, **again)]
    test = [demonstration(9, prompt=turns("user", "H5"))]
    run = write(tmp_path / "run", "sft", train=main, test=test)
    found = load("sft", run, mix=[first, second])
    assert [s.dropped for s in found.report.sources] == [
        {}, {"duplicate": 1}, {"duplicate": 2, "leak": 1},
    ]  # fmt: skip
    assert sorted(texts(found)) == ["Question 0?", "h0", "h1", "h2", "h3", "h4"]
    assert found.report.dropped == {"duplicate": 3, "leak": 1}
    assert (found.report.read, found.report.kept) == (10, 6)


def test_a_mix_passes_over_rows_that_are_too_long() -> None:
    rows = [{"prompt": f"h{n}", "completion": "x " * (1 + 50 * (n % 2))} for n in range(10)]
    Path("other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = counted(MAIN, mix=["other.jsonl=0.5"], max_length=20)
    source = found.report.sources[1]
    assert source.kept == 5
    assert all(int(p[1:]) % 2 == 0 for p in prompts(found)[10:])
    assert source.read == source.kept + sum(source.dropped.values()) + source.unused == 10
    with pytest.raises(CaiError, match=r"of other\.jsonl"):
        counted(MAIN, mix=["other.jsonl=0.5"], max_length=20, max_too_long=0.1)


def test_mixes_alone_are_nothing_to_train_on() -> None:
    with pytest.raises(CaiError, match="no row is left"):
        counted([{"prompt": "", "completion": "a"}], mix=[helpful(3)])


def test_pairs_of_a_mix_may_lack_a_label_and_repeat_their_prompt() -> None:
    said = [*turns("user", "q"), *turns("assistant", "good")]
    other = {"prompt": "q", "chosen": said, "rejected": [*said[:1], *turns("assistant", "bad")]}
    Path("other.jsonl").write_text(json.dumps(other) + "\n")
    main = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_probability": 0.75}
    found = counted([main], method="dpo", mix=["other.jsonl"])
    row = found.train[1]
    assert asked(row) == "user q <end> assistant"
    assert [spoken(row[name]) for name in ("chosen_ids", "rejected_ids")] == [
        "good <end>", "bad <end>",
    ]  # fmt: skip
    assert row["chosen_probability"] == 1.0
    assert found.report.labels == LabelStatistics(mean=0.875, saturated=0.5)


def test_a_conversation_is_split_before_its_last_answer() -> None:
    talk = [*turns("user", "a"), *turns("assistant", "b"), *turns("user", "c")]
    found = counted([{"messages": [*talk, *turns("assistant", "d")]}, {"messages": talk}])
    (row,) = found.train
    assert asked(row) == "user a <end> assistant b <end> user c <end> assistant"
    assert learnt(row) == "d <end>"
    assert found.report.dropped == {"empty answer": 1}  # it has none


# --- sources


def test_a_dataset_in_the_form_of_the_hub(load: Load, tmp_path: Path) -> None:
    """By its card a run folder is a dataset with configurations, as it is on the Hub."""
    run = tmp_path / "run"
    train, test = [demonstration(n) for n in range(3)], [demonstration(9)]
    write(run, "sft", train=train, test=test)
    write(run, "preferences", train=[pair(n) for n in range(4)])
    (run / "README.md").write_text(
        "---\nconfigs:\n- config_name: preferences\n  data_files:\n"
        "  - split: train\n    path: preferences/train.parquet\n"
        "- config_name: sft\n  data_files:\n"
        "  - split: train\n    path: sft/train.parquet\n"
        "  - split: test\n    path: sft/test.parquet\n---\n"
    )
    datasets.disable_progress_bars()
    here = load("sft", str(run))
    hub = load("sft", f"hf:{run}")
    assert hub.train[:] == here.train[:]
    assert hub.eval is not None
    assert len(hub.eval) == 1
    assert hub.report.rows_digest == here.report.rows_digest
    assert set(hub.report.files) == {f"hf:{run} train", f"hf:{run} test"}
    assert len(load("dpo", f"hf:{run}").train) == 4
    named = load("sft", f"hf:{run}:sft:test")
    assert (len(named.train), named.eval) == (1, None)
    with pytest.raises(CaiError, match="no split dev; there are: train, test"):
        load("sft", f"hf:{run}:sft:dev")
    with pytest.raises(CaiError, match="no column completion"):
        load("sft", f"hf:{run}:preferences")
    with pytest.raises(CaiError) as caught:
        load("sft", "hf:nobody/nothing-at-all")
    assert caught.value.message.startswith("hf:nobody/nothing-at-all: ")
    assert "hf auth login" in caught.value.hint


def test_what_is_wrong_with_a_run(load: Load, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def error(method: str = "sft") -> CaiError:
        with pytest.raises(CaiError) as caught:
            load(method, str(run))
        return caught.value

    assert "no such run or file" in error().message
    run.mkdir()
    assert error().message == f"{run}: not a run folder"
    (run / "calls.sqlite").touch()
    assert "has not come to its end" in error().message
    assert "cai generate" in error().hint
    (run / "manifest.json").touch()
    assert "the sft dataset is empty or was not made" in error().message
    assert "failures.jsonl" in error().hint
    write(run, "sft", test=[demonstration(0)])
    assert "has test rows only" in error().message
    table = pa.Table.from_pylist([demonstration(0)])
    pq.write_table(table.slice(0, 0), run / "sft" / "train.parquet")
    assert "has test rows only" in error().message
    pq.write_table(table.drop(["completion"]), run / "sft" / "train.parquet")
    assert "no column completion; there are: 'id', 'prompt'" in error().message
    pq.write_table(table.drop(["id"]), run / "sft" / "train.parquet")
    assert "no column id" in error().message
    pq.write_table(table.set_column(1, "prompt", pa.array([[1, 2]])), run / "sft" / "train.parquet")
    assert "prompt[0]: a message must be an object, not a number" in error().message
    (run / "sft" / "train.parquet").write_bytes(b"PAR1")
    assert "not Parquet that can be read" in error().message
    rows = pa.Table.from_pylist([pair(0)])
    for column in ("chosen_probability", "pair_source", "rejected"):
        write(run, "preferences", train=rows.drop([column]).to_pylist())
        assert f"no column {column}" in error("dpo").message
    write(run, "preferences", train=[pair(0, p="0.8")])  # type: ignore[arg-type]
    assert "chosen_probability: must be a number, not a text ('0.8')" in error("dpo").message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8: byte 0xff"),
        (b"[1]", "a list, not an object"),
        (b'{"prompt": "a", "chosen": "b"}', "no column completion; there are: 'prompt', 'chosen'"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_lines_that_are_wrong_are_named(load: Load, line: bytes, message: str) -> None:
    Path("rows.jsonl").write_bytes(b'{"prompt": "a", "completion": "b"}\n\n' + line + b"\n")
    with pytest.raises(InputError) as caught:
        load("sft", "rows.jsonl")
    assert caught.value.where == "rows.jsonl:3"
    assert message in caught.value.message


def test_other_kinds_of_file(load: Load) -> None:
    Path("rows.txt").write_text("a\n")
    with pytest.raises(InputError, match="unknown kind of file"):
        load("sft", "rows.txt")
    pq.write_table(pa.Table.from_pylist([demonstration(0)]), "rows.parquet")
    assert len(load("sft", "rows.parquet").train) == 1


# --- what comes out


def test_the_files_are_read_back_and_the_digests_notice_changes() -> None:
    one, two = counted(MAIN), counted(MAIN)
    (file,) = {Path(d.cache_files[0]["filename"]) for d in (one.train, two.train)}
    assert file.parent == Path("cache").resolve()
    assert one.report == two.report
    assert one.train._fingerprint == two.train._fingerprint  # what is cached by it stays valid
    other = counted([*MAIN[:-1], {"prompt": "m9", "completion": "b"}])
    assert other.report.rows_digest != one.report.rows_digest
    assert other.report.files["rows.jsonl"] != one.report.files["rows.jsonl"]
    assert counted(MAIN[::-1]).report.rows_digest != one.report.rows_digest
    pairs = [{"prompt": "q", "chosen": "a", "rejected": "b", "chosen_probability": 0.75}]
    label = counted(pairs, method="dpo").report.rows_digest
    pairs[0]["chosen_probability"] = 0.8
    assert counted(pairs, method="dpo").report.rows_digest != label
    assert len(list(Path("cache").iterdir())) == 5  # no temporary file is left


def test_a_change_of_the_test_split_is_noticed(load: Load, tmp_path: Path) -> None:
    run = tmp_path / "run"
    one = load("sft", write(run, "sft", train=[demonstration(0)], test=[demonstration(1)]))
    two = load("sft", write(run, "sft", train=[demonstration(0)], test=[demonstration(2)]))
    assert one.report.rows_digest != two.report.rows_digest
    train, test = run / "sft" / "train.parquet", run / "sft" / "test.parquet"
    assert one.report.files[str(train)] == two.report.files[str(train)]
    assert one.report.files[str(test)] != two.report.files[str(test)]


def test_the_report_for_people(load: Load, tmp_path: Path) -> None:
    train = [pair(0, p=0.75), pair(1, p=1.0), pair(1, p=1.0)]
    found = load("dpo", write(tmp_path / "run", "preferences", train=train), eval_every=5)
    report = found.report
    assert found.eval is None
    assert report.warnings == ("there are no test rows, so nothing is evaluated",)
    assert report.lines()[0].endswith("run: 2 of 3 rows; left out: 1 duplicate")
    assert report.lines()[-1] == "chosen_probability: mean 0.875, 50% above 0.99"
    assert DataReport.model_validate_json(report.model_dump_json()) == report


def test_token_statistics() -> None:
    found = token_statistics([*range(20, 0, -1)])
    assert found == TokenStatistics(mean=10.5, p95=19, max=20)  # 19 of 20 are 95 %
    assert token_statistics([7]) == TokenStatistics(mean=7, p95=7, max=7)


ROW = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["a", "A ", "b", "c d", ""]),
        "chosen": st.sampled_from(["x", "y z", "", "w " * 9]),
        "rejected": st.sampled_from(["x", "v"]),
        "chosen_probability": st.sampled_from([0.5, 0.6, 0.9, 1.0]),
        "pair_source": st.sampled_from(["revision", "sampled"]),
    }
)


@given(st.lists(ROW, max_size=12), st.sampled_from(["drop", "cut"]), st.integers(0, 6))
def test_every_row_is_somewhere_in_the_counts(rows: Any, way: Any, wanted: int) -> None:
    settings = resolve_training(
        "dpo",
        {
            "data": "x", "too_long": way, "max_length": 10, "min_margin": 0.5,
            "pair_source": "sampled",
        },
    )  # fmt: skip
    places = [(f"x:{n}", row) for n, row in enumerate(rows)]
    tested = examples([(where, {**row, "prompt": "B"}) for where, row in places], "", "preferences")
    held_out = {e.prompt_key for e in tested if e.prompt_key}
    source = Source("x", examples(places, "x", "preferences"), [], {})
    found = select(source, settings, words(), held_out, count=wanted)
    counts = found.counts
    assert counts.read == counts.kept + sum(counts.dropped.values()) + counts.unused == len(rows)
    assert counts.cut <= counts.kept == len(found.kept) <= wanted
    for kept in found.kept:
        assert kept.pair_source == "sampled"
        assert kept.probability >= 0.75
        assert kept.prompt_key not in held_out
    assert len({e.content_digest for e in found.kept}) == len(found.kept)


def test_ids_of_any_kind_of_column(tmp_path: Path) -> None:
    import datetime

    table = pa.table(
        {"prompt": ["q"], "completion": ["a"], "id": [datetime.date(2024, 1, 1)]},
    )
    pq.write_table(table, "rows.parquet")
    settings = resolve_training("sft", {"data": "rows.parquet"})
    with pytest.raises(InputError, match=r"row 1: id: must be text, not a value of type date"):
        load_rows(settings, words(), Path("cache"))
    folder = tmp_path / "hub"
    folder.mkdir()
    pq.write_table(table.set_column(2, "id", pa.array([7])), folder / "train.parquet")
    settings = resolve_training("sft", {"data": f"hf:{folder}"})
    assert prompts(load_rows(settings, words(), Path("cache"))) == ["q"]
