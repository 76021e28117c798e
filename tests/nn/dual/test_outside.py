"""CLIP and SigLIP made tiny from their configs, saved the way real ones are, and seen through Dual."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.nn.dual.conftest import TEXTS

from polymodal.nn import Dual
from polymodal.nn.pocket import Tokens

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(3)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tokens: Tokens) -> Path:
    """Folders clip and siglip, with tokenizers, and bert."""
    import transformers as hf

    hf.utils.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("outside")
    tokens.save(place)
    marks = {"pad_token": "<pad>", "eos_token": "<end>", "bos_token": "<start>"}
    words = hf.PreTrainedTokenizerFast(tokenizer_file=str(place / "tokenizer.json"), **marks)
    ids = {"pad_token_id": tokens.pad, "bos_token_id": tokens.start, "eos_token_id": tokens.end}
    text = SMALL | ids | {"vocab_size": len(tokens), "max_position_embeddings": 24}
    picture = SMALL | {"image_size": 16, "patch_size": 8}
    for kind, build, config in (
        ("clip", hf.CLIPModel, hf.CLIPConfig(text_config=text, vision_config=picture, projection_dim=12)),
        ("siglip", hf.SiglipModel, hf.SiglipConfig(text_config=text, vision_config=picture)),
    ):
        model = build(config)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight) * (weight.numel() > 1)
        model.save_pretrained(place / kind)
        words.save_pretrained(place / kind)
    hf.BertConfig(**SMALL).save_pretrained(place / "bert")
    return place


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_vectors_are_those_of_transformers(home: Path, kind: str) -> None:
    dual = Dual.from_pretrained(home / kind)
    model: Any = dual.net.model
    pixels, ids = dual.prepare(IMAGES), dual.tokenise(TEXTS)
    assert pixels.shape == (3, 3, 16, 16)
    out = model(input_ids=ids, pixel_values=pixels)
    torch.testing.assert_close(dual.image(pixels), out.image_embeds)
    torch.testing.assert_close(dual.text(ids), out.text_embeds)
    logits = dual.scale * dual.image(pixels) @ dual.text(ids).T + dual.bias
    torch.testing.assert_close(logits, out.logits_per_image)
    assert ids.shape[1] == (24 if kind == "siglip" else max(len(row) for row in _real(dual, ids)))
    whole, patches = dual.views(pixels)
    torch.testing.assert_close(whole, dual.image(pixels))
    torch.testing.assert_close(patches, dual.dense(pixels))
    assert patches.shape == (3, 2, 2, dual.dim)
    assert dual.tower(pixels).shape == (3, 4, 16)
    with pytest.raises(ValueError, match="hidden states are 0 to 2, not 7"):
        dual.tower(pixels, 7)


def _real(dual: Dual, ids: torch.Tensor) -> list[list[int]]:
    return [[i for i in row if i != dual.tokens.tokenizer.pad_token_id] for row in ids.tolist()]


@torch.no_grad()
def test_a_picture_of_one_patch_has_one_vector_dense_or_not(home: Path) -> None:
    """SigLIP's head attends to a single patch with weight 1, whatever its probe."""
    import transformers as hf

    config = hf.AutoConfig.from_pretrained(home / "siglip")
    config.vision_config.image_size = 8
    from polymodal.nn.dual.outside import Outside

    net = Outside(hf.SiglipModel(config).eval(), {})
    dual = Dual(net, None)
    pixels = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(dual.dense(pixels)[:, 0, 0], dual.image(pixels))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_long_path_saves_and_loads(home: Path, kind: str, tmp_path: Path) -> None:
    dual = Dual.from_pretrained(home / kind)
    with pytest.raises(ValueError, match="stretched"):
        dual.tokenise(TEXTS, long=True)
    dual.stretched()
    ids = dual.tokenise([TEXTS[1], TEXTS[2]])[:, :20]
    torch.testing.assert_close(dual.text(ids, long=True), dual.text(ids))
    endless = " ".join(TEXTS * 5).replace(".", ",").replace("?", ",")
    assert dual.shortened([endless + ". a star"], long=True) == ([endless + ". a star"], 1)
    assert dual.shortened(["a star. " + endless], long=True) == (["a star."], 1)
    long = dual.tokenise([endless], long=True)
    assert long.shape[1] == 4 * 24 - 60
    with torch.no_grad():
        dual.net.long_projection.weight += 0.1
    dual.save_pretrained(tmp_path / "saved")
    again = Dual.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(again.text(long, long=True), dual.text(long, long=True))
    torch.testing.assert_close(again.prepare(IMAGES), dual.prepare(IMAGES))
    with pytest.raises(ValueError, match="only pocket towers"):
        dual.files()


def test_crop_follows_the_checkpoint_and_squeezing_keeps_boxes(home: Path) -> None:
    dual = Dual.from_pretrained(home / "clip")
    dual.net.settings = dual.net.settings | {
        "size": {"shortest_edge": 16},
        "do_center_crop": True,
        "crop_size": {"height": 16, "width": 16},
    }
    picture = np.zeros((16, 48, 3), np.uint8)
    picture[:, :16] = 255
    whole, middle = dual.prepare([picture]), dual.prepare([picture], crop=True)
    assert whole.shape == middle.shape == (1, 3, 16, 16)
    assert whole[..., 0].mean() > 0.9
    assert middle.max() == -1


def test_freezing_reaches_the_model_inside(home: Path) -> None:
    dual = Dual.from_pretrained(home / "siglip").freeze("image", "scale")
    assert all(
        name.startswith("model.text_model") for name, p in dual.net.named_parameters() if p.requires_grad
    )
    assert any(p.requires_grad for p in dual.parameters())


def test_other_models_and_broken_ones_are_refused(home: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig

    with pytest.raises(ValueError, match="type bert; dual encoders are of type clip or siglip"):
        Dual.from_pretrained(home / "bert")
    AutoConfig.from_pretrained(home / "clip").save_pretrained(tmp_path)
    weights = load_file(home / "clip" / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"visual_projection\.weight is missing"):
        Dual.from_pretrained(tmp_path)
    weights["visual_projection.weight"] = torch.zeros(9, 16)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"visual_projection\.weight is \(9, 16\), not \(12, 16\)"):
        Dual.from_pretrained(tmp_path)
