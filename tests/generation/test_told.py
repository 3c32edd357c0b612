"""What a run says of itself at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cai
from cai.config import resolve
from cai.engines.scripted import ScriptedEngine
from cai.method import Method, load_method
from cai.roles import trial
from cai.runtime.progress import Quiet


class Told(Quiet):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def told(**given: object) -> list[str]:
    progress = Told()
    cai.generate(out="run", progress=progress, stages=("sft",), **given)  # type: ignore[arg-type]
    return progress.warnings


def test_a_critic_that_guesses_is_named_with_what_to_do(prompts_file: Callable[..., str]) -> None:
    by_place = ScriptedEngine(score=lambda text, options: (0.8, 0.1))
    (words,) = told(engine=by_place, prompts=prompts_file(6), revisions=1)
    assert words.startswith("6 of 6 verdicts changed with the order of the options")
    assert "cai check critic --critic" in words
    run = cai.Run.load("run")
    assert run.manifest.counts["verdicts.inconsistent"] == 6
    assert run.manifest.counts["target.revision"] == 6  # what is unsure is revised


def test_one_that_is_sure_is_not(prompts_file: Callable[..., str]) -> None:
    assert told(engine=ScriptedEngine(), prompts=prompts_file(6)) == []


def test_rules_alone_look_for_no_harm(prompts_file: Callable[..., str]) -> None:
    rules = "name: x\nversion: 1\nprinciples: [{id: a, check: {max_words: 90}}]\n"
    Path("x.yaml").write_text(rules)
    given = {"engine": ScriptedEngine(), "constitution": "x.yaml"}
    (words,) = told(prompts=prompts_file(3, kind="red-team"), **given)
    assert words.startswith("3 prompts are of the kind red-team")
    assert told(prompts=prompts_file(3, name="b.jsonl"), approve=lambda plan: True, **given) == []


def test_prompts_without_a_kind_are_unknown() -> None:
    Path("p.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": "Who?"}\n')
    told(engine=ScriptedEngine(), prompts="p.jsonl")
    run = cai.Run.load("run")
    assert run.manifest.prompts["kinds"] == {"unknown": 2}
    assert "red-team" not in (run.folder / "README.md").read_text().split("<details>")[0]


def asked(by: Method) -> str:
    (question,) = trial(by, ["critic"]).questions
    return question.messages[-1].content


def test_a_server_is_tried_with_the_question_that_its_critic_will_get() -> None:
    default = load_method(resolve({}))
    assert "does the answer need a change?" in asked(default)
    distil = load_method(resolve({"preset": "distil"}))
    assert "Does the answer break the following principle?" in asked(distil)
