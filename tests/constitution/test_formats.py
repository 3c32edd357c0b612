"""Principles of other tools become a constitution that loads and passes the lint."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cai.constitution.formats import import_constitution
from cai.constitution.lint import lint
from cai.constitution.load import load
from cai.constitution.load_ties import slug
from cai.constitution.records import Constitution
from cai.errors import CaiError

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]
TWO = {
    "critique_request": "Name what could hurt somebody: quote it.",
    "revision_request": "Write it so that it hurts nobody.",
}


def imported(path: Path, content: Any = None) -> tuple[Constitution, list[str]]:
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    found = import_constitution(path)
    target = path.with_name("made.yaml")
    target.write_text(found.text, encoding="utf-8")
    constitution = load(target)
    assert not [f for f in lint(constitution) if f.severity == "error"]
    assert len(constitution.principles) == found.principles
    return constitution, found.notes


def error(path: Path, content: Any) -> CaiError:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaiError) as caught:
        import_constitution(path)
    return caught.value


LANGCHAIN = [
    {"name": "Harmful 1", **TWO},
    {
        "name": "Harmful 1",
        "critique_request": "Is it rude?\nSay so.",
        "revision_request": "Be kind.",
    },
    {"critique_request": "Does it lecture the reader at all?", "revision_request": "Just answer."},
    {"name": "again", **{key: text.upper() for key, text in TWO.items()}},
]


@pytest.mark.parametrize("kind", ["list.json", "list.yaml", "by-name.json", "by-name.yaml"])
def test_principles_of_langchain(tmp_path: Path, kind: str) -> None:
    content: Any = LANGCHAIN
    if kind.startswith("by-name"):
        content = {f"key{n}": entry for n, entry in enumerate(LANGCHAIN)}
    text = yaml.safe_dump(content) if kind.endswith("yaml") else json.dumps(content)
    constitution, notes = imported(tmp_path / kind, text)
    assert constitution.name == Path(kind).stem
    third = "key2" if kind.startswith("by-name") else "does-it-lecture-the-reader"
    assert [p.id for p in constitution.principles] == ["harmful-1", "harmful-1-2", third]
    first, second, _ = constitution.principles
    assert (first.critique, first.revise) == tuple(TWO.values())
    assert second.critique == "Is it rude?\nSay so."
    assert first.compare is None
    assert "1 entries say the same" in notes[0]
    assert "--stages sft" in notes[1]


def test_principles_of_llm_swarm(tmp_path: Path) -> None:
    data = {
        "constitutions": [{"critic": "Is it rude to anybody?", "revision": "Be kind."}],
        "system_chats": [[{"role": "user", "content": "Hi"}]],
    }
    constitution, notes = imported(tmp_path / "a.json", data)
    (principle,) = constitution.principles
    assert (principle.critique, principle.revise) == ("Is it rude to anybody?", "Be kind.")
    assert "Not taken over: system_chats. Worked cases are `few_shot`" in notes[0]
    bare, _ = imported(tmp_path / "a.json", data["constitutions"])
    assert bare.principles == constitution.principles


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rules.txt", "# ours\n\n- Be honest about doubt.\n2. Never share a customer's address.\n"),
        ("rules.json", ["Be honest about doubt.", "Never share a customer's address."]),
        ("rules.yaml", "- Be honest about doubt.\n- Never share a customer's address.\n"),
    ],
)
def test_a_list_of_sentences(tmp_path: Path, name: str, content: Any) -> None:
    constitution, notes = imported(tmp_path / name, content)
    assert notes == []
    assert [p.id for p in constitution.principles] == [
        "be-honest-about-doubt", "never-share-a-customer-s-address",
    ]  # fmt: skip
    for principle, rule in zip(
        constitution.principles,
        ["Be honest about doubt.", "Never share a customer's address."],
        strict=True,
    ):
        for text in (principle.critique, principle.revise, principle.compare):
            assert text is not None
            assert text.endswith(rule)


def test_a_name_in_another_script_is_a_number_with_a_remark(tmp_path: Path) -> None:
    rules = [{"name": "无害", **TWO}, {**LANGCHAIN[1], "name": "Größe"}]
    path = tmp_path / "a.json"
    constitution, _ = imported(path, rules)
    assert [p.id for p in constitution.principles] == ["principle-1", "grosse"]
    assert "  # 无害\n  - id: principle-1\n" in import_constitution(path).text
    constitution, _ = imported(tmp_path / "规则.txt", "不要伤害任何人。\n要诚实。\n")
    assert constitution.name == "规则"
    assert [p.id for p in constitution.principles] == ["principle-1", "principle-2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("No Harm!", "no-harm"), ("Ça va", "ca-va"), ("ＦＵＬＬ", "full"), ("a" * 60, "a" * 40),
        ("无害 v2", "default"), ("København", "default"), ("Ελλάδα", "default"), ("!!", "default"),
    ],
)  # fmt: skip
def test_ids_of_names(name: str, expected: str) -> None:
    assert slug(name, "default") == expected


def test_the_hint_for_an_id_is_made_of_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: x\nversion: 1\nprinciples:\n  - {compare: c, id: a}\n  - {compare: d, id: 无害}\n",
        encoding="utf-8",
    )
    with pytest.raises(CaiError, match="Write `id: principle-2`"):
        load(path)


OTHERS = [
    ("a.md", "x", "does not end in", "Forms that can be read"),
    ("a.json", "{", ":1: not JSON", "Mend the file at this line"),
    ("a.json", "[" * 100_000, "not JSON that can be read", "Forms"),
    ("a.json", {"rules": "Be kind to everyone."}, "not a list of principles", "Forms"),
    ("a.json", "5", "not a list of principles", "Forms"),
    ("a.json", [], "no principle in it", "Forms"),
    ("a.json", [[TWO]], "entry 1: the entry is a list", "Forms"),
    ("a.json", [TWO, {"text": "x"}], "entry 2: the entry is in another form", "Forms"),
    ("a.json", [{"critic": "Is it rude?"}], "entry 1: revision is missing", "Add it"),
    ("a.json", [{"critic": ["Is it?"], "revision": "x"}], "critic: several texts", "`few_shot`"),
    ("a.json", [{**TWO, "examples": []}], "examples would be lost", "Cases are `few_shot`"),
    ("a.json", [{"critic": 5, "revision": "x"}], "critic: must be a text, not 5", "Forms"),
    ("a.json", [{"critic": "a\x00b", "revision": "x"}], r"holds U\+0000", "Remove it"),
    ("a.json", ["yes"], "yes is no sentence", "Forms"),
    ("a.yaml", "- no\n", "entry 1: the entry is in another form", "Forms"),
    ("a.yaml", "a: [\n", "not valid YAML", ""),
    ("a.yaml", "name: x\nversion: 1\nprinciples: []\n", "a constitution already", "lint"),
    ("a.txt", '["Be kind to everyone."]\n', r":1: .* is no sentence", "Write a rule a line"),
    ("a.txt", "Be kind to all.\nharm\n", ":2: harm is no sentence", "Write a rule a line"),
    ("a.txt", "\n", "no principle in it", "Forms"),
]


@pytest.mark.parametrize(("name", "content", "message", "hint"), OTHERS)
def test_other_forms_are_told_which_there_are(
    tmp_path: Path, name: str, content: Any, message: str, hint: str
) -> None:
    caught = error(tmp_path / name, content)
    assert re.search(message, caught.message), caught.message
    assert hint in caught.hint
    assert caught.hint


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.text(), st.text(min_size=1), st.text(min_size=1)), min_size=1))
@example([("", "0", "0\x850")])
@example([("", "a\u2028b", "0")])
def test_any_text_comes_through_or_is_an_error(
    tmp_path: Path, entries: list[tuple[str, str, str]]
) -> None:
    data = [
        {"name": name, "critique_request": critique, "revision_request": revise}
        for name, critique, revise in entries
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    try:
        constitution, _ = imported(path)
    except CaiError:
        return
    texts = {(p.critique, p.revise) for p in constitution.principles}
    assert texts <= {(critique.strip(), revise.strip()) for _, critique, revise in entries}


def test_the_command(tmp_path: Path) -> None:
    Path("rules.txt").write_text("Be honest about doubt.\n")
    command = [*CAI, "constitution", "import", "rules.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["principles"][0]["id"] == "be-honest-about-doubt"
    command += ["--out", "rules.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "rules.yaml: 1 principles" in done.stdout
    lint = [*CAI, "constitution", "lint", "rules.yaml"]
    assert subprocess.run(lint, capture_output=True, check=False).returncode == 0
    before = Path("rules.yaml").read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert Path("rules.yaml").read_bytes() == before
