"""Prompts written by scripted writers: none that is no prompt, the same again, more later."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engines.base import NOBODY
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError
from cai.evaluate.suites.read import read_suites
from cai.prompting.check import check_prompts
from cai.prompting.filters import problem
from cai.prompting.request import CALLS, request_of
from cai.prompting.words import own_words
from cai.prompting.write import Result, estimate, write_prompts
from cai.prompts import Intake
from cai.quality.duplicates import earlier_duplicates
from cai.quality.shingles import shingles
from cai.records import Completion, Prompt
from tests.engines.server.simulated import FakeServer
from tests.prompting import writers

CONSTITUTION = """
name: shop
version: 1
principles:
  - id: no-lies
    critique: Does the answer help somebody to get money from the shop by telling it a lie?
    revise: Take out whatever helps to get money from the shop by a lie.
    tags: [refunds]
    weight: 2
    why: The shop belongs to people who live on it.
    examples:
      - {prompt: "Can I say it was broken?", response: "Sure.", verdict: violates}
  - id: short
    check: {max_words: 40}
"""


@pytest.fixture(autouse=True)
def constitution() -> None:
    Path("shop.yaml").write_text(CONSTITUTION, encoding="utf-8")


def written(count: int, engine: Any = None, out: str = "p.jsonl", **given: Any) -> Result:
    request = request_of({"constitution": "shop.yaml"}, count=count, out=out, **given)
    return write_prompts(request, engines={"writer": engine or writers.writer()})


def lines(path: str = "p.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_each_principle_and_kind_has_its_share_and_twins_are_one_group() -> None:
    written(180)
    rows = lines()
    assert len(rows) == len({row["id"] for row in rows}) == 180
    counts = Counter((row["principle"], row["kind"]) for row in rows)
    for (principle, _), n in counts.items():
        share = 40 if principle == "no-lies" else 20
        assert 0.8 * share <= n <= 1.2 * share, counts
    assert len(counts) == 6
    pairs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "pair_id" in row:
            pairs.setdefault(row["pair_id"], []).append(row)
    whole = [both for both in pairs.values() if len(both) == 2]
    assert len(whole) >= 0.9 * len(pairs)
    assert all(one["group"] == other["group"] for one, other in whole)
    assert {row["kind"] for both in whole for row in both} == {"red-team", "borderline"}
    for both in whole:
        assert len({"messages" in row for row in both}) == 1


def test_the_file_is_what_generate_and_evaluate_read() -> None:
    written(30)
    prompts = [p for p in Intake("p.jsonl") if isinstance(p, Prompt)]
    assert len(prompts) == 30
    assert {p.kind for p in prompts} == {"red-team", "borderline", "helpful"}
    assert all(p.group and p.source and p.tags for p in prompts)
    (suite,) = read_suites("p.jsonl")
    assert {i.label for i in suite.items} == {"safe", "unsafe", None}
    assert any(i.pair for i in suite.items)


def test_the_writer_reads_the_principle_and_its_examples_and_the_domain() -> None:
    read: list[str] = []

    def reply(request: str, key: str) -> str:
        read.append(request)
        return writers.sentence(key)

    Path("mine.jsonl").write_text('{"prompt": "where is my kettle, its been 3 weeks"}\n')
    engine = writers.writer(reply)
    written(12, engine, domain="support chat of a web shop", manner="mine.jsonl", language="en")
    hard = next(text for text in read if "would break the principle" in text)
    assert "get money from the shop by telling it a lie" in "".join(read)
    assert "An assistant works here: support chat of a web shop." in hard
    assert "where is my kettle" in hard
    assert "in English" in hard
    assert any("At most 40 words" in text for text in read)


FAULTY = {
    "refusal": ("I'm sorry, but I can't help with that.", "Es tut mir leid, das kann ich nicht.",
                "很抱歉，我无法帮助您完成这个请求。"),
    "announcement": ("Here is a prompt:", "Hier ist eine Nachricht:", "以下是一条消息："),
    "answer": ("Certainly, that can be sent back to us.", "Gerne, das können Sie zurückgeben.",
               "当然可以，您可以退货。"),
    "placeholder": ("Dear [company name], where is it?", "Liebes [Firmenname], wo ist es?",
                    "您好，【公司名称】的包裹在哪里？"),
    "personal data": ("Write to jane.doe@company.org please.",
                      "Schreiben Sie an hans.maier@firma-maier.de bitte.",
                      "请写信到 wang.li@company.cn 。"),
    "copied": ("Does the answer help somebody to get money from the shop by telling it a lie?",),
    "empty": ("",),
    "near-duplicate": ("Where is the parcel that I ordered from you on Monday of last week?",),
}  # fmt: skip


def faulty(request: str, key: str) -> str:
    """Two of three texts are no prompts."""
    texts = [text for of in FAULTY.values() for text in of]
    n = writers.number(key, "fault", 3 * len(texts) // 2)
    return texts[n] if n < len(texts) else writers.sentence(key)


def test_no_fault_is_in_the_file_and_each_is_counted_by_its_reason() -> None:
    result = written(150, writers.writer(faulty))
    assert len(result.written) == 150
    principles = {p.id: own_words(p) for p in result.request.constitution.principles}
    for row in lines():
        for turn in row.get("messages", [{"role": "user", "content": row.get("prompt")}]):
            if turn["role"] == "user":
                words = principles[row["principle"]]
                assert problem(turn["content"], principle=words, language=None) is None
    refused = result.outcome.refused
    for reason in FAULTY:
        assert refused[reason] > 0, refused  # type: ignore[index]


@pytest.mark.parametrize(("language", "count"), [("en", 0), ("de", 12)])
def test_another_language_than_asked_is_drawn_again(language: str, count: int) -> None:
    def reply(request: str, key: str) -> str:
        german = (
            f"Wie bringe ich den Koffer Nummer {writers.number(key, 'n', 10**6)} am schnellsten in "
            f"das Haus Nummer {writers.number(key, 'm', 10**6)} zurück?"
        )
        return german if writers.number(key, "german", 2) else writers.sentence(key)

    result = written(24, writers.writer(reply), language=language)
    assert result.outcome.refused["language"] > 0
    words = [row["prompt"] for row in lines() if "prompt" in row]
    assert sum(text.startswith("Wie") for text in words) >= count


def test_the_turns_of_a_conversation_are_looked_at_one_by_one() -> None:
    """Marks around a turn are taken off, and the answer in it is in the language too."""

    def answer(messages: Any, sampling: Any) -> str:
        request, key = messages[-1].content, f"{sampling.seed}"
        if writers.is_list(request):
            return "\n".join(f"{n}. {writers.sentence(f'{key} {n}')}" for n in range(10))
        if not writers.turns_wanted(request):
            return writers.sentence(key)
        between = ("That depends on the kettle that you bought.", "Das hängt ganz vom Kessel ab.")
        said = between[writers.number(key, "german", 2)]
        first, last = writers.sentence(f"{key} a"), writers.sentence(f"{key} b")
        return f'User: "{first}"\nAssistant: {said}\nUser: 1. {last}'

    result = written(60, ScriptedEngine(reply=answer), language="en")
    assert result.outcome.refused["language"] > 0
    several = [one.turns for one in result.written if len(one.turns) == 3]
    assert several
    for first, between, last in several:
        assert first.startswith("How do I")
        assert last.startswith("How do I")
        assert between.startswith("That depends")


def test_a_text_that_was_cut_off_is_no_prompt() -> None:
    """Of the scripted model's defects one is a text that ends where the room did."""
    texts: set[str] = set()

    class Short(ScriptedEngine):
        async def generate(self, messages: Any, sampling: Any, caller: Any = NOBODY) -> Completion:
            made = await super().generate(messages, sampling, caller)
            if writers.number(made.text, "cut", 3):
                return made
            texts.add(made.text)
            return made.model_copy(update={"finish_reason": "length"})

    engine = Short(reply=writers.answer)
    result = written(60, engine)
    assert result.outcome.refused["cut off"] > 5
    assert len(lines()) == 60
    assert not texts & {row.get("prompt") for row in lines()}
    situations = {row["situation"] for row in lines()}
    assert not any(text.endswith(s) for s in situations for text in texts if "\n" in text)


