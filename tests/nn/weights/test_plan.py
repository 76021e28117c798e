"""The account of a merge: counts, reasons, what is recorded, what is compared at the end."""

import json
from pathlib import Path

import pytest
from tests.nn.weights.models import family, saved

from polymodal.nn.weights import Recipe, WeightsError, plan


def test_lines_and_record(tmp_path: Path) -> None:
    _, own, other = family()
    a, b = saved(tmp_path / "a", own), saved(tmp_path / "b", other)
    (a / "pytorch_model.bin").touch()
    made = plan(a, [b], Recipe(weights=(0.9,), rules=(("*.layers.0.*", 1.0),)))
    text = "\n".join(made.lines())
    assert text.startswith("linear: 19 merged, 11 kept, 0 refused of 30 tensors")
    assert "merged 19 with weights 0.9, 0.1" in text
    assert "kept 9: weight 1 on the target (model.layers.0" in text
    assert "not copied, weights outside the checkpoint: pytorch_model.bin" in text
    record = made.record({"x": "kept"})
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["names"] == {"target": str(a), "donors": [str(b)], "base": None}
    assert record["spared"] == {"x": "kept"}
    assert len(record["merged"]) == 19


def test_digest_tells_merges_apart_not_places(tmp_path: Path) -> None:
    _, own, other = family()
    a, b, c = (saved(tmp_path / n, s) for n, s in (("a", own), ("b", other), ("c", other)))
    first, moved, others = (plan(a, [d], Recipe(weights=(w,))) for d, w in ((b, 0.5), (c, 0.5), (b, 0.6)))
    assert first.digest == moved.digest != others.digest


def test_modules_and_layers(tmp_path: Path) -> None:
    _, own, other = family()
    made = plan(saved(tmp_path / "a", own), [saved(tmp_path / "b", other)], Recipe())
    found = {merge.key: (merge.layer, merge.module) for merge in made.merges}
    assert found["layers.2.self_attn.q_proj.weight"] == (2, "attention")
    assert found["layers.1.mlp.down_proj.weight"] == (1, "mlp")
    assert found["layers.0.post_attention_layernorm.weight"] == (0, "norm")
    assert found["norm.weight"] == (None, "norm")


def test_check_compares_headers(tmp_path: Path) -> None:
    _, own, other = family()
    made = plan(saved(tmp_path / "a", own), [saved(tmp_path / "b", other)], Recipe())
    made.check(saved(tmp_path / "good", other))
    del other["lm_head.weight"]
    with pytest.raises(WeightsError, match=r"differs from the plan in .*lm_head.weight"):
        made.check(saved(tmp_path / "bad", other))
