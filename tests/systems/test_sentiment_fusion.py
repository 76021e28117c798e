"""The tiny run against its worlds' closed forms: figures, claims, controls, what it leaves behind."""

import csv
import json

import pytest

from polymodal.runs import Run, read_result
from polymodal.systems.sentiment_fusion import data, recipe

NEAR = (-0.06, 0.03)  # how far a trained model may stay behind the best rule, and chance lift it above


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    run = Run.create("sentiment_fusion", recipe.tiny(), root=tmp_path_factory.mktemp("out"))
    run.executor = "process"
    recipe.run(recipe.tiny(), run)
    return read_result(run.folder), run.folder


def near(estimate, value, low=NEAR[0], high=NEAR[1]):
    return value + low <= estimate.mean <= value + high


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("concat", ("text", "audio", "video")),
        ("robust", ("text", "audio", "video")),
        ("only:text", ("text",)),
        ("only:audio", ("audio",)),
        ("only:video", ("video",)),
        ("drop:video (robust)", ("text", "audio")),
        ("drop:audio (robust)", ("text", "video")),
        ("drop:text (robust)", ("audio", "video")),
    ],
)
def test_redundant_parts_reach_the_bayes_rule(tiny, name, parts):
    assert near(tiny[0].estimates[f"redundant/{name}"], data.bayes(parts))


def test_every_compared_fusion_reaches_the_bayes_rule(tiny):
    for name in recipe.tiny().fusion:
        assert near(tiny[0].estimates[f"redundant/{name}"], data.bayes()), name


@pytest.mark.parametrize("part", data.DIMS)
def test_a_stranger_s_part_misleads_as_far_as_it_should(tiny, part):
    assert near(tiny[0].estimates[f"redundant/shuffle:{part}"], data.shuffled(part))


def test_robust_arm_keeps_to_the_curve_of_missing_parts(tiny):
    rows = [row for row in tiny[0].sections["missing"] if row["arm"] == "redundant/robust"]
    assert {row["p"] for row in rows} >= {0, 0.25, 0.5, 0.75, 1}
    for row in rows:
        expected = data.missing(row["p"])
        assert expected + NEAR[0] <= row["estimate"]["mean"] <= expected + NEAR[1], row["p"]
    for p in (0.25, 0.5, 0.75, 1.0):
        assert near(tiny[0].estimates[f"redundant/missing:text:{p:g} (robust)"], data.missing(p, ["text"]))


def test_exclusive_or_needs_the_dense_layer(tiny):
    found = {
        name: tiny[0].estimates[f"synergy/{name}"].mean for name in ("concat", "lowrank", "concat_linear")
    }
    assert found["concat"] >= 0.97
    assert found["lowrank"] >= 0.97
    assert found["concat_linear"] <= 0.55
    for part in data.DIMS:
        assert tiny[0].estimates[f"synergy/only:{part}"].mean <= 0.55


def test_unique_parts_add_up_without_it(tiny):
    assert tiny[0].estimates["unique/concat_linear"].mean >= 0.97
    for part in ("text", "audio"):
        assert tiny[0].estimates[f"unique/only:{part}"].mean <= data.two_bits("unique", 1) + 0.03
    assert near(tiny[0].estimates["unique/only:video"], 0.25, -0.03, 0.03)


def test_shuffled_targets_and_majority_are_at_chance(tiny):
    assert near(tiny[0].estimates["redundant/shuffled targets"], 1 / 6, -0.1, 0.1)  # a mapping of six classes
    assert near(tiny[0].estimates["redundant/majority"], 1 / 6, -0.03, 0.03)


def test_leak_world_is_told_apart_by_its_folds(tiny):
    random, grouped = data.leak()
    assert near(tiny[0].estimates["leak/forest, random folds"], random, -0.04, 0.04)
    assert near(tiny[0].estimates["leak/forest, grouped folds"], grouped, -0.06, 0.06)
    found = [(f["kind"], f["severity"], f["where"]) for f in tiny[0].sections["findings"]]
    assert found == [("leak gap", "warning", f"leak world, {part}") for part in ("text", "audio", "video")]


def test_claims(tiny):
    quick = tiny[0].estimates["latency at most .6, concat / crossattention"]
    told = {(1, 1): "reproduced", (0, 0): "not reproduced", (0, 1): "undetermined"}[quick.low, quick.high]
    verdicts = [(claim["text"].split()[0], claim["verdict"]) for claim in tiny[0].claims]
    assert verdicts[0] == ("92", "undetermined")
    assert dict(verdicts[1:]) == {
        "leakage": "reproduced",
        "simple": told,  # a clock decides: it is told, not asserted
        "the": "reproduced",
        "all": "reproduced",
        "dropout": "reproduced",
        "modality": "reproduced",
    }


def test_no_number_is_alone(tiny):
    result, _ = tiny
    for name, estimate in result.estimates.items():
        assert name in result.sections["legend"]
        assert estimate.low <= estimate.mean <= estimate.high, name
    roles = {entry["role"] for entry in result.sections["legend"].values()}
    assert roles == {"result", "baseline", "control"}
    assert len(result.fingerprints) == 12
    named = {row["name"]: row for row in result.sections["controls"]}
    assert named["redundant/shuffle:text"]["difference"]["low"] > 0
    cost = {row["name"]: row for row in result.sections["cost"]}
    assert cost["redundant/concat"]["parameters"] <= 0.6 * cost["redundant/crossattention"]["parameters"]
    assert cost["redundant/concat"]["macs"] <= 0.6 * cost["redundant/crossattention"]["macs"]


def test_what_is_left_behind(tiny):
    _, folder = tiny
    with (folder / "controls.csv").open(newline="") as lines:
        rows = {row["name"]: row for row in csv.DictReader(lines)}
    assert float(rows["redundant/only:text"]["difference mean"]) == pytest.approx(0.12, abs=0.04)
    assert (folder / "predictions.parquet").exists()
    assert {path.name for path in (folder / "model").iterdir()} >= {"config.json", "model.safetensors"}
    timed = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert any(event["kind"] == "latency" and event["ratio"]["low"] > 0 for event in timed)


def test_saved_model_predicts_with_any_part_missing(tiny):
    _, folder = tiny
    samples = data.world("redundant", seed=0)[-400:]
    right = {}
    for kept in (("text", "audio", "video"), ("text",), ()):
        bare = [type(s)(s.id, {n: s.parts[n] for n in kept}) for s in samples]
        rows = list(recipe.predict(folder / "model", bare))
        right[kept] = sum(r.get("prediction") == s.target for r, s in zip(rows, samples, strict=True)) / 400
    assert right["text", "audio", "video"] > 0.8
    assert right["text",] > 0.65
    assert all("invalid" in row for row in rows)
