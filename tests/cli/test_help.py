"""Help: every option is named, in panels, in one style, and nothing of it is cut at 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cai.cli import VERBS, app, load_verb

MODEL_NAMES = ("Hub name", "folder", "http://host:8000/v1#name", "vllm:NAME", "scripted:")
METAVAR = re.compile(r"[A-Z]+([_/=][A-Z]+)*|[a-z0-9-]+(\|[a-z0-9-]+)*")


def commands() -> Iterator[tuple[str, Any]]:
    for name in VERBS:
        command = load_verb(name)
        yield name, command
        for under, sub in getattr(command, "commands", {}).items():
            yield f"{name} {under}", sub


COMMANDS = dict(commands())


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def help_of(verb: str) -> str:
    done = CliRunner().invoke(app, [*verb.split(), "--help"], prog_name="cai")
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    return done.output


def words_of(param: Any) -> str:
    return (param.help or "").replace("`", "")


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_names_every_option_and_cuts_no_word(verb: str) -> None:
    text = help_of(verb)
    for param in COMMANDS[verb].params:
        names = [*param.opts, *param.secondary_opts]
        if param.param_type_name == "argument":
            names = [param.metavar or ""]
        assert words_of(param), param.name
        for word in [*names, *words_of(param).split()]:
            assert word in text, (param.name, word)


@pytest.mark.parametrize("verb", COMMANDS)
def test_what_stands_for_a_value_has_one_style(verb: str) -> None:
    for param in COMMANDS[verb].params:
        if param.param_type_name == "argument" or not param.is_flag:
            assert METAVAR.fullmatch(param.metavar or ""), (param.name, param.metavar)
        else:
            assert param.metavar is None, param.name


@pytest.mark.parametrize("verb", ["", "train", "constitution", "check"])
def test_a_verb_has_one_line_that_is_not_cut(verb: str) -> None:
    lines = {line.strip("│ ") for line in help_of(verb).splitlines()}
    under = getattr(COMMANDS[verb], "commands", {}) if verb else VERBS
    for name in under:
        [line] = [line for line in lines if re.match(rf"{name}  ", line)]
        assert line.endswith("."), line


def test_the_first_line_of_a_verb_stands_once() -> None:
    for verb, line in VERBS.items():
        assert help_of(verb).count(line) == 1


@pytest.mark.parametrize(
    ("verb", "panels"),
    [
        (
            "generate",
            "Input, Models, Servers, Method, Pairs and labels, Sampling, Output, Gates, This run",
        ),
        ("train sft", "Arguments, Models, Learning, Rows, Output, This run"),
        ("train dpo", "Arguments, Models, Learning, Rows, Preferences, Output, This run"),
        (
            "check judge",
            "Input, Models, Servers, Method, Pairs and labels, Sampling, Output, This run",
        ),
    ],
)
def test_options_stand_in_panels_by_what_they_are_about(verb: str, panels: str) -> None:
    assert re.findall(r"╭─ ([\w ]+) ─", help_of(verb)) == panels.split(", ")


def test_brackets_are_shown_as_they_are_written() -> None:
    text = help_of("generate")
    for literal in ("hf:owner/name[@revision]", "[:config][:split][:column]", "seeds[:kind]"):
        assert literal in text
    assert "[default: all]" in text
    assert "[default: 0.7]" in text
    assert "hf:owner/name[@revision][:config][:split]" in help_of("train sft")
    assert "[required]" in help_of("merge")
    assert "http://host:8000/v1[#name]" in help_of("doctor")


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("generate", "model critic reviser judge sampler"),
        ("check judge", "model judge"),
        ("check critic", "model critic"),
        ("constitution test", "model critic judge"),
    ],
)
def test_the_kinds_of_model_names_are_named(verb: str, options: str) -> None:
    params = {param.name: words_of(param) for param in COMMANDS[verb].params}
    for option in options.split():
        for kind in MODEL_NAMES:
            assert kind in params[option]


@pytest.mark.parametrize(
    ("verb", "option", "kinds"),
    [
        ("generate", "prompts", ".jsonl .csv .tsv .parquet .txt folder hf: seeds"),
        ("check judge", "pairs_file", ".jsonl .csv .tsv .parquet"),
        ("check critic", "cases", ".jsonl .csv .tsv .parquet"),
        ("train sft", "data", ".jsonl .csv .tsv .parquet folder hf:"),
        ("train dpo", "mix", "DATA"),
        ("train sft", "model", "Hub folder"),
        ("constitution import", "file", "YAML JSON .txt"),
    ],
)
def test_the_kinds_of_files_are_named(verb: str, option: str, kinds: str) -> None:
    words = next(words_of(p) for p in COMMANDS[verb].params if p.name == option)
    for kind in kinds.split():
        assert kind in words


def test_a_verb_that_is_nearly_right_is_suggested() -> None:
    done = CliRunner().invoke(app, ["generte"])
    assert done.exit_code == 2
    assert "Did you mean 'generate'?" in done.output
    assert get_command(app).list_commands(None) == list(VERBS)  # type: ignore[attr-defined]


def test_a_name_of_before_is_the_same_command_and_is_not_listed() -> None:
    before = help_of("judge-check").replace("cai judge-check", "cai check judge")
    assert before == help_of("check judge")
    assert "judge-check" not in help_of("")
