"""Folders that transformers made from its own configs: merged, loaded by from_pretrained, run."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.chat import tiny

from polymodal.chat import Decoding, user
from polymodal.chat.local import Local
from polymodal.media import Image as Pixels
from polymodal.nn.weights import Recipe, plan
from polymodal.runs.checkpoints import write_checkpoint

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "pad_token_id": 0,
}
SEEING = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
PICTURE = Image.fromarray(np.arange(28 * 28 * 3, dtype=np.uint8).reshape(28, 28, 3))


def llava() -> tuple[Any, Any]:
    import transformers

    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**SEEING, image_size=28, patch_size=14),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_index=63,
    )
    return transformers.LlavaForConditionalGeneration(config), transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**TEXT)
    )


def idefics3() -> tuple[Any, Any]:
    import transformers

    config = transformers.Idefics3Config(
        vision_config=SEEING | {"image_size": 28, "patch_size": 14},
        text_config=transformers.LlamaConfig(**TEXT),
        scale_factor=2,
        image_token_id=63,
        tie_word_embeddings=True,
    )
    return transformers.Idefics3ForConditionalGeneration(config), transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**TEXT)
    )


def qwen2_vl() -> tuple[Any, Any]:
    import transformers

    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    config = transformers.Qwen2VLConfig(
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        text_config=TEXT | {"rope_parameters": rope, "rms_norm_eps": 1e-6},
        image_token_id=63,
        vision_start_token_id=62,
    )
    return transformers.Qwen2VLForConditionalGeneration(config), transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(**TEXT)
    )


def mllama() -> tuple[Any, Any]:
    import transformers

    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_global_layers": 1,
        "attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_output_dim": 64,
        "intermediate_layers_indices": [0],
        "supported_aspect_ratios": [[1, 1]],
        "max_num_tiles": 1,
    }
    text = TEXT | {"num_hidden_layers": 3, "cross_attention_layers": [1], "rope_theta": 10_000.0}
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    text |= {"rope_parameters": rope, "rms_norm_eps": 1e-6}
    config = transformers.MllamaConfig(vision_config=vision, text_config=text)
    return transformers.MllamaForConditionalGeneration(config), transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**TEXT)
    )


def pixels(name: str) -> dict[str, Any]:
    """The picture through the family's real image processor."""
    import transformers

    ids = torch.tensor([[1, 2, 63, 3]])
    if name == "llava":
        reader = transformers.CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        )
        ids = torch.tensor([[1, *[63] * 4, 2]])
        return {"input_ids": ids, **reader(PICTURE, return_tensors="pt")}
    return {"input_ids": ids[:, [0, 1, 3]]}


@pytest.mark.parametrize("make", [llava, idefics3, qwen2_vl, mllama], ids=lambda make: make.__name__)
def test_merged_folders_load_and_run(tmp_path: Path, make: Any) -> None:
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, about its defaults
        seeing, text = make()
        seeing.bfloat16().save_pretrained(tmp_path / "vlm", max_shard_size="60KB")
        text.save_pretrained(tmp_path / "llm")
        found = plan(tmp_path / "vlm", [tmp_path / "llm"], Recipe(weights=(0.6,)))
        assert len(found.merges) == sum("layers" in n or n == "model.norm.weight" for n in text.state_dict())
        out = write_checkpoint(found, tmp_path / "out")
        model, told = transformers.AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
        with torch.no_grad():
            logits = model(**pixels(make.__name__)).logits
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]
    assert bool(torch.isfinite(logits).all())
    before, after = seeing.state_dict(), model.state_dict()
    partner = {key.removeprefix("model."): value for key, value in text.state_dict().items()}
    merged = 0
    for name, value in before.items():
        if torch.equal(value, after[name].to(value.dtype)):
            continue
        merged += 1
        assert "vision" not in name
        if make is not mllama:
            key = name[name.index("layers.") :] if "layers." in name else "norm.weight"
            want = value.float() + 0.4 * (partner[key].float() - value.float())
            torch.testing.assert_close(after[name].float(), want, atol=1e-2, rtol=1e-2)
    assert merged == sum(len(merge.view.shape) == 2 for merge in found.merges)  # norms and biases are as made


@pytest.mark.parametrize("make", [tiny.vision_model, tiny.idefics3_model], ids=["llava", "idefics3"])
def test_a_merged_folder_answers_about_a_picture(tmp_path: Path, make: Any) -> None:
    target = make(tmp_path / "vlm")
    donor = tiny.text_model(tmp_path / "llm")
    for weight in (1.0, 0.5):
        write_checkpoint(plan(target, [donor], Recipe(weights=(weight,))), tmp_path / str(weight))
    asked = user("what?", Pixels(np.asarray(PICTURE)))
    short = Decoding(tokens=12)
    said = [Local(str(path), decoding=short)(asked, seed=0) for path in (target, *tmp_path.glob("[01].[05]"))]
    before, *after = (reply.message for reply in said)
    assert before in after  # the target itself, at weight 1
    assert any(message != before for message in after)
    assert all(reply.usage.image_tokens > 0 for reply in said)
