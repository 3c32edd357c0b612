"""The house keeps its shape: sizes, cycles, names that stay in their room."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "cai").rglob("*.py"))
LONGEST, LONG, LONG_FILES = 400, 300, 5  # lines, lines, files
LONGEST_FUNCTION = 60


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def test_files_are_short_and_the_few_long_ones_say_why() -> None:
    long = [path for path in FILES if lines(path) > LONG]
    assert [path for path in long if lines(path) > LONGEST] == []
    assert len(long) <= LONG_FILES
    for path in long:
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert "Long, as " in said, path


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_functions_are_short() -> None:
    sizes = {
        f"{path.relative_to(ROOT)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, node in functions()
    }
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}


def test_no_file_imports_another_in_a_circle_also_not_inside_functions() -> None:
    graph = grimp.build_graph("cai", cache_dir=None)
    imports = {m: graph.find_modules_directly_imported_by(m) - {m} for m in graph.modules}
    try:
        list(graphlib.TopologicalSorter(imports).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_private_name_stays_in_its_file_or_folder() -> None:
    for path in FILES:
        room = ".".join(path.relative_to(ROOT).parts[:-1])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cai"):
                private = [
                    a.name for a in node.names if a.name.startswith("_") and a.name[1] != "_"
                ]
                assert not private or str(node.module).startswith(room), (path, private)


def test_errors_are_not_silenced_whatever_they_are() -> None:
    blind = {"Exception", "BaseException"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                assert not blind & {ast.unparse(argument) for argument in node.args}, path
