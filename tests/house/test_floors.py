"""HOUSE.md §2: who imports whom, who writes, who prints; and that the tools are content."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.tree import FILES, ROOT, SRC, called, calls, parsed, place

BIN = Path(sys.executable).parent
WRITES = (
    "write_text",
    "write_bytes",
    "mkdir",
    "touch",
    "rename",
    "unlink",
    "rmdir",
    "symlink_to",
    "replace_file",
)
PLAIN = {k: v for k, v in os.environ.items() if not k.startswith("COV")}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=PLAIN, check=False)


@pytest.mark.parametrize(
    "words",
    [("lint-imports", "--no-cache"), ("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=lambda words: words[0],
)
def test_tool_is_content(words: tuple[str, ...]) -> None:
    done = command(str(BIN / words[0]), *words[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def writing(path: Path) -> list[str]:
    """Calls in a file that would write to disk."""
    found = []
    for call in calls(parsed(path)):
        name = called(call)
        last = name.rpartition(".")[2]
        modes = [
            getattr(a, "value", "")
            for a in [*call.args[:2], *(k.value for k in call.keywords if k.arg == "mode")]
        ]
        opens = last == "open" and any(
            isinstance(m, str) and set(m) & set("wax+") and len(m) <= 3 for m in modes
        )
        opens = opens and not (name == "av.open" and ast.unparse(call.args[0]) == "stream")  # in memory
        saves = name in (
            "np.save",
            "np.savez",
            "os.replace",
            "shutil.copy",
            "shutil.copyfile",
            "shutil.copytree",
            "shutil.move",
        )
        if opens or saves or last in WRITES:
            found.append(f"{place(path)}:{call.lineno} {name}")
    return found


def test_only_runs_writes() -> None:
    assert not [line for path in FILES if not place(path).startswith("runs/") for line in writing(path)]
    assert [line for path in FILES if place(path).startswith("runs/") for line in writing(path)], (
        "the test sees nothing"
    )


def test_only_cli_prints() -> None:
    prints = [
        f"{place(path)}:{call.lineno}"
        for path in FILES
        if not place(path).startswith("cli/")
        for call in calls(parsed(path))
        if called(call) in ("print", "typer.echo", "sys.stdout.write", "sys.stderr.write")
    ]
    assert not prints


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    nodes = list(ast.walk(parsed(path)))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return named


def test_no_system_imports_another_and_method_and_data_are_strangers() -> None:
    boxes = [recipe.parent for recipe in SRC.glob("systems/*/recipe.py")]
    for box in boxes:
        others = {f"polymodal.systems.{other.name}" for other in boxes if other != box}
        for path in box.glob("*.py"):
            names = imported(path)
            assert not [name for name in names if name.startswith(tuple(others))], place(path)
            stranger = {"method": "data", "data": "method"}.get(path.stem)
            assert f"polymodal.systems.{box.name}.{stranger}" not in names, place(path)


def test_no_pickle_no_eval() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        names = {called(call) for call in calls(parsed(path))}
        assert not names & {"eval", "exec", "pickle.load", "pickle.loads", "joblib.load"}, place(path)
        assert "torch.load(" not in text or "weights_only=True" in text, place(path)
        assert "trust_remote_code=True" not in text, place(path)


@pytest.mark.parametrize(
    "module",
    [
        "polymodal",
        "polymodal.cli",
        "polymodal.media",
        "polymodal.metrics",
        "polymodal.chat",
        "polymodal.judge",
        "polymodal.judge.people.app",
        "polymodal.envs.cards",
        "polymodal.envs.questions",
        "polymodal.envs.scenes",
        "polymodal.runs",
        "polymodal.training",
    ],
)
def test_import_loads_no_torch(module: str) -> None:
    done = command(sys.executable, "-c", f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, f"{module} loads torch {done.stderr}"


def test_the_torch_test_can_fail() -> None:
    done = command(
        sys.executable, "-c", "import sys; from polymodal.nn import Dual; sys.exit('torch' in sys.modules)"
    )
    assert done.returncode == 1


def test_import_polymodal_is_nearly_nothing() -> None:
    """A count, not a time: what it loads beyond a bare interpreter (times are in bench/start.py)."""
    count = "import sys; before = len(sys.modules); import polymodal; print(len(sys.modules) - before)"
    assert int(command(sys.executable, "-c", count).stdout) <= 3


def test_list_loads_nothing_heavy() -> None:
    code = (
        "import sys; from polymodal.cli import app; from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['list']).exit_code == 0\n"
        "heavy = {'numpy', 'torch', 'scipy', 'sklearn', 'pyarrow', 'av', 'PIL', 'altair', 'rich.table'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert command(sys.executable, "-c", code).stdout.strip() == "[]"


def test_no_machine_paths_in_the_tree() -> None:
    names = command("git", "ls-files").stdout.split()
    words = ["/".join(("", "work", "")), "/." + "library", "farm" + "-"]
    bad = []
    for name in names:
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        bad += [f"{name}: {word}" for word in words if word in text]
    assert not bad


def test_every_source_file_has_its_tests() -> None:
    missing = []
    for folder in ("media", "metrics", "nn", "chat", "judge", "envs", "training", "runs"):
        files = list((ROOT / "tests" / folder).glob("test_*.py"))
        tests = "\n".join(file.read_text(encoding="utf-8") for file in files)
        missing += [
            place(path)
            for path in (SRC / folder).glob("[a-z]*.py")
            if path.stem not in tests and f"test_{path.stem}" not in {file.stem for file in files}
        ]
    assert not missing
