"""`cai constitution new`: what it writes can be used as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.constitution.lint import lint, seed_tags
from cai.constitution.load import load
from cai.constitution.skeleton import skeleton
from cai.errors import CaiError


def test_it_passes_lint_and_has_what_it_says() -> None:
    result = CliRunner().invoke(app, ["constitution", "new", "my-shop"])
    assert result.exit_code == 0, result.output
    made = load(Path("my-shop.yaml"))
    assert made.name == "my-shop"
    assert [p.check is None for p in made.principles] == [True, False]
    assert sum(len(p.examples) for p in made.principles) == 2
    found = lint(made, {*seed_tags(), "next-step"})
    assert {finding.severity for finding in found} == {"note"}
    again = ["constitution", "lint", "my-shop.yaml", "--strict", "--tag", "next-step"]
    assert CliRunner().invoke(app, again).exit_code == 0


def test_nothing_is_written_over() -> None:
    Path("mine.yaml").write_text("kept")
    result = CliRunner().invoke(app, ["constitution", "new", "mine.yaml"])
    assert isinstance(result.exception, CaiError)
    assert Path("mine.yaml").read_text() == "kept"


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(CaiError, match="no name"):
        skeleton(name)