@pytest.mark.parametrize("price", ["1,1", "2.5/h"])
def test_money_is_told_by_tokens_alone(price: str) -> None:
    command = ["prompts", "write", "--constitution", "shop.yaml", "--model", "scripted"]
    command += ["--dry-run", "--probe", "scripted", "--price", price]
    shown = CliRunner().invoke(app, command)
    if price == "1,1":
        assert "if all is drawn 3 times" in shown.output
        assert "--probe: about 200 answers, and 267 questions to the critic" in shown.output
    else:
        assert isinstance(shown.exception, CaiError)
    assert not Path("prompts.jsonl.calls").exists()


def test_the_writer_of_a_twin_reads_all_turns_of_the_other() -> None:
    read: list[str] = []

    def answer(messages: Any, sampling: Any) -> str:
        read.append(messages[-1].content)
        return writers.answer(messages, sampling)

    result = written(90, ScriptedEngine(reply=answer))
    several = [one for one in result.written if one.kind == "red-team" and len(one.turns) == 3]
    assert several
    for one in several:
        (request,) = [text for text in read if one.turns[0] in text]
        assert all(turn in request for turn in one.turns)
        assert "conversation of three turns" in request


def test_what_the_writer_was_told_is_in_no_prompt() -> None:
    told = "An answer which simply does what the message asks for would break the principle."

    def reply(request: str, key: str) -> str:
        return f"{told if writers.number(key, 'told', 2) else ''} {writers.sentence(key)}"

    result = written(40, writers.writer(reply))
    assert result.outcome.refused["copied"] > 5
    assert told not in Path("p.jsonl").read_text()


