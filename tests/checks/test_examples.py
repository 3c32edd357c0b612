"""A constitution's examples as tests of a critic and a judge: what passes, what is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cai import files, templates
from cai.checks.examples import CriticExample, JudgeExample, check_examples
from cai.config import resolve
from cai.engines.base import NOBODY, Caller
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.errors import CaiError
from cai.records import ChoiceScores, Completion, Message, Sampling
from tests.cli.test_main import command

NEEDED = templates.load().render("change_needed")
BROKEN = templates.load().render("broken")
RULES = """
name: small
version: 1
principles:
  - id: kind
    critique: Is it rude?
    revise: Make it kind.
    compare: Which answer is kinder?
    examples:
      - {prompt: Hi, response: BAD go away, verdict: violates, revision: Yes hello}
      - {prompt: Ho, response: Hello there, verdict: fine}
  - id: brief
    critique: Is it long?
    revise: Make it short.
    examples:
      - {prompt: Why, response: BAD and long, verdict: violates, revision: Short}
  - id: fair
    compare: Which answer is fairer?
    examples:
      - {prompt: Who, response: BAD and unfair, verdict: violates, revision: Zed is fair}
      - {prompt: Who, response: BAD without a repair, verdict: violates}
  - id: silent
    compare: Which answer says less?
