"""model_merging end to end: toys in short, pocket merges, a person's own models and questions, claims."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from polymodal.media import Image
from polymodal.nn.decoder import Decoder, Seeing
from polymodal.nn.dual import Dual
from polymodal.nn.pocket.shelf import HOME
from polymodal.runs import Run, read_result, report
from polymodal.systems import asking, shelf
from polymodal.systems.model_merging import recipe, siblings

MADE = all((HOME / name / "model.safetensors").is_file() for name in recipe.POCKET)


def ran(tmp_path, **given):
    config = dataclasses.replace(recipe.tiny(), **given)
    run = Run.create("model_merging", config, root=tmp_path)
    recipe.run(config, run)
    return read_result(run.folder), run.folder


@pytest.fixture
def short(monkeypatch):
    growth = siblings.Growth(
        base=(12, 1e-3), projector=(4, 1e-3), joint=(4, 1e-4, 1e-3), donor=(6, 1e-3), branch=(4, 1e-2)
    )
    monkeypatch.setattr(siblings, "Growth", lambda: growth)


def test_planted_toys_are_swept_controlled_and_knocked_out(short, tmp_path):
    result, folder = ran(tmp_path, experiment="planted", seeds=2)
    for weight in ("1", "0.5", "0"):
        for name in siblings.TOY_SETS:
            assert 0 <= result.estimates[f"planted/{name}: λ {weight}"].mean <= 1
    assert result.estimates["place/drop of untouched layers"].mean == 0
    assert result.estimates["planted/control: base - target"].n == 2 * 179 * 8
    verdicts = {claim["text"]: claim["verdict"] for claim in result.claims}
    assert verdicts["the same of the pocket models"] == "undetermined"
    assert report(folder).is_file()


def test_a_job_of_toys_gives_the_same_numbers_again(short):
    one, two = siblings.planted(3), siblings.planted(3)
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert np.abs(one["place|sees"][2:]).max() == np.abs(one["place|adds"][:2]).max() == 0
    assert one["likeness|sibling"].min() > 0.9 > one["likeness|foreign donor"].max()


def test_the_pocket_part_is_told_of_or_says_what_is_not_made_yet(tmp_path):
    result, folder = ran(tmp_path, experiment="pocket", limit=6, knock=("revert",))
    if not MADE:
        assert "is not made yet: polymodal run model_merging:weights" in result.sections["notes"][0]
        assert not result.estimates
        assert {claim["verdict"] for claim in result.claims} == {"undetermined"}
    else:
        whole = result.estimates["pocket/perception: λ 1"]
        assert whole.n == 6
        assert result.estimates["pocket/control: perception, blank"].mean <= whole.mean
        assert (folder / "attribution.parquet").is_file()
    assert report(folder).is_file()


@pytest.fixture
def sees(tmp_path):
    """A model that sees, of pocket parts, untrained."""
    net = Seeing.pocket(Dual.from_pretrained("pocket-clip"), Decoder.from_pretrained("pocket-lm"))
    run = Run.create("toy", {}, tmp_path / "nets")
    return run.files("sees", net.files())


def test_ones_own_models_and_questions_are_merged_asked_and_paired(tmp_path, sees):
    (tmp_path / "shown.png").write_bytes(Image(np.full((64, 64, 3), 60, np.uint8)).encoded())
    ask = {"image": "shown.png", "prompt": "how many objects are there?", "target": "one"}
    lines = [{"id": f"q{i}", **ask, "tags": {"set": "count"}} for i in range(3)]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    files = {"data": str(tmp_path / "samples.jsonl")}
    given = {"vlm": f"local:{sees}", "llm": "local:pocket-reasoner"} | files
    config = shelf.configure(recipe, "tiny", given)
    assert (config.target, config.donors) == (f"local:{sees}", ("local:pocket-reasoner",))
    run = Run.create("model_merging", config, root=tmp_path)
    found = recipe.run(config, run)
    assert found["count: merged - target"].n == 3
    assert json.loads((run.folder / "model" / "merge.json").read_text())
    assert (run.folder / "answers.parquet").is_file()


def test_ones_own_models_show_which_layers_they_need(tmp_path, sees):
    (tmp_path / "shown.png").write_bytes(Image(np.full((64, 64, 3), 60, np.uint8)).encoded())
    ask = {"image": "shown.png", "prompt": "how many objects are there?", "target": "one"}
    for name in ("perception", "reasoning"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": "q", **ask}))
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("perception", "reasoning")}
    given = {"target": f"local:{sees}", "donors": "", "base": str(HOME / "pocket-lm"), "knock": "mask,revert"}
    config = shelf.configure(recipe, "full", given | files)
    run = Run.create("model_merging", config, root=tmp_path)
    found = recipe.run(config, run)
    assert {"own/centre of perception: target", "own/centre: perception - reasoning"} <= set(found)
    rows = pq.read_table(run.folder / "attribution.parquet").to_pylist()
    assert len(rows) == 6 * 2 * 2 * 2  # layers, modules, modes, sets
    assert {row["drop"] for row in rows if row["mode"] == "revert"} == {0.0}  # its decoder is pocket-lm's own
    config = shelf.configure(recipe, "full", given | files | {"base": "", "knock": "revert"})
    assert not any(name.startswith("own/") for name in recipe.run(config, Run.create("m", config, tmp_path)))
    with pytest.raises(ValueError, match="only a local: model has modules to knock out"):
        asking.knocked_out(0, (), None, "scripted:echo", "mask")


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(ValueError, match="no pocket model 'pocket-x' is made here; known: pocket-lm"):
        ran(tmp_path, experiment="weights", target="pocket-x")
    with pytest.raises(ValueError, match="no questions to ask"):
        ran(tmp_path, experiment="checkpoints", target="local:x")
    with pytest.raises(LookupError, match=r"'waits' is not known\. Did you mean 'weights'"):
        shelf.configure(recipe, "waits", {})
    assert shelf.configure(recipe, "weights", {"target": "pocket-lm"}).experiment == "weights"
