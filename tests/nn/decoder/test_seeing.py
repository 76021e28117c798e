"""The decoder that sees: equal to transformers' LLaVA both ways, with pictures and with padding."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.nn.decoder import tiny

from polymodal.nn.decoder import Decoder, Eye, Seeing, Shape, asked, lesson, taught

PICTURES = [np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def net() -> Seeing:
    return tiny.seeing()


@pytest.fixture(scope="module")
def home(net: Seeing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.written(net.files(), tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def llava(home: Path) -> Any:
    from transformers import LlavaForConditionalGeneration

    return LlavaForConditionalGeneration.from_pretrained(home, dtype=torch.float32).eval()


def both(net: Seeing, llava: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of three questions about three pictures, padded on the left, here and there."""
    ids, mask = asked(net.words, tiny.QUESTIONS, net.patches)
    pixels = net.prepare(PICTURES)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        ours = net(pixels, ids, mask)[mask]
        theirs = llava(ids, pixels, attention_mask=mask.long(), position_ids=places).logits[mask]
    return ours, theirs


def test_logits_are_those_of_transformers(net: Seeing, llava: Any) -> None:
    ours, theirs = both(net, llava)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert theirs.std() > 0.5


def test_what_transformers_saves_loads_here(llava: Any, net: Seeing, home: Path, tmp_path: Path) -> None:
    llava.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((home / "tokenizer.json").read_bytes())
    assert "polymodal" in json.loads((tmp_path / "config.json").read_text())
    ours, theirs = both(Seeing.from_pretrained(tmp_path), llava)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("language_model.model.", "model.language_model."),
        ("vision_tower.", "model.vision_tower."),
        ("multi_modal_projector.", "model.multi_modal_projector."),
        ("vision_tower.vision_model.", "vision_tower."),
        ("vision_tower.vision_model.", "model.vision_tower."),
    ],
)
def test_every_spelling_of_tensors_is_read(
    home: Path, net: Seeing, tmp_path: Path, old: str, new: str
) -> None:
    for file in home.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(home / "model.safetensors")
    assert any(name.startswith(old) for name in weights)
    renamed = {re.sub(f"^{re.escape(old)}", new, name): weight for name, weight in weights.items()}
    save_file(renamed | {"lm_head.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    other = Seeing.from_pretrained(tmp_path)
    for name, weight in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight), name


def test_a_folder_gives_the_same_net(net: Seeing, home: Path) -> None:
    other = Seeing.from_pretrained(home)
    assert other.files() == net.files()
    assert not other.training


def test_the_pocket_size_is_the_one_of_the_page() -> None:
    vision = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 5, "num_attention_heads": 4}
    vision |= {"image_size": 64, "patch_size": 8, "num_channels": 3, "layer_norm_eps": 1e-5}
    decoder = Decoder(Shape(), tiny.tokens())
    net = Seeing(Eye(vision | {"hidden_act": "gelu"}), decoder)
    assert net.patches == 64
    assert round(sum(weight.numel() for weight in net.parameters()) / 1e6, 2) == 3.01


def test_pixels_are_those_of_transformers(net: Seeing, home: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    theirs = CLIPImageProcessorPil.from_pretrained(home)
    large = np.random.default_rng(0).integers(0, 255, (40, 23, 3), dtype=np.uint8)
    for picture in (PICTURES[0], large):
        pixels = theirs(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(net.prepare([picture]), pixels, atol=1e-5, rtol=0)


def test_states_kept_from_before_stand_for_the_pixels(net: Seeing) -> None:
    ids, _ = asked(net.words, ["how many"] * 3, net.patches)
    pixels = net.prepare(PICTURES)
    assert torch.equal(net(pixels, ids), net(net.look(pixels), ids))


def test_each_picture_goes_to_its_own_row_and_none_to_a_row_without_slots(net: Seeing) -> None:
    pixels = net.prepare(PICTURES)
    asks, _ = asked(net.words, ["how many"] * 3, net.patches)
    whole = net(pixels, asks)
    for row in range(3):
        alone = net(pixels[row : row + 1], asks[row : row + 1])
        torch.testing.assert_close(whole[row : row + 1], alone, atol=1e-4, rtol=0)
    blind, _ = asked(net.words, ["how many"])
    torch.testing.assert_close(net(None, blind), net.language_model(blind))


def test_slots_and_patches_must_agree(net: Seeing) -> None:
    ids, _ = asked(net.words, ["how many"], net.patches)
    for pixels in (None, net.prepare(PICTURES)):
        with pytest.raises(ValueError, match="a picture takes 4 slots"):
            net(pixels, ids)
    with pytest.raises(ValueError, match="set its `words`"):
        Seeing(net.vision_tower, Decoder.pocket(24, 1, 3, 40, 64, 32))


def test_the_tower_is_a_frozen_copy_and_all_the_rest_learns(net: Seeing) -> None:
    fresh = tiny.seeing().train()
    ids, counted = lesson(fresh.words, ["which colour", "how many"], ["red", "3"], fresh.patches)
    taught(fresh(fresh.prepare(PICTURES[:2]), ids), ids, counted).backward()
    still = {name for name, weight in fresh.named_parameters() if weight.grad is None}
    assert still == {name for name, _ in fresh.named_parameters() if name.startswith("vision_tower.")}


def test_replies_and_chances_go_by_the_picture(net: Seeing) -> None:
    ids, _ = asked(net.words, ["which colour"] * 3, net.patches)
    pixels = net.prepare(PICTURES)
    replies = net.generate(pixels, ids, tokens=8)
    assert len(set(replies)) > 1
    assert net.generate(pixels, ids, tokens=8) == replies
    chances = net.logprobs(pixels, ids, ["red", "blue"])
    assert chances.shape == (3, 2)
    assert (chances < 0).all()
    assert not torch.allclose(chances[0], chances[1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vision_feature_layer": -1}, "vision_feature_layer=-1"),
        ({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy='full'"),
        ({"model_type": "llama"}, "this loads 'llava'"),
    ],
)
def test_another_form_is_named(home: Path, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    config = json.loads((home / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=says):
        Seeing.from_pretrained(tmp_path)


def test_a_net_without_tokens_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((home / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json"):
        Seeing.from_pretrained(tmp_path)