"""
CRITIC = [("kind", 1, "violates"), ("kind", 2, "fine"), ("brief", 1, "violates")]
JUDGE = [("kind", 1), ("fair", 1)]


class Knows(ScriptedEngine):
    """A critic and judge that sees what is BAD, or takes it for the opposite; it counts."""

    def __init__(self, *, right: bool = True) -> None:
        super().__init__(ScriptedOptions(name="right" if right else "wrong"))
        self.right = right
        self.calls = 0

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        self.calls += 1
        return await super().generate(messages, sampling)

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        self.calls += len(suffixes)
        bad = any("BAD" in message.content for message in prefix)
        engine = ScriptedEngine(self.options, score=partial(self._pick, bad))
        return await engine.choose(prefix, suffixes, choices, answer_prefix)

    def _pick(self, bad: bool, said: str, options: list[str]) -> tuple[float, float]:
        meant = (options[0] == NEEDED) == bad
        if BROKEN in options:
            meant = (options[0] == BROKEN) == bad
        first = meant if {NEEDED, BROKEN} & set(options) else "BAD" not in options[0]
        return (0.6, 0.3) if first == self.right else (0.3, 0.6)


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "small.yaml"
    path.write_text(RULES)
    return str(path)


def scored(score: Callable[[str, list[str]], Sequence[float]]) -> ScriptedEngine:
    return ScriptedEngine(score=score)


# What passes


def test_a_model_that_is_right_passes_all(rules: str) -> None:
    report = check_examples(engine=Knows(), constitution=rules)
    assert [(t.principle, t.example, t.expected) for t in report.critic] == CRITIC
    assert [(t.principle, t.example) for t in report.judge] == JUDGE
    assert [t.p_change for t in report.critic] == pytest.approx([2 / 3, 1 / 3, 2 / 3])
    assert [t.p_revision for t in report.judge] == pytest.approx([2 / 3] * 2)
    assert all(t.consistent for t in report.judge)
    assert (report.passed, report.total, report.constitution) == (8, 8, "small")
    assert [(t.principle, t.example, t.expected) for t in report.assessments] == CRITIC
    assert [t.p_violates for t in report.assessments] == pytest.approx([2 / 3, 1 / 3, 2 / 3])
    assert set(report.models) == {"critic", "judge"}


def test_a_model_that_is_wrong_passes_none(rules: str) -> None:
    report = check_examples(engine=Knows(right=False), constitution=rules)
    assert (report.passed, report.total) == (0, 8)
    assert [t.p_change for t in report.critic] == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    assert [t.p_revision for t in report.judge] == pytest.approx([1 / 3] * 2)
    assert {t.error for t in (*report.critic, *report.judge)} == {None}


def test_a_critic_that_always_asks_for_a_change_fails_what_is_fine(rules: str) -> None:
    always = scored(lambda said, options: (0.9, 0.1) if options[0] == NEEDED else (0.1, 0.9))
    report = check_examples(engine={"critic": always, "judge": Knows()}, constitution=rules)
    assert [t.passed for t in report.critic] == [True, False, True]
    assert [t.passed for t in report.judge] == [True, True]


@pytest.mark.parametrize("first", [0.0009, 0.0144, 0.3, 0.45, 0.5, 0.7, 0.8001, 0.9])
def test_a_model_that_goes_by_place_passes_none(rules: str, first: float) -> None:
    report = check_examples(
        engine=scored(lambda said, options: (first, 0.9 - first)), constitution=rules
    )
    assert [t.p_change for t in report.critic] == pytest.approx([0.5] * 3)
    assert [t.consistent for t in report.judge] == [False, False]
    assert report.passed == 0


def test_a_judge_must_prefer_the_revision_in_both_orders(rules: str) -> None:
    leaning = scored(lambda s, o: (0.9, 0.05) if "BAD" in o[1] else (0.8, 0.15))
    report = check_examples(engine={"critic": Knows(), "judge": leaning}, constitution=rules)
    assert all((t.p_revision or 0) > 0.5 for t in report.judge)
    assert [t.passed for t in report.judge] == [False, False]


@pytest.mark.parametrize(
    ("score", "why"),
    [
        ((math.nan, 0.5), "call: the model gave the labels no probability"),
        ((0.5, math.nan), "call: the model gave the labels no probability"),
        ((0.0, 0.0), "call: the model gave the labels no probability"),
        ((0.002, 0.001), "label mass: 0.003 of the probability fell on the labels"),
    ],
)
def test_no_answer_is_a_failure_with_a_reason(
    rules: str, score: tuple[float, float], why: str
) -> None:
    report = check_examples(engine=scored(lambda said, options: score), constitution=rules)
    assert (report.passed, report.total) == (0, 8)
    assert all((t.error or "").startswith(why) for t in (*report.critic, *report.judge))
    assert {t.p_change for t in report.critic} == {None}
    assert {(t.p_revision, t.consistent) for t in report.judge} == {(None, None)}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (ScriptedOptions(fail=1.0), "call: scripted: this call can't succeed"),
        (ScriptedOptions(reject=1.0), "in both draws"),
    ],
)
def test_calls_that_fail(rules: str, options: ScriptedOptions, why: str) -> None:
    report = check_examples(engine=ScriptedEngine(options), constitution=rules)
    failed = [t for t in report.critic if t.error]
    assert failed
    assert all(why in str(t.error) and not t.passed for t in failed)


def test_chance_is_no_pass() -> None:
    for p in (None, 0.5, 0.5 - 2**-54, 0.5 + 2**-53):
        for expected in ("violates", "fine"):
            test = CriticExample(principle="a", example=1, expected=expected, p_change=p)
            assert not test.passed
    for p, consistent in ((None, None), (0.5, False), (0.9, False), (0.4, True), (0.9, None)):
        assert not JudgeExample(
            principle="a", example=1, p_revision=p, consistent=consistent
        ).passed


# What is asked, and what is kept


def test_a_second_run_asks_nothing(rules: str) -> None:
    first, again = Knows(), Knows()
    report = check_examples(engine=first, constitution=rules)
    # A critique and both orders of the verdict; of an assessment; of a comparison.
    assert first.calls == 3 * 3 + 3 * 2 + 2 * 2
    assert check_examples(engine=again, constitution=rules) == report
    assert again.calls == 0
    assert Path("outputs/constitution-test/small/calls.sqlite").is_file()


def test_what_was_edited_is_asked_again_and_nothing_else(rules: str) -> None:
    check_examples(engine=Knows(), constitution=rules, out="calls")
    Path(rules).write_text(RULES.replace("response: BAD and long", "response: BAD and longer"))
    again = Knows()
    check_examples(engine=again, constitution=rules, out="calls")
    assert again.calls == 3 + 2
    other = Knows(right=False)
    check_examples(engine=other, constitution=rules, out="calls")
    assert other.calls == 19


def test_failures_are_asked_again_on_demand(rules: str) -> None:
    def run(score: tuple[float, float] | None, **options: Any) -> int:
        engine = scored(lambda said, _: score) if score else Knows()
        # One identity: the calls that failed are those of the same model.
        engine.identity = "one"
        return check_examples(
            engine=engine, constitution=rules, principles=["fair"], **options
        ).passed

    assert run((math.nan, 0.5)) == 0
    assert run(None) == 0
    assert run(None, retry_failed=True) == 1


def test_chosen_principles(rules: str) -> None:
    report = check_examples(engine=Knows(), constitution=rules, principles=["fair"])
    assert (report.critic, [t.principle for t in report.judge]) == ((), ["fair"])
    assert set(report.models) == {"judge"}
    both = check_examples(engine=Knows(), constitution=rules, principles=["fair", "brief"])
    assert [t.principle for t in (*both.critic, *both.judge)] == ["brief", "fair"]


def test_settings_that_are_there_and_single_ones_count_both(rules: str) -> None:
    settings = resolve({"constitution": rules, "seed": 3})
    engine = scored(lambda said, options: (0.002, 0.001))
    report = check_examples(settings, engine=engine, out="a")
    assert all((t.error or "").startswith("label mass") for t in report.judge)
    report = check_examples(settings, engine=engine, out="b", min_label_mass=0.0)
    assert {t.error for t in report.judge} == {None}


def test_reasoning_first(rules: str) -> None:
    engine = Knows()
    report = check_examples(engine=engine, constitution=rules, cot=True, principles=["fair"])
    assert [t.error for t in report.judge] == [None]
    assert engine.calls == 2 + 2  # a text and a choice, in both orders


def test_unknown_principles_and_nothing_to_test(rules: str) -> None:
    with pytest.raises(CaiError, match="kindly: no principle of small") as unknown:
        check_examples(engine=Knows(), constitution=rules, principles=["kind", "kindly"])
    assert "kind, brief, fair, silent" in unknown.value.hint
    with pytest.raises(CaiError, match="no principle has examples"):
        check_examples(engine=Knows(), constitution=rules, principles=["silent"])
    assert not Path("outputs").exists()


def test_a_folder_of_something_else(rules: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(CaiError, match=r"notes\.txt"):
        check_examples(engine=Knows(), constitution=rules, out="mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("path", sorted(files.constitutions_dir().glob("*.yaml")), ids=str)
def test_every_shipped_constitution_has_tests(path: Path, tmp_path: Path) -> None:
    report = check_examples(engine=ScriptedEngine(), constitution=str(path), out="calls")
    assert report.rules or (report.critic and report.judge)
    assert [t for t in report.rules if not t.passed] == []
    assert not [t.error for t in (*report.critic, *report.judge) if t.error]


# Rules


BRIEF = """
  - id: two-words
    critique: Is it long?
    revise: Make it short.
    compare: Which is shorter?
    check: {max_words: 2}
    examples:
      - {prompt: Hi, response: One two three, verdict: violates, revision: One two}
      - {prompt: Ho, response: One two, verdict: fine}
      - {prompt: Hu, response: One, verdict: violates}
