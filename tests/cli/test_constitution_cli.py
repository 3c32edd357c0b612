"""`cai constitution lint` and `cai constitution show`."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cai.cli.constitution import app
from cai.errors import CaiError, InputError

CLEAN = """
name: clean
version: 1
principles:
  - id: kind
    critique: Is your last answer kind, or is it a lecture, a refusal or boilerplate?
    revise: Write it again with one concrete detail.
    compare: Which answer is kinder?
    examples: [{prompt: p, response: r, verdict: fine}]
  - id: true
    critique: Which number in it did you make up?
    revise: Give the number you know, or say that you know none.
    compare: Which answer holds fewer inventions?
    examples: [{prompt: p, response: r, verdict: fine}]
few_shot: [{principle: kind, prompt: p, response: r, critique: c, verdict: fine}]
""".replace("id: true", 'id: "true"')
WARNED = CLEAN.replace("Write it again with one concrete detail.", "Remove what is harmful.")
FAULTY = CLEAN.replace("critique: Which", "why: Which").replace(
    "    revise: Give", "    tags: [x] #"
)
FAULTY = FAULTY.replace("    critique: Is", "    why: Is").replace(
    "    revise: Write", "    tags: [x] #"
)
FAULTY = re.sub("few_shot.*", "", FAULTY)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*args: str) -> Result:
    result = CliRunner().invoke(app, args)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write(folder: Path, text: str) -> str:
    path = folder / "c.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "args", "code"),
    [
        (CLEAN, (), 0),
        (CLEAN, ("--strict",), 0),
        (WARNED, (), 0),
        (WARNED, ("--strict",), 1),
        (FAULTY, (), 1),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_exit_code_of_lint(
    tmp_path: Path, text: str, args: tuple[str, ...], code: int, form: tuple[str, ...]
) -> None:
    assert run("lint", write(tmp_path, text), *args, *form).exit_code == code


def test_lint_prints_findings_and_a_count(tmp_path: Path) -> None:
    out = run("lint", write(tmp_path, WARNED)).output
    assert re.search(r"warning +kind: revise: only says what to leave out", out)
    assert "clean: 2 principles, 0 errors, 1 warning, 0 notes" in out


def test_lint_as_json(tmp_path: Path) -> None:
    data = json.loads(run("lint", write(tmp_path, WARNED), "--json").output)
    assert data["name"] == "clean"
    assert len(data["digest"]) == 64
    (finding,) = data["findings"]
    assert finding.keys() == {"severity", "check", "principle", "message"}
    assert (finding["severity"], finding["principle"]) == ("warning", "kind")


def test_lint_takes_the_tags_of_the_users_prompts(tmp_path: Path) -> None:
    text = CLEAN + "  \n"
    text = text.replace("  - id: kind\n", "  - id: kind\n    applies_to: [returns, helpful]\n")
    file = write(tmp_path, text)
    assert "returns is no kind" in run("lint", file).output
    assert "returns is no kind" not in run("lint", file, "--tag", "returns").output


def test_a_shipped_file_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("lint", "default.yaml", "--strict")
    assert result.exit_code == 0
    assert "default: 20 principles, 0 errors, 0 warnings" in result.output
    (tmp_path / "default.yaml").write_text(CLEAN)
    assert "clean: 2 principles" in run("lint", "default.yaml").output


def test_errors_of_the_file_are_for_main_to_print(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run("lint", write(tmp_path, "name: x\n"))
    with pytest.raises(CaiError):
        run("show", "no-such-file.yaml")


def test_show_has_a_row_for_each_principle_with_its_shares(tmp_path: Path) -> None:
    text = CLEAN.replace("  - id: kind\n", "  - id: kind\n    weight: 3\n    tags: [tone]\n")
    text = text.replace("    compare: Which answer is kinder?\n", "    applies_to: [red-team]\n")
    out = run("show", write(tmp_path, text)).output
    (kind,) = (line for line in out.splitlines() if line.startswith("kind "))
    assert kind.split() == ["kind", "revise", "3", "75/–", "–/–", "–/–", "red-team", "tone"]
    assert re.search(r"digest [0-9a-f]{64}", out)
    assert "2 principles, 1 few-shot cases" in out


def test_show_one_principle_in_full() -> None:
    out = run("show", "default.yaml", "no-filler").output
    for words in (
        "no-filler",
        "critique: Mark the sentences",
        "why: ",
        "weight: 0.75",
        "example 2",
    ):
        assert words in out
    assert "revision: About 28.35 grams." in out


def test_show_tells_rules_orders_and_conflicts(tmp_path: Path) -> None:
    rule = (
        "  - {id: brief, order: 2, violation: It rambles., check: {max_words: 9, forbid: ['a|b']}}"
    )
    text = CLEAN.replace("few_shot:", f"{rule}\nfew_shot:")
    file = write(tmp_path, text + "conflicts: [{between: [kind, brief], prompt: p}]\n")
    out = run("show", file).output
    (row,) = (line for line in out.splitlines() if line.startswith("brief "))
    assert row.split() == ["brief", "rule", "2", "1", "–/–", "–/–", "–/–"]
    assert "3 principles, 1 few-shot cases, 1 conflicts" in out
    full = run("show", file, "brief").output
    for words in ('check: max_words: 9, forbid: ["a|b"]', "violation: It rambles.", "order: 2"):
        assert words in full


def test_lint_fails_on_an_example_that_its_rule_denies(tmp_path: Path) -> None:
    example = "{prompt: p, response: a b, verdict: fine}"
    rule = f"  - {{id: brief, check: {{max_words: 1}}, examples: [{example}]}}"
    result = run("lint", write(tmp_path, CLEAN.replace("few_shot:", f"{rule}\nfew_shot:")))
    assert result.exit_code == 1
    assert "brief: example 1 is fine, but breaks the check: 2 words, at most 1." in result.output


def test_an_unknown_principle_suggests_the_nearest() -> None:
    with pytest.raises(CaiError) as caught:
        run("show", "default.yaml", "no-fillers")
    assert "no-filler?" in caught.value.hint


def test_text_of_the_file_is_data_to_the_terminal(tmp_path: Path) -> None:
    hostile = "[red]boo[/red] [link=http://x.example]y[/link] \u202eright [/]"
    text = CLEAN.replace("Which answer is kinder?", json.dumps(hostile))
    text = text.replace("name: clean", f"name: clean\ndescription: {json.dumps(hostile)}")
    text = text.replace("  - id: kind\n", '  - id: kind\n    tags: ["[b]t[/b]"]\n')
    file = write(tmp_path, text)
    overview, full = run("show", file).output, run("show", file, "kind").output
    assert "[b]t[/b]" in overview
    for out in (overview, full):
        assert "[red]boo[/red] [link=http://x.example]y[/link]" in out
        assert "\u202e" not in out
        assert "\x1b" not in out
