"""The verb `polymodal merge`: plan first, refusals by name, a folder at the end."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from polymodal.cli import app
from tests.nn.weights.models import TEXT, decoder, family, llava, renamed, saved

OLD = "language_model.model."


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base, own, other = family()
    llava(tmp_path / "vlm", renamed(own, "model.", OLD), shards=2)
    saved(tmp_path / "llm", other)
    saved(tmp_path / "base", base)
    saved(tmp_path / "strange", decoder(55))
    saved(tmp_path / "theta", other, TEXT | {"rope_theta": 5e5})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*words: str) -> Result:
    return CliRunner().invoke(app, ["merge", *words])


def test_merges_and_says_what(models: Path) -> None:
    done = said("vlm", "local:llm", "--weight", "0.9", "--to", "out/new", "--rule", "*.mlp.*=0.5")
    assert done.exit_code == 0, done.output
    assert "linear: 28 merged, 5 kept, 0 refused of 33 tensors" in done.output
    assert "merged 9 with weights 0.5, 0.5" in done.output
    assert "polymodal chat local:out/new" in done.output
    told = json.loads((models / "out/new/merge.json").read_text())
    assert told["recipe"]["rules"] == [["*.mlp.*", 0.5]]


def test_dry_run_writes_nothing_and_diagnosis_warns(models: Path) -> None:
    before = sorted(models.rglob("*"))
    words = ("vlm", "llm", "--method", "ties_weight", "--base", "base", "--dry-run", "--diagnose")
    done = said(*words)
    assert done.exit_code == 0, done.output
    assert "attention" in done.output
    assert "warning" not in done.output
    assert "warning: strange: 6 of 6" in said("vlm", "strange", "--dry-run", "--diagnose").output
    assert sorted(models.rglob("*")) == before


def test_weights_of_models_and_over_depth(models: Path) -> None:
    two = said(
        "vlm", "llm", "strange", *(w for n in ("0.5", "0.3", "0.2") for w in ("--weight", n)), "--dry-run"
    )
    assert "merged 28 with weights 0.5," in two.output
    deep = said("vlm", "llm", "--weight", "1,0.8,0.5", "--dry-run")
    assert "kept 9: weight 1 on the target" in deep.output
    assert "with weights 0.8, 0.2" in deep.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("vlm",), "at least one donor"),
        (("vlm", "llm"), "--to OUT, or --dry-run"),
        (("vlm", "llm", "--method", "tie", "--to", "o"), "Known: linear"),
        (("vlm", "llm", "--method", "ties_count", "--to", "o"), "--base MODEL"),
        (("vlm", "llm", "--rule", "x", "--to", "o"), "expected GLOB=WEIGHT"),
        (("vlm", "llm", "--rule", "*=x", "--to", "o"), "'x' is not a number"),
        (("vlm", "llm", "--weight", "1,2", "--weight", "3", "--to", "o"), "not both"),
        (("vlm", "theta", "--to", "o"), "config.rope_theta"),
        (("vlm", "nowhere", "--to", "o"), "no checkpoint at 'nowhere'"),
    ],
)
def test_mistakes_are_named_and_nothing_written(models: Path, words: tuple[str, ...], says: str) -> None:
    done = said(*words)
    assert done.exit_code != 0
    assert says in str(done.exception) + done.output
    assert not (models / "o").exists()
    assert not list(models.glob(".*"))


def test_a_refusal_may_be_allowed(models: Path) -> None:
    done = said("vlm", "theta", "--to", "o", "--allow", "config.rope_theta")
    assert done.exit_code == 0, done.output
    assert "allowed: config.rope_theta" in done.output
