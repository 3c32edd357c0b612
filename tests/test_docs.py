"""The documents say what is there: paths, functions, links and commands; lines that can be read."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
WIDTH = 100
# `name` (cai/file.py): how a page says that a file has a function, a class or a method.
NAMED = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)?)`\s+\((cai/[\w/]+\.py)\)")
PATH = re.compile(r"(?<![\w/.])(?:cai|tests|benchmarks|prompts|constitutions)/[\w./-]*[\w/]")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line with its number, and whether it stands in a block of code."""
    fenced = False
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            yield number, line, True
            continue
        # Four spaces after an empty line begin code; below a list item they go on with it.
        indented = line.startswith("    ") and (not before.strip() or before.startswith("    "))
        yield number, line, fenced or indented
        before = line


def long_lines(text: str) -> list[str]:
    """The lines of prose that are too long, with their numbers."""
    return [
        f"{number}: {line}"
        for number, line, code in blocks(text)
        if len(line) > WIDTH
        and not code
        and not line.lstrip().startswith(("|", "#"))
        and not (len(line.split()) <= 2 and "](" in line)  # one long link, perhaps in a list
    ]


def anchors(text: str) -> set[str]:
    """The names under which the headings of a page can be linked to."""
    lines = [line.lstrip("#").strip() for line, code in headings(text) if not code]
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def headings(text: str) -> Iterator[tuple[str, bool]]:
    return ((line, code) for _, line, code in blocks(text) if line.startswith("#"))


def dead_links(page: Path, text: str) -> list[str]:
    """Links to files that do not exist, or to headings that a page does not have."""
    dead = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists():
            dead.append(target)
        elif anchor and path.suffix == ".md":
            there = text if path == page else path.read_text(encoding="utf-8")
            dead += [] if anchor in anchors(there) else [target]
    return dead


def lost_paths(text: str) -> list[str]:
    """Paths of files and folders of the project that do not exist."""
    return [path for path in PATH.findall(text) if not (ROOT / path).exists()]


def names_in(source: str) -> set[str]:
    """Functions, classes and constants of a file, and methods as `Class.method`."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (
                n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            )
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


def lost_names(text: str) -> list[str]:
    """What is said to be in a file that does not have it."""
    lost = []
    for name, path in NAMED.findall(text):
        file = ROOT / path
        if not file.is_file() or name not in names_in(file.read_text(encoding="utf-8")):
            lost.append(f"{name} ({path})")
    return lost


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `cai …` in a block of code, lines that end with a backslash joined."""
    code = "\n".join(line.strip() for _, line, code in blocks(text) if code)
    for line in code.replace("\\\n", " ").splitlines():
        for part in re.split(r" {3,}| ; | && |(?:^| )#(?: |$)", line):
            found = re.match(r"\s*(?:\.venv/bin/)?cai (.+)", part)
            if found:
                yield [word for word in shlex.split(found[1]) if word != "…"]


@functools.cache
def verb_help(*verb: str) -> str | None:
    """What `--help` of a verb prints; None if there is no such verb."""
    done = subprocess.run(
        [sys.executable, "-m", "cai.cli", *verb, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "COLUMNS": "200", "PYTHONPATH": str(ROOT)},
    )
    return done.stdout if done.returncode == 0 else None


def wrong_words(words: list[str]) -> list[str]:
    """The words of a command that its verb does not know: a verb, or options."""
    verb = [words[0]]
    shown = verb_help(*verb)
    if shown is not None and "COMMAND [ARGS]" in shown and len(words) > 1:
        verb.append(words[1])
        shown = verb_help(*verb)
    if shown is None:
        return [" ".join(verb)]
    known = set(re.findall(r"(?<!\w)--?[a-z][\w-]*", shown))
    given = [word.partition("=")[0] for word in words[len(verb) :] if re.match(r"--?[a-z]", word)]
    return [option for option in given if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_narrow_and_says_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # The page of models is made by a test of its own, from templates.
    assert page.name == "models.md" or long_lines(text) == []
    assert dead_links(page, text) == []
    assert lost_paths(text) == []
    assert lost_names(text) == []


def test_every_page_is_in_the_index_of_the_docs() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in PAGES if path.parent == ROOT / "docs"} - {"README.md"}
    assert pages - {target.partition("#")[0] for target in LINK.findall(index)} == set()


def test_every_room_is_on_the_page_of_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [p for p in (ROOT / "cai").iterdir() if p.name[0] not in "_." and p.suffix != ".typed"]
    names = [f"`cai/{room.name}{'/' if room.is_dir() else ''}`" for room in rooms]
    assert [name for name in names if name not in page] == []


def test_the_walks_name_functions() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = page.split("\n## Walk ")[1:]
    assert len(walks) == 3
    for walk in walks:
        assert len(NAMED.findall(walk)) >= 10


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_commands_have_the_verbs_and_options_that_are_shown(page: str) -> None:
    found = list(commands((ROOT / page).read_text(encoding="utf-8")))
    assert found
    assert {" ".join(words): wrong for words in found if (wrong := wrong_words(words))} == {}


# --- the tests can fail ---


def test_a_long_line_is_found_and_tables_code_headings_and_links_are_not() -> None:
    word = "word " * 30
    assert [line[0] for line in long_lines(f"short\n{word}\n- {word}")] == ["2", "3"]
    code = f"```\n{word}\n```\n\n    {word}\n\n| {word} |\n# {word}\n[a]({'x' * 120})"
    assert long_lines(code) == []
    assert len(long_lines(f"Text\n    {word}")) == 1  # goes on with the paragraph: no code


def test_a_dead_link_a_lost_path_and_a_lost_name_are_found() -> None:
    page = ROOT / "README.md"
    text = "# One `two`, three\n[a](docs/nothing.md) [b](#one-two-three) [c](#two) [d](https://a.b)"
    assert dead_links(page, text) == ["docs/nothing.md", "#two"]
    assert lost_paths("`cai/row.py` `cai/rows.py` cai/train/ cai/trains/") == [
        "cai/rows.py",
        "cai/trains/",
    ]
    said = "`make_row` (cai/row.py), `Run.load`\n  (cai/dataset/run.py), `make_rows` (cai/row.py)"
    assert lost_names(said) == ["make_rows (cai/row.py)"]
    assert lost_names("`make_row` (cai/rows.py)") == ["make_row (cai/rows.py)"]


def test_a_wrong_verb_or_option_is_found() -> None:
    text = "    cai show RUN --first   # all\n    cai generate … --nothing 3 ; cai shows RUN"
    first, second, third = commands(text)
    assert wrong_words(first) == []
    assert wrong_words(second) == ["--nothing"]
    assert wrong_words(third) == ["shows"]
    assert wrong_words(["train", "sft", "RUN", "--beta", "1"]) == ["--beta"]
    assert wrong_words(["train", "dpo", "RUN", "--beta", "1"]) == []
