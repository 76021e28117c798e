"""HOUSE.md §8: sizes."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.house.tree import FILES, ROOT, SRC, functions, parsed, place


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which the house asks for."""
    first = function.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (
        (function.end_lineno or 0)
        - function.lineno
        + 1
        - (first.end_lineno - first.lineno + 1 if told else 0)
    )


@pytest.mark.parametrize("path", FILES, ids=place)
def test_file_has_at_most_400_lines_and_its_functions_60(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (40 if path.name == "__init__.py" and "systems" not in path.parts else 400), lines
    long = {f.name: lines_of(f) for f in functions(path) if lines_of(f) > 60}
    assert not long, long


def test_folders_are_small_and_shallow() -> None:
    counts = Counter(path.parent for path in FILES)
    assert not {place(d): n for d, n in counts.items() if n > (16 if d.name == "metrics" else 12)}
    deep = [place(path) for path in FILES if len(path.relative_to(SRC).parts) > 3]
    assert not deep, deep


def test_a_system_has_at_most_900_lines_and_only_its_files() -> None:
    for box in (recipe.parent for recipe in SRC.glob("systems/*/recipe.py")):
        files = list(box.glob("*.py"))
        names = {file.stem for file in files}
        assert {"__init__", "data", "method", "recipe"} <= names, f"{box.name}: {names}"
        assert len(names) <= 5, f"{box.name} has more than one file of its own: {names}"
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        written = re.sub(r"<!-- measured -->.*?<!-- /measured -->", "", text, flags=re.DOTALL)  # generated
        lines = len(written.splitlines())
        assert lines <= 900, f"{box.name}: {lines} lines"


def test_pages_keep_their_lengths() -> None:
    bounds = {"README.md": 150, "CONTRIBUTING.md": 60, "Makefile": 40}
    for name, bound in bounds.items():
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= bound, name


def test_system_init_holds_only_its_page() -> None:
    for init in SRC.glob("systems/*/__init__.py"):
        assert len(parsed(init).body) == 1, f"{place(init)}: only a docstring"