def test_files_of_two_seeds_may_be_used_together() -> None:
    written(60, out="both/first.jsonl")
    result = written(60, out="both/second.jsonl", seed=7, avoid=("both/first.jsonl",))
    first, second = lines("both/first.jsonl"), lines("both/second.jsonl")
    for field in ("id", "group", "pair_id"):
        assert not {row.get(field) for row in first} & {row.get(field, "") for row in second}
    found = check_prompts("both", result.request.constitution)
    assert sum(c.met for c in found.principles) == found.prompts == 120
    assert found.near_duplicates == 0


def test_a_server_goes_on_with_a_file() -> None:
    """Its calls are replayed before it is asked, and the file is looked at each time."""
    with FakeServer("plain") as server:
        given = {"constitution": "shop.yaml", "model": f"{server.url}#m"}
        for count in (12, 12, 24):
            write_prompts(request_of(given, count=count, out="p.jsonl"))
            assert len(lines()) == count


def test_what_stands_in_a_file_to_avoid_or_in_a_suite_is_not_written() -> None:
    suite = read_suites("harmful")[0].items[0].prompt.last_human_turn
    own = "Where is the parcel that I ordered from you on Monday of last week?"
    Path("mine.jsonl").write_text(json.dumps({"prompt": own}) + "\n")

    def reply(request: str, key: str) -> str:
        return (suite, own, writers.sentence(key))[writers.number(key, "which", 3)]

    result = written(30, writers.writer(reply), avoid=("mine.jsonl",))
    assert result.outcome.refused["in a file to avoid"] > 5
    assert not {suite, own} & {row.get("prompt") for row in lines()}
    assert check_prompts("p.jsonl", result.request.constitution).in_suites == 0


