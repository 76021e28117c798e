"""HOUSE.md §7: words, docstrings and faces."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from tests.house.tree import FILES, SRC, functions, parsed, place

WORDS = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc"}
ENDINGS = ("Manager", "Handler", "Processor", "Helper", "Wrapper")
FACES = [
    SRC / floor / "__init__.py" for floor in ("media", "metrics", "nn", "chat", "judge", "training", "runs")
]


@pytest.mark.parametrize("path", FILES, ids=place)
def test_names_are_plain(path: Path) -> None:
    assert path.stem not in WORDS
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*|__init__|__main__", path.stem)
    classes = [node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if name.endswith(ENDINGS)]


@pytest.mark.parametrize("path", FILES, ids=place)
def test_first_line_says_what_the_room_is(path: Path) -> None:
    text = ast.get_docstring(parsed(path)) or ""
    first = text.partition("\n")[0]
    assert first, "no docstring"
    assert len(first) <= 90
    assert not first.startswith("This module")


@pytest.mark.parametrize("path", FILES, ids=place)
def test_public_functions_say_what_they_do(path: Path) -> None:
    bare = [f.name for f in functions(path) if not f.name.startswith("_") and not ast.get_docstring(f)]
    inner = {
        n.name
        for f in functions(path)
        for n in ast.walk(f)
        if n is not f and isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    overloads = {f.name for f in functions(path) for d in f.decorator_list if "overload" in ast.unparse(d)}
    assert not [name for name in bare if name not in inner | overloads | {"forward"}]


@pytest.mark.parametrize("face", FACES, ids=place)
def test_face_lists_what_it_gives(face: Path) -> None:
    module = importlib.import_module(f"polymodal.{face.parent.name}")
    listed = list(module.__all__)
    named = stub if (stub := face.with_suffix(".pyi")).exists() else face  # names that are loaded at use
    assert listed == sorted(set(listed))
    assert all(hasattr(module, name) for name in listed)
    imported = {
        alias.asname or alias.name
        for node in parsed(named).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(listed), imported ^ set(listed)


def test_seed_is_always_a_keyword() -> None:
    for path in FILES:
        for function in functions(path):
            positional = {a.arg for a in function.args.args + function.args.posonlyargs}
            assert "seed" not in positional, f"{place(path)}:{function.name}"
