"""The pages say what the code does: generated parts are fresh, links lead somewhere, commands exist."""

import re
import subprocess
import sys

from tests.house.tree import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
]


def test_generated_parts_are_fresh() -> None:
    words = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                broken.append(f"{page.name}: {link}")
    assert not broken


def test_readme_holds_two_setup_commands_and_ci_calls_the_second() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^git clone .*&& (make \w+)", readme, re.MULTILINE)
    assert commands == ["make run", "make test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_verbs_in_the_readme_exist() -> None:
    from typer.main import get_command

    from polymodal.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    used = set(
        re.findall(r"^polymodal ([\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert used <= known
    assert known - used <= {"report"}


def test_every_decision_says_what_against_what_and_why() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for word in ("**Chosen.**", "**Against.**", "**Why.**", "Decided 20"):
            assert word in text, f"{page.name}: no {word}"


def test_example_stays_short() -> None:
    for example in (ROOT / "examples").glob("*.py"):
        assert len(example.read_text(encoding="utf-8").splitlines()) <= 60, example.name