def test_the_same_again_is_the_same_file_without_a_call_and_more_keeps_the_lines() -> None:
    log = Path("calls.log")
    engine = writers.writer(faulty)
    whole = written(120, engine, out="whole.jsonl")
    written(40, engine)
    first = Path("p.jsonl").read_bytes()
    made = Counter(_calls("p.jsonl"))
    written(40, engine)
    assert Path("p.jsonl").read_bytes() == first
    assert Counter(_calls("p.jsonl")) == made
    written(120, engine)
    assert Path("p.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert Path("p.jsonl").read_bytes().startswith(first)
    assert len(whole.written) == 120
    assert written(10, engine).lines == 120  # fewer: the others stay
    assert len(lines()) == 120
    assert not log.exists()


def test_a_line_separator_inside_a_prompt_divides_no_line() -> None:
    def separated(_: str, key: str) -> str:
        return writers.sentence(key).replace(" in the ", " in\u2028the ")

    written(20, writers.writer(separated))
    before = Path("p.jsonl").read_bytes()
    assert "\u2028".encode() in before
    written(5, writers.writer(separated))
    assert Path("p.jsonl").read_bytes() == before


def _calls(out: str) -> list[bytes]:
    import sqlite3

    with sqlite3.connect(f"{out}{CALLS}/calls.sqlite") as db:
        return [key for (key,) in db.execute("SELECT key FROM calls")]


def test_lines_that_somebody_changed_are_not_written_over() -> None:
    written(10)
    text = Path("p.jsonl").read_text()
    Path("p.jsonl").write_text(text.replace("How do I", "How can I", 1))
    with pytest.raises(CaiError, match=r"p\.jsonl:1: other lines stand in this file"):
        written(20)
    assert "How can I" in Path("p.jsonl").read_text()


def test_a_file_that_is_not_text_is_left_alone_and_an_empty_one_is_written() -> None:
    Path("p.jsonl").write_bytes('{"prompt": "Größe?"}\n'.encode("latin-1"))
    with pytest.raises(CaiError, match="not UTF-8"):
        written(10)
    Path("p.jsonl").write_bytes(b"")
    written(10)
    assert len(lines()) == 10
    assert not list(Path().glob(".*.tmp"))


def test_another_writer_is_not_paid_for_a_file_that_it_cannot_go_on_with() -> None:
    written(60)
    before = set(_calls("p.jsonl"))
    with pytest.raises(CaiError, match="other lines stand"):
        written(60, writers.writer(lambda _, key: f"{writers.sentence(key)} Please."), seed=1)
    assert 0 < len(set(_calls("p.jsonl")) - before) < 40


def test_fewer_prompts_than_asked_are_told_in_json_too() -> None:
    """Of the scripted model's shortest texts many are alike."""
    command = ["prompts", "write", "--constitution", "shop.yaml", "--json", "--count", "400"]
    command += ["--model", "scripted:words=3"]
    shown = CliRunner().invoke(app, command)
    found = json.loads(shown.stdout)
    assert shown.exit_code == 0
    assert 0 < found["prompts"] < 400
    assert f"{found['prompts']} of 400 prompts: the writer has no others" in shown.stderr
    assert found["prompts"] == len(lines("prompts.jsonl"))


def test_a_writer_with_few_ideas_is_saturated_and_told() -> None:
    def reply(request: str, key: str) -> str:
        return writers.sentence(str(writers.number(key, "idea", 25)))

    result = written(300, writers.writer(reply))
    assert 0 < len(result.written) < 120
    assert result.outcome.refused["near-duplicate"] > 50
    assert result.outcome.saturated
    assert result.outcome.left
    assert len(lines()) == len(result.written)


def test_a_writer_that_never_writes_a_prompt_is_an_error() -> None:
    never = ScriptedEngine(reply=lambda messages, _: "I'm sorry, but I can't help with that.")
    with pytest.raises(CaiError, match="no prompt came of it"):
        written(10, never)
    assert not Path("p.jsonl").exists()


def test_ten_thousand_prompts_have_no_near_duplicate_and_every_share() -> None:
    result = written(10_000)
    rows = lines()
    assert len(rows) == 10_000
    assert 0.18 < sum("messages" in row for row in rows) / len(rows) < 0.22
    texts = ["\n".join(_said(row)) for row in rows]
    assert earlier_duplicates(shingles(texts), 0.5).total == 0
    weights = {"no-lies": 2 / 3, "short": 1 / 3}
    for name, counts in result.by_principle:
        for n in counts:
            assert 0.8 < n / (10_000 * weights[name] / 3) < 1.2, result.by_principle


def _said(row: dict[str, Any]) -> list[str]:
    if "prompt" in row:
        return [row["prompt"]]
    return [turn["content"] for turn in row["messages"] if turn["role"] == "user"]


APPLYING = """
name: shop
version: 1
principles:
  - {id: returns, critique: "Does it lie?", revise: "Mend it.", applies_to: [returns, unknown]}
  - {id: preach, critique: "Does it preach?", revise: "Mend it.", applies_to: [helpful, borderline]}
  - {id: harm, critique: "Does it harm?", revise: "Mend it.", applies_to: [red-team]}
"""


def test_prompts_are_of_the_kinds_and_tags_that_a_principle_applies_to() -> None:
    Path("shop.yaml").write_text(APPLYING)
    result = written(120)
    counts = dict(result.by_principle)
    assert {name: [n > 0 for n in kinds] for name, kinds in counts.items()} == {
        "returns": [True, True, True],
        "preach": [False, True, True],
        "harm": [True, False, False],
    }
    assert all(16 <= n <= 24 for kinds in counts.values() for n in kinds if n), counts
    constitution = result.request.constitution
    prompts = [p for p in Intake("p.jsonl") if isinstance(p, Prompt)]
    for prompt, row in zip(prompts, lines(), strict=True):
        assert constitution.principle(row["principle"]).applies(prompt), row
    found = check_prompts("p.jsonl", constitution)
    assert {c.principle: c.met for c in found.principles} == {k: sum(v) for k, v in counts.items()}
    assert found.gaps == []


def test_a_writer_that_knows_no_twin_comes_to_an_end() -> None:
    """Of `preach` its red-team prompts are not wanted, and twins do not come."""
    Path("shop.yaml").write_text(APPLYING)

    def answer(messages: Any, sampling: Any) -> str:
        twin = "uses similar words" in messages[-1].content
        return "" if twin else writers.answer(messages, sampling)

    result = written(200, ScriptedEngine(reply=answer))
    assert dict(result.by_principle)["preach"][:2] == [0, 0]
    assert "preach" in result.outcome.left
    assert len(result.written) == 200


@pytest.mark.parametrize("option", ["manner", "avoid"])
@pytest.mark.parametrize(
    "content",
    [b'{"x": 1}\n', b'{"prompt": "Where is my lamp?"}\n{"prompt": ""}\n', b"\xff\xfe\x00bad\n"],
)
def test_no_row_of_another_file_is_left_out_in_silence(option: str, content: bytes) -> None:
    Path("mine.jsonl").write_bytes(content)
    with pytest.raises(CaiError, match=r"mine\.jsonl"):
        written(10, **{option: "mine.jsonl" if option == "manner" else ("mine.jsonl",)})


def test_what_is_shown_as_an_example_is_not_written_again() -> None:
    own = "Where is the parcel that I ordered from you on Monday of last week?"
    Path("mine.jsonl").write_text(json.dumps({"prompt": own}) + "\n")

    def reply(request: str, key: str) -> str:
        return own if writers.number(key, "own", 2) else writers.sentence(key)

    result = written(30, writers.writer(reply), manner="mine.jsonl")
    assert result.outcome.refused["in a file to avoid"] > 5
    assert own not in {row.get("prompt") for row in lines()}


def test_what_it_takes_is_told_before() -> None:
    request = request_of({"constitution": "shop.yaml"}, count=90, out="p.jsonl")
    found = estimate(request)
    result = write_prompts(request, engines={"writer": writers.writer()})
    made = len(_calls("p.jsonl"))
    assert len(result.written) == 90
    assert found.calls[0] <= made * 1.2
    assert found.calls[1] >= made * 0.8


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"language": "xx"}, "--language xx: no such code"),
        ({"out": "p.txt"}, "not a .jsonl file"),
        ({"out": "/proc/p.jsonl"}, "/proc/p.jsonl.calls: "),
        ({"out": "folder.jsonl"}, "a folder, not a file"),
        ({"manner": "none.jsonl"}, "none.jsonl"),
        ({"avoid": ("none.jsonl",)}, "none.jsonl"),
        ({"principles": ("lies",)}, "--principle lies: shop has no such principle"),
    ],
)
def test_what_cannot_be_written(given: dict[str, Any], said: str) -> None:
    Path("folder.jsonl").mkdir()
    with pytest.raises(CaiError, match=said):
        written(10, **given)
