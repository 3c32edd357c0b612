"""`cai check judge`: what it prints, writes, refuses and does not ask twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_main import command

# With change=1 the scripted judge prefers the answer later in the alphabet, with 0 the other.
RIGHT, WRONG = "scripted:change=1", "scripted:change=0"
FILES = {"pairs.jsonl", "reliability.png", "reliability.svg", "result.json"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache"


def write_pairs(count: int, name: str = "pairs.jsonl", **fields: Any) -> str:
    """Pairs whose better answer begins with z; in half of them it is the longer one."""
    rows = [
        {
            "id": f"pair-{n}",
            "prompt": f"Question {n}?",
            "chosen": f"z {n}" + " more" * (n % 2),
            "rejected": f"a {n}" + " more" * (1 - n % 2),
            "kind": f"kind-{n % 3}",
            **fields,
        }
        for n in range(count)
    ]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def check(*arguments: str, judge: str = RIGHT, code: int = 0) -> tuple[str, str]:
    return command("check", "judge", "--judge", judge, *arguments, code=code)


def result_of(*arguments: str, judge: str = RIGHT) -> dict[str, Any]:
    out, _ = check(*arguments, "--json", judge=judge)
    found: dict[str, Any] = json.loads(out)
    return found


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("judge", "count", "verdict"),
    [
        (RIGHT, 120, "usable. Right in 100.0% of 120 pairs"),
        (RIGHT, 90, "weak. Right in 100.0% of 90 pairs"),
        (WRONG, 60, "no better than chance. Right in 0.0% of 60 pairs"),
        ("scripted:fail=1", 4, "no better than chance. It gave no label for any of the 4 pairs"),
    ],
)
def test_the_verdict_in_words(judge: str, count: int, verdict: str) -> None:
    out, _ = check("--pairs-file", write_pairs(count), "--out", "check", judge=judge)
    assert verdict in out
    assert "Result, diagram and pairs: check" in out
    assert {p.name for p in Path("check").iterdir()} >= FILES


def test_the_figures_that_are_printed() -> None:
    out, _ = check("--pairs-file", write_pairs(24))
    for name, value in {
        "judge": "scripted:change=1",
        "pairs": "24 scored, 0 not",
        "right answer first / second": "1.000 / 1.000",
        "same answer in both orders": "1.000",
        "first position wins": "0.500",
        "longer answer wins": "0.500",
        "label mass, mean / least": "0.900 / 0.900",
        "kind-2": "8",
    }.items():
        assert any(name in line and value in line for line in out.splitlines()), name
    assert "temperature" in out  # it takes 20 pairs
    assert Path("outputs/judge-check/scripted-change-1/result.json").is_file()


def test_the_shipped_pairs_are_the_default() -> None:
    result = result_of("--out", "check", "--limit", "10")
    assert (result["scored"], result["pairs"]["file"]) == (10, "judge-check.jsonl")
    assert len({row["id"] for row in lines("check/pairs.jsonl")}) == 10


def test_what_is_written(cache: Path) -> None:
    pairs = write_pairs(24)
    with Path(pairs).open("a") as file:
        file.write('{"prompt": "p", "chosen": "", "rejected": "x"}\n')
    result = result_of("--pairs-file", pairs, "--out", "check")
    assert json.loads(Path("check/result.json").read_text()) == result
    assert json.loads((cache / "judges" / f"{result['key']}.json").read_text()) == result
    assert result["pairs"] | {"sha256": ""} == {
        "file": pairs,
        "sha256": "",
        "used": 24,
        "skipped": 1,
        "without a principle": 0,
    }
    *rows, last = lines("check/pairs.jsonl")
    assert [row["id"] for row in rows] == [f"pair-{n}" for n in range(24)]
    assert [row["p_right"] for row in rows] == pytest.approx([0.8] * 24)
    assert {len(row["judgements"]) for row in rows} == {4}
    assert last == {"where": f"{pairs}:25", "skipped": "an answer is empty"}
    assert Path("check/reliability.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("check/reliability.svg").read_text()
    assert not [p.name for p in Path("check").iterdir() if p.name.endswith((".tmp", "-wal"))]


def test_the_same_pairs_from_csv_and_transcripts() -> None:
    wanted = result_of("--pairs-file", write_pairs(6), "--out", "a")
    rows = [[row["prompt"], row["chosen"], row["rejected"]] for row in lines("pairs.jsonl")]
    text = "".join(",".join(row) + "\n" for row in [["prompt", "chosen", "rejected"], *rows])
    Path("pairs.csv").write_text(text)
    talks = [
        {
            "chosen": f"\n\nHuman: {prompt}\n\nAssistant: {yes}",
            "rejected": f"\n\nHuman: {prompt}\n\nAssistant: {no}",
        }
        for prompt, yes, no in rows
    ]
    Path("hh.jsonl").write_text("".join(json.dumps(row) + "\n" for row in talks))
    for name in ("pairs.csv", "hh.jsonl"):
        found = result_of("--pairs-file", name, "--out", name.partition(".")[0])
        same = ("key", "scored", "accuracy", "consistency", "brier", "verdict")
        assert {k: found[k] for k in same} == {k: wanted[k] for k in same}


def test_a_second_run_asks_nothing() -> None:
    judge = "scripted:change=1,log=calls.log"
    base = ("--pairs-file", write_pairs(6), "--out", "check")
    first, _ = check(*base, judge=judge)
    asked = Path("calls.log").read_text().splitlines()
    assert len(asked) == len(set(asked)) == 6 * 4 * 2  # principles, orders
    written = {name: Path("check", name).read_bytes() for name in FILES}
    again, _ = check(*base, judge=judge)
    assert again == first
    assert Path("calls.log").read_text().splitlines() == asked
    assert {name: Path("check", name).read_bytes() for name in FILES} == written
    check(*base, "--judge-principles", "2", judge=judge)
    assert Path("calls.log").read_text().splitlines() == asked


def test_a_limit_asks_for_that_many_and_a_higher_one_for_the_rest() -> None:
    judge = "scripted:log=calls.log"
    base = ("--pairs-file", write_pairs(12), "--out", "check", "--limit")
    check(*base, "3", judge=judge)
    few = {row["id"] for row in lines("check/pairs.jsonl")}
    assert (len(few), len(Path("calls.log").read_text().splitlines())) == (3, 3 * 8)
    check(*base, "5", judge=judge)
    more = {row["id"] for row in lines("check/pairs.jsonl")}
    assert (len(more), len(Path("calls.log").read_text().splitlines())) == (5, 5 * 8)
    assert few < more
    assert result_of(*base, "100", judge=judge)["scored"] == 12
    check(*base, "0", judge=judge, code=2)


def test_calls_that_fail_are_counted_kept_and_asked_again_on_demand() -> None:
    judge = "scripted:fail=0.05,log=calls.log"
    base = ("--pairs-file", write_pairs(40), "--out", "check")
    result = result_of(*base, judge=judge)
    assert result["scored"] + result["unscored"] == 40
    assert result["unscored_reasons"] == {"call": result["unscored"]}
    assert 0 < result["unscored"] < 40
    failed = [row for row in lines("check/pairs.jsonl") if "error" in row]
    assert len(failed) == result["unscored"]
    assert {row["message"] for row in failed} == {"scripted: this call can't succeed"}
    asked = len(Path("calls.log").read_text().splitlines())
    out, _ = check(*base, judge=judge)
    assert f"{result['unscored']} call" in out
    assert len(Path("calls.log").read_text().splitlines()) == asked
    check(*base, "--retry-failed", judge=judge)
    assert len(Path("calls.log").read_text().splitlines()) > asked


def test_reasoning_first_is_another_judge() -> None:
    base = ("--pairs-file", write_pairs(2), "--out", "check")
    plain = result_of(*base)
    reasoned = result_of(*base, "--cot")
    assert (plain["cot"], reasoned["cot"]) == (False, True)
    assert plain["key"] != reasoned["key"]
    reasons = [j["reasoning"] for row in lines("check/pairs.jsonl") for j in row["judgements"]]
    assert len(reasons) == 8
    assert all(len(reason) == 2 and all(reason) for reason in reasons)


# What is refused


@pytest.mark.parametrize(
    ("name", "content", "where", "said"),
    [
        ("a.jsonl", '{"prompt": "p", "chosen": "a", "rejected": "b"}\n{', ":2", "not JSON"),
        (
            "a.jsonl",
            '{"prompt": "p", "chosen": 5, "rejected": "b"}',
            ":1: chosen",
            "missing, or neither",
        ),
        ("a.csv", "prompt,chosen,rejected\np,a,b,c\n", ":2", "4 cells, but the header has 3"),
        ("a.parquet", "", "", "not Parquet"),
        ("a.docx", "", "", "not a kind of file that holds pairs"),
        (None, "", "none.jsonl", "no such file"),
    ],
)
def test_pairs_that_cannot_be_read_leave_nothing(
    name: str | None, content: str, where: str, said: str, cache: Path
) -> None:
    if name is not None:
        Path(name).write_text(content)
    before = set(Path().iterdir())
    out = ("--out", "new") if name == "a.jsonl" else ()
    _, err = check("--pairs-file", name or "none.jsonl", *out, code=1)
    assert f"{name or ''}{where}: {said}" in err
    assert set(Path().iterdir()) == before
    assert not cache.exists()


def test_folders_of_other_things_are_refused(tmp_path: Path) -> None:
    pairs = write_pairs(2)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    _, err = check("--pairs-file", pairs, "--out", "mine", code=1)
    assert "notes.txt" in err
    assert [p.name for p in Path("mine").iterdir()] == ["notes.txt"]
    _, err = check("--pairs-file", pairs, "--out", pairs, code=1)
    assert "a file, not a folder" in err
    Path("empty").mkdir()
    check("--pairs-file", pairs, "--out", "empty")


def test_the_folder_of_a_run_is_refused() -> None:
    pairs = write_pairs(2)
    run = ("generate", "--model", "scripted", "--prompts", "seeds", "--limit", "3", "--out", "run")
    command(*run)
    before = sorted(p.name for p in Path("run").iterdir())
    _, err = check("--pairs-file", pairs, "--out", "run", code=1)
    assert "run: the folder of a run" in err
    assert "--out" in err
    assert sorted(p.name for p in Path("run").iterdir()) == before
    out, _ = command(*run)
    assert "0 made" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--constitution", "none.yaml"), "none.yaml: no such constitution"),
        (("--constitution", "revises.yaml"), "no principle has a comparison question"),
        (("--constitution", "narrow.yaml"), "no principle with `compare` is for any of the pairs"),
        (("--judge", "http://me:secret@localhost/v1#m"), "key in an address"),
        (("--judge-principles", "0"), "judge_principles"),
    ],
)
def test_wrong_options_leave_nothing(arguments: tuple[str, ...], said: str, cache: Path) -> None:
    pairs = write_pairs(2)
    rule = "{id: a, critique: c, revise: r}"
    Path("revises.yaml").write_text(f"name: a\nversion: 1\nprinciples: [{rule}]\n")
    rule = "{id: a, compare: c, applies_to: [helpful]}"
    Path("narrow.yaml").write_text(f"name: a\nversion: 1\nprinciples: [{rule}]\n")
    _, err = check("--pairs-file", pairs, "--out", "check", *arguments, code=1)
    assert said in err
    assert not Path("check").exists()
    assert not cache.exists()


def test_nothing_hostile_reaches_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07[bold]x[/bold] \u202etxet \x9b31m"
    pairs = write_pairs(4, "[red]p[red].jsonl", kind=hostile)
    base = ("--pairs-file", pairs, "--out", "[i]check[i]")
    shown, _ = check(*base)
    as_json, _ = check(*base, "--json")
    Path(pairs).write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": 1}) + "\n")
    _, err = check(*base, code=1)
    for text in (shown, as_json, err):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
    assert "\\x1b]0;owned\\x07[bold]x[/bold]" in shown
    assert "[i]check[i]" in shown
    assert list(json.loads(as_json)["kinds"]) == [hostile]
    assert "[red]p[red].jsonl:1" in err
