"""One folder, two libraries: own towers against transformers' CLIPModel; dense maps, long texts, freezing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.nn.dual.conftest import TEXTS
from torch import Tensor

from polymodal.nn.dual import Dual
from polymodal.nn.dual.stretch import stretched
from polymodal.nn.pocket import Tokens

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(4)]


def features(out: Any) -> Tensor:
    return torch.nn.functional.normalize(getattr(out, "pooler_output", out), dim=-1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tokens: Tokens) -> tuple[Dual, Any]:
    """A saved folder with long texts in it, as we load it and as transformers does."""
    import transformers as hf

    hf.utils.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    made = Dual.pocket(tokens, dim=32, layers=3, heads=2, size=32, length=40, seed=3).stretched()
    for weight in made.parameters():  # biases and norms away from their starts, scale left alone
        weight.data += 0.02 * torch.randn_like(weight) * (weight.ndim > 0)
    folder = tmp_path_factory.mktemp("dual") / "saved"
    made.save_pretrained(folder)
    theirs = hf.CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    return Dual.from_pretrained(folder), theirs


@torch.no_grad()
def test_transformers_loads_the_same_folder_and_sees_the_same(pair: tuple[Dual, Any]) -> None:
    ours, theirs = pair
    pixels, ids = ours.prepare(IMAGES), ours.tokenise(TEXTS)
    torch.testing.assert_close(
        ours.image(pixels), features(theirs.get_image_features(pixels)), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(ours.text(ids), features(theirs.get_text_features(ids)), atol=1e-5, rtol=0)
    out = theirs(input_ids=ids, pixel_values=pixels)
    logits = ours.scale * ours.image(pixels) @ ours.text(ids).T
    torch.testing.assert_close(logits, out.logits_per_image, atol=1e-4, rtol=0)


@torch.no_grad()
def test_tower_is_the_hidden_state_before_the_last_block(pair: tuple[Dual, Any]) -> None:
    ours, theirs = pair
    pixels = ours.prepare(IMAGES)
    states = theirs.vision_model(pixels, output_hidden_states=True).hidden_states
    for layer in (-1, -2, 0, 1):
        torch.testing.assert_close(ours.tower(pixels, layer), states[layer][:, 1:], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="hidden states are 0 to 3 of 3 blocks, not 4"):
        ours.tower(pixels, 4)


@torch.no_grad()
def test_dense_is_the_last_block_of_transformers_without_mixing(pair: tuple[Dual, Any]) -> None:
    ours, theirs = pair
    pixels = ours.prepare(IMAGES)
    tower = theirs.vision_model
    x = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    last = tower.encoder.layers[-1]
    x = x + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(x)))
    x = x + last.mlp(last.layer_norm2(x))
    patches = features(theirs.visual_projection(tower.post_layernorm(x)))
    dense = ours.dense(pixels)
    assert dense.shape == (4, 4, 4, 32)
    torch.testing.assert_close(dense.flatten(1, 2), patches, atol=1e-5, rtol=0)
    whole, again = ours.views(pixels)
    torch.testing.assert_close(whole, ours.image(pixels))
    torch.testing.assert_close(again, dense)


@torch.no_grad()
def test_what_stands_behind_the_end_changes_nothing(dual: Dual) -> None:
    ids = dual.tokenise(TEXTS)
    alone = torch.cat([dual.text(dual.tokenise([text])) for text in TEXTS])
    torch.testing.assert_close(dual.text(ids), alone)
    torch.testing.assert_close(dual.text(ids.flip(0)).flip(0), alone)


@torch.no_grad()
def test_long_path_starts_as_the_short_one_for_up_to_twenty_tokens(dual: Dual) -> None:
    with pytest.raises(ValueError, match="stretched"):
        dual.text(dual.tokenise(TEXTS), long=True)
    dual.stretched().stretched()
    short = dual.tokenise([TEXTS[1], TEXTS[2]], long=True)
    assert short.shape[1] <= 20
    torch.testing.assert_close(dual.text(short, long=True), dual.text(short))
    longer = dual.tokenise([" ".join(TEXTS)])
    assert not torch.allclose(dual.text(longer, long=True), dual.text(longer))
    endless = " ".join(TEXTS * 9).replace(".", ",").replace("?", ",")
    assert dual.tokenise([endless], long=True).shape[1] == 4 * 40 - 60
    assert dual.tokenise([endless])[0, -1] == dual.tokens.end


def test_texts_that_are_too_long_end_with_a_sentence(dual: Dual) -> None:
    said = "two blue rings. a small star? one large heart! a red star in the upper left."
    assert dual.shortened([said, "a star"]) == ([said, "a star"], 0)
    long = "two blue rings and a heart. " * 9
    (kept, same), n = dual.shortened([long, "a star"])
    assert (same, n) == ("a star", 1)
    assert kept.endswith("heart.")
    assert dual.tokens.count(kept) <= 40 < dual.tokens.count(kept + " two blue rings and a heart.")
    assert torch.equal(dual.tokenise([long]), dual.tokenise([kept]))
    endless = "two blue rings and a heart, " * 9
    assert dual.shortened([endless]) == ([endless], 1)
    assert dual.tokenise([endless]).shape == (1, 40)


def test_stretch_table_by_hand() -> None:
    table = torch.arange(77.0)[:, None] ** 2
    long = stretched(table)
    assert long.shape == (248, 1)
    torch.testing.assert_close(long[:20], table[:20])
    for old, new in ((20, 20), (21, 24), (76, 244)):
        assert long[new] == table[old]
    assert long[22] == (20**2 + 21**2) / 2
    torch.testing.assert_close(long[247], table[76] + 0.75 * (table[76] - table[75]))
    assert len(stretched(torch.randn(64, 2))) == 196
    with pytest.raises(ValueError, match="21 positions cannot be stretched"):
        stretched(torch.randn(21, 2))


def test_pocket_size_is_the_specs(tokens: Tokens) -> None:
    made = Dual.pocket(Tokens.trained(TEXTS), seed=1).stretched()
    count = {
        k: sum(p.numel() for p in getattr(made.net, k).parameters()) for k in ("vision_model", "text_model")
    }
    assert 1.0e6 < count["vision_model"] < 1.1e6
    assert 1.0e6 < count["text_model"] < 1.2e6
    again = Dual.pocket(Tokens.trained(TEXTS), seed=1).stretched()
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))


def test_freezing_names_its_parts(dual: Dual) -> None:
    dual.freeze("image")
    assert {n.split(".")[0] for n, p in dual.net.named_parameters() if p.requires_grad} == {
        "text_model",
        "text_projection",
        "logit_scale",
    }
    dual.freeze()
    assert not any(p.requires_grad for p in dual.parameters())
    with pytest.raises(ValueError, match="no part \\['vision'\\]; known: image, text, scale"):
        dual.freeze("vision")


def test_pictures_are_squeezed_to_the_models_square(dual: Dual) -> None:
    pixels = dual.prepare([IMAGES[0], np.full((10, 70, 3), 255, np.uint8)])
    assert pixels.shape == (2, 3, 32, 32)
    torch.testing.assert_close(pixels[0], torch.from_numpy(IMAGES[0]).permute(2, 0, 1) / 127.5 - 1)
    assert (pixels[1] == 1).all()
    with pytest.raises(ValueError, match="pictures are 32 x 32, given \\(16, 16\\)"):
        dual.image(torch.zeros(1, 3, 16, 16))


def test_files_are_what_save_pretrained_writes(dual: Dual, tmp_path: Path) -> None:
    dual.save_pretrained(tmp_path, half=False)
    for name, content in dual.files(half=False).items():
        assert (tmp_path / name).read_bytes().strip() == content.strip(), name
    again = Dual.from_pretrained(tmp_path)
    for a, b in zip(dual.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not again.training


def test_bad_folders_and_shapes_say_what_is_wrong(dual: Dual, tmp_path: Path, tokens: Tokens) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Dual.from_pretrained("nowhere/at-all")
    dual.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors"):
        Dual.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="3 heads must divide 32"):
        Dual.pocket(tokens, dim=32, heads=3)
