"""A malformed file, from the command line: one clear error, exit code 1, nothing written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cai.cli import main
from tests.constitution.test_load import MALFORMED as CONSTITUTIONS
from tests.test_prompts import MALFORMED as PROMPTS


def fails(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    options = ["generate", "--model", "scripted", "--out", "run", *arguments]
    monkeypatch.setattr(sys, "argv", ["cai", *options])
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert not Path("run").exists()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    error, hint = said[said.index("Error: ") :].strip().split("\n", 1)
    assert hint.strip()
    return error


@pytest.mark.parametrize("name", CONSTITUTIONS)
def test_constitution(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, _ = CONSTITUTIONS[name]
    Path("mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    error = fails(["--constitution", "mine.yaml"], monkeypatch, capsys)
    assert f"mine.yaml:{line}: " in error


@pytest.mark.parametrize("case", PROMPTS, ids=[f"{case[0]}-{case[3]}" for case in PROMPTS])
def test_prompts(
    case: tuple[str, str | bytes, str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, content, where, _, _ = case
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    error = fails(["--prompts", name], monkeypatch, capsys)
    assert f"{name}{where}: " in error
