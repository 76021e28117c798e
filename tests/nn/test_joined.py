"""The whole network: what fits together, saved and loaded, what it costs, what it refuses."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from polymodal.nn import (
    Chain,
    Concat,
    Convolved,
    CrossAttention,
    Dense,
    Fusion,
    Gated,
    Head,
    ImageTransformer,
    Joined,
    Late,
    Letters,
    LogMel,
    LowRank,
    MixtureGate,
    Ordinal,
    Outer,
    Patches,
    Recurrent,
    Regress,
    Scaler,
    Several,
    Softmax,
    Weighted,
)
from polymodal.nn.joined import counted

DIMS = {"words": 8, "sound": 8, "picture": 8}
FUSIONS: list[Fusion] = [
    Concat(DIMS, 6),
    Weighted(DIMS, 6, by="input"),
    Gated(DIMS, 6),
    MixtureGate(DIMS, 6),
    Late(DIMS, 6, stacked=True),
    CrossAttention(DIMS, "picture", 6, heads=2),
    Outer(DIMS, 6),
    LowRank(DIMS, 6),
]
HEADS: list[Head] = [
    Softmax(6, 3),
    Regress(6, span=(-3.0, 3.0)),
    Ordinal(6, 4),
    Several({"b": Softmax(6, 2), "a": Regress(6)}, weigh="uncertainty"),
]


def small() -> Joined:
    encoders = {"text": Chain(Scaler(5), Dense(5, 4)), "audio": Chain(Scaler(3), Recurrent(3, 4))}
    return Joined(encoders, Concat({"text": 4, "audio": 4}, 6), Softmax(6, 3), {"classes": ["a", "b", "c"]})


def batch(b: int = 4, t: int = 6) -> SimpleNamespace:
    inputs = {"text": 2 + torch.randn(b, 1, 5), "audio": torch.randn(b, t, 3)}
    masks = {
        "text": torch.ones(b, 1, dtype=torch.bool),
        "audio": torch.arange(t) <= torch.arange(b)[:, None],
    }
    present = torch.ones(b, 2, dtype=torch.bool)
    present[0, 0] = False
    return SimpleNamespace(inputs=inputs, masks=masks, present=present)


def run(model: Joined, x: SimpleNamespace) -> Tensor:
    return model(x.inputs, x.masks, x.present)


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return torch.equal(a, b)


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)
def test_reload_gives_the_same_bits(fusion: Fusion, head: Head, tmp_path: Path) -> None:
    encoders = {
        "words": Letters(8, depth=1, heads=2, limit=9),
        "sound": Chain(LogMel(800, 5), Scaler(5), Convolved(5, 6), Recurrent(6, 8)),
        "picture": Chain(Patches((1, 8, 8), 6), Dense(6, 8)),
    }
    model = Joined(encoders, fusion, head, {"reader": {"sound": "wave"}, "temperature": 1.5}).eval()
    inputs = {
        "words": torch.randint(1, 257, (2, 5)),
        "sound": torch.randn(2, 90, 1),
        "picture": torch.rand(2, 2, 64),
    }
    masks = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    present = torch.tensor([[True, True, True], [True, False, True]])
    model.save_pretrained(tmp_path)
    loaded = Joined.from_pretrained(tmp_path)
    assert same(model(inputs, masks, present), loaded(inputs, masks, present))
    assert loaded.names == ("words", "sound", "picture")
    assert loaded.meta == {"reader": {"sound": "wave"}, "temperature": 1.5}
    assert loaded.config() == model.config()
    assert not loaded.training
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())


def test_image_transformer_reloads(tmp_path: Path) -> None:
    model = Joined({"p": ImageTransformer((1, 8, 8), 8, heads=2)}, Concat({"p": 8}, 4), Softmax(4, 2)).eval()
    model.save_pretrained(tmp_path)
    x, there = {"p": torch.rand(1, 1, 64)}, {"p": torch.ones(1, 1, dtype=torch.bool)}
    assert torch.equal(model(x, there, there["p"]), Joined.from_pretrained(tmp_path)(x, there, there["p"]))


def test_saved_over_an_older_model(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    model = small()
    model.meta["threshold"] = 0.7
    model.save_pretrained(tmp_path)
    loaded = Joined.from_pretrained(str(tmp_path))
    assert loaded.meta["threshold"] == 0.7
    loaded.meta["threshold"] = 0.8
    loaded.save_pretrained(tmp_path / "again")
    assert Joined.from_pretrained(tmp_path / "again").meta["threshold"] == 0.8


def test_scalers_are_fitted_on_real_present_cells_and_remember(tmp_path: Path) -> None:
    model, one, two = small(), batch(), batch(b=3)
    one.inputs["text"][0] = float("nan")
    model.fit_scalers(iter([one, two]), digest="train-digest")
    cells = torch.cat([one.inputs["text"][1:, 0], two.inputs["text"][1:, 0]]).double()
    scaler = model.scalers()["text"]
    torch.testing.assert_close(scaler.location, cells.mean(0))
    torch.testing.assert_close(scaler.sd, cells.std(0, correction=0))
    model.save_pretrained(tmp_path)
    found = Joined.from_pretrained(tmp_path).scalers()
    assert {name: s.digest for name, s in found.items()} == {"text": "train-digest", "audio": "train-digest"}


def test_a_scaler_behind_a_front_is_fitted_on_what_the_front_gives() -> None:
    front = LogMel(800, 4)
    model = Joined(
        {"s": Chain(front, Scaler(4), Dense(4, 4)), "x": Dense(2, 4)},
        Concat({"s": 4, "x": 4}, 4),
        Softmax(4, 2),
    )
    x, mask = torch.randn(3, 100, 1), torch.ones(3, 100, dtype=torch.bool)
    there = torch.ones(3, 2, dtype=torch.bool)
    model.fit_scalers([SimpleNamespace(inputs={"s": x}, masks={"s": mask}, present=there)])
    torch.testing.assert_close(model.scalers()["s"].location, front(x, mask).tokens.double().mean((0, 1)))
    assert list(model.scalers()) == ["s"]


def test_absent_part_is_a_part_never_given() -> None:
    model, x = small().eval(), batch()
    x.present[:, 1] = False
    x.inputs["audio"][:] = float("nan")
    without = {"text": x.inputs["text"]}, {"text": x.masks["text"]}
    torch.testing.assert_close(run(model, x), model(*without, x.present), atol=1e-6, rtol=0)
    one = model(
        {"text": x.inputs["text"][1:2]}, {"text": x.masks["text"][1:2]}, torch.tensor([[True, False]])
    )
    torch.testing.assert_close(one, run(model, x)[1:2], atol=1e-6, rtol=0)


def test_inputs_that_do_not_fit_are_named() -> None:
    model, x = small(), batch()
    with pytest.raises(ValueError, match="part 'audio': the model expects width 3, given 5"):
        model(x.inputs | {"audio": torch.randn(4, 6, 5)}, x.masks, x.present)
    with pytest.raises(ValueError, match="unknown part 'video'; this model knows: text, audio"):
        model(x.inputs | {"video": torch.randn(4, 6, 5)}, x.masks, x.present)
    with pytest.raises(ValueError, match="present has 3 columns, the model has parts text, audio"):
        model(x.inputs, x.masks, torch.ones(4, 3, dtype=torch.bool))


def test_members_that_do_not_fit_are_named() -> None:
    dense, head = Dense(3, 4), Softmax(6, 2)
    with pytest.raises(ValueError, match=r"encoders for \['a'\] but fusion of \['b'\]"):
        Joined({"a": dense}, Concat({"b": 4}, 6), head)
    with pytest.raises(ValueError, match="part 'a': fusion reads 5, encoder gives 4"):
        Joined({"a": dense}, Concat({"a": 5}, 6), head)
    with pytest.raises(ValueError, match="head reads 6 columns, fusion gives 7"):
        Joined({"a": dense}, Concat({"a": 4}, 7), head)


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no saved model at .*nowhere"):
        Joined.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no saved model at"):
        Joined.from_pretrained(tmp_path)


def test_order_of_encoders_follows_the_fusion() -> None:
    encoders = {"b": Dense(2, 4), "a": Dense(3, 4)}
    model = Joined(encoders, Concat({"a": 4, "b": 4}, 4), Softmax(4, 2))
    assert model.names == ("a", "b")


def test_cost_is_the_closed_form() -> None:
    rows = {row["name"]: row for row in small().cost({"audio": 7})}
    assert rows["encoder text"]["macs"] == 5 * 4
    assert rows["encoder audio"]["macs"] == 7 * 2 * 3 * 2 * (3 + 2)  # steps · ways · gates · hidden · inputs
    assert rows["fusion"]["macs"] == 8 * 6
    assert rows["head"]["macs"] == 6 * 3
    assert rows["all"]["macs"] == sum(row["macs"] for name, row in rows.items() if name != "all")
    assert rows["head"]["parameters"] == 6 * 3 + 3
    assert rows["all"]["parameters"] == sum(p.numel() for p in small().parameters())


def test_counter_sees_every_kind_of_layer_and_leaves_the_mode() -> None:
    there = torch.ones(1, 6, dtype=torch.bool)
    lstm = Recurrent(3, 4, cell="lstm", bidirectional=False).train()
    assert counted(lstm, torch.zeros(1, 6, 3), there)[1] == 6 * 4 * 4 * (3 + 4)
    assert lstm.training
    convolved = Convolved(3, 4, layers=1)
    assert counted(convolved, torch.zeros(1, 6, 3), there)[1] == 3 * 3 * 3 * 4
    block = Letters(8, depth=1, heads=2)
    linear = 6 * (4 * 8 * 8 + 2 * 8 * 32)
    assert counted(block, torch.zeros(1, 6, dtype=torch.long), there)[1] == linear + 2 * 6 * 6 * 8