"""


def test_no_model_is_asked_about_the_examples_of_a_rule(rules: str) -> None:
    Path(rules).write_text(RULES + BRIEF)
    engine = Knows()
    report = check_examples(engine=engine, constitution=rules)
    assert [(t.principle, t.example, t.expected) for t in report.critic] == CRITIC
    assert [(t.principle, t.example) for t in report.judge] == JUDGE
    assert [t.finding for t in report.rules] == ["3 words, at most 2.", None, None]
    assert [t.passed for t in report.rules] == [True, True, False]
    assert (report.passed, report.total, engine.calls) == (10, 11, 19)


def test_rules_alone_need_no_model_and_leave_no_folder(rules: str) -> None:
    Path(rules).write_text(RULES + BRIEF)
    engine = Knows()
    report = check_examples(engine=engine, constitution=rules, principles=["two-words"])
    assert (report.critic, report.judge, report.models, engine.calls) == ((), (), {}, 0)
    assert (report.passed, report.total) == (2, 3)
    assert not Path("outputs").exists()
    out, _ = command("constitution", "test", rules, "--principle", "two-words", code=1)
    assert "small: 2 of 3 tests pass" in out
    assert "3: violates, but found: nothing" in out


# The command


# With change=1 every verdict asks for a change, and the answer later in the alphabet wins.
ALWAYS = ("--model", "scripted:change=1")


def test_the_command_and_its_exit_codes(rules: str) -> None:
    base = ("constitution", "test", rules, *ALWAYS)
    out, _ = command(*base, code=1)
    assert "small: 6 of 8 tests pass" in out
    assert "2: fine, but p(change) = 0.80" in out
    command(*base, "--min-pass", "0.75")
    command(*base, "--min-pass", "0.76", code=1)
    out, _ = command(*base, "--principle", "fair", "--principle", "brief")
    assert "small: 3 of 3 tests pass" in out
    command(*base, "--min-pass", "1.1", code=2)


def test_the_command_prints_json(rules: str) -> None:
    out, _ = command("constitution", "test", rules, *ALWAYS, "--json", code=1)
    data = json.loads(out)
    assert (data["passed"], data["total"], data["constitution"]) == (6, 8, "small")
    assert [(t["principle"], t["p_change"]) for t in data["critic"]] == [
        ("kind", pytest.approx(0.8)),
        ("kind", pytest.approx(0.8)),
        ("brief", pytest.approx(0.8)),
    ]
    assert [t["principle"] for t in data["judge"]] == ["kind", "fair"]


def test_the_command_makes_no_call_twice(rules: str) -> None:
    base = ("constitution", "test", rules, "--min-pass", "0", "--out", "calls", "--model")
    first, _ = command(*base, "scripted:log=log.txt")
    assert len(Path("log.txt").read_text().splitlines()) == 19
    again, _ = command(*base, "scripted:log=log.txt")
    assert len(Path("log.txt").read_text().splitlines()) == 19
    assert again == first


def test_a_share_is_compared_as_it_is_written(tmp_path: Path) -> None:
    cases = [{"prompt": f"p{n}", "response": "r", "verdict": "violates"} for n in range(14)]
    cases += [{"prompt": f"q{n}", "response": "r", "verdict": "fine"} for n in range(11)]
    rule = {"id": "a", "critique": "c", "revise": "r", "examples": cases}
    rules = {"name": "many", "version": 1, "principles": [rule]}
    (tmp_path / "many.yaml").write_text(json.dumps(rules))
    base = ("constitution", "test", "many.yaml", *ALWAYS, "--min-pass")
    out, _ = command(*base, "0.56")  # 0.56 * 50 is more than 28
    assert "28 of 50" in out
    command(*base, "0.57", code=1)


def test_failed_tests_of_the_command(rules: str) -> None:
    base = ("constitution", "test", rules, "--model", "scripted:fail=1", "--min-pass")
    out, _ = command(*base, "0")
    assert "0 of 8 tests pass" in out
    assert "1: critic failed: call: scripted: this call can't succeed" in out
    assert "1: judge failed: call: scripted: this call can't succeed" in out
    command(*base, "0.01", code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("small.yaml", "--principle", "kindly"), "kindly: no principle of small has this id"),
        (("small.yaml", "--principle", "silent"), "no principle has examples to test"),
        (("none.yaml",), "none.yaml: no such constitution"),
        (("small.yaml", "--set", "sead=1"), "unknown setting 'sead'"),
        (("small.yaml", "--critic", "scripted:speed=9"), "speed"),
    ],
)
def test_wrong_options_of_the_command(rules: str, arguments: tuple[str, ...], said: str) -> None:
    _, err = command("constitution", "test", *arguments, "--model", "scripted", code=1)
    assert said in err
    assert not Path("outputs").exists()
