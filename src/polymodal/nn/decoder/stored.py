"""Pocket decoders on disk: transformers' configs and tensor names, 16 bits a weight."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from polymodal.nn.decoder.layers import Shape
from polymodal.nn.decoder.prompt import TEMPLATE
from polymodal.nn.dual.model import MEAN, SD

if TYPE_CHECKING:
    from polymodal.nn.pocket import Tokens

WEIGHTS = "model.safetensors"
FORM = 1  # of the prompts; a folder that says it goes the quick way in chat


def found(source: str | Path) -> Path:
    """The folder of a pocket model's name, or of a path.

    Raises:
        FileNotFoundError: no such folder.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        from polymodal.nn import pocket

        folder = pocket.folder(str(source))
    return folder


def config(folder: Path, kind: str) -> dict[str, Any]:
    """A folder's config.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is of another kind of model.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no config.json in it, so no checkpoint")
    out: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if out.get("model_type") != kind:
        raise ValueError(f"{file}: model_type is {out.get('model_type')!r}, and this loads {kind!r}")
    return out


def kind(folder: Path) -> str:
    """Which kind of pocket model a folder holds: `llama` or `llava`.

    Raises:
        ValueError: a prompt form that this version does not know.
    """
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    form = written.get("polymodal", {}).get("form")
    if form != FORM:
        raise ValueError(
            f"{folder}: prompts of form {form!r}, and this version knows {FORM}: update polymodal"
        )
    return str(written["model_type"])


def shape(text: Mapping[str, Any], folder: Path) -> Shape:
    """The shape that a Llama config tells.

    Raises:
        ValueError: a Llama of more than `nn` builds, saying what; chat runs it by transformers.
    """
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    heads, dim = int(text["num_attention_heads"]), int(text["hidden_size"])
    other = {
        "num_key_value_heads": text.get("num_key_value_heads") not in (None, heads),
        "head_dim": (text.get("head_dim") or dim // heads) != dim // heads,
        "attention_bias": bool(text.get("attention_bias")),
        "mlp_bias": bool(text.get("mlp_bias")),
        "hidden_act": text.get("hidden_act", "silu") != "silu",
        "rope_parameters": rope.get("rope_type", rope.get("type", "default")) != "default",
        "tie_word_embeddings": not text.get("tie_word_embeddings"),
    }
    if wrong := [f"{name}={text.get(name)!r}" for name, bad in other.items() if bad]:
        raise ValueError(f"{folder}: not of the pocket form ({', '.join(wrong)}); transformers can load it")
    return Shape(
        dim,
        int(text["num_hidden_layers"]),
        heads,
        int(text["intermediate_size"]),
        int(text["vocab_size"]),
        int(text["max_position_embeddings"]),
        float(text.get("rms_norm_eps", 1e-6)),
        float(text.get("rope_theta") or rope.get("rope_theta") or 10_000.0),
    )


def words(folder: Path) -> Tokens | None:
    """A folder's tokens, where it has some."""
    if not (folder / "tokenizer.json").is_file():
        return None
    from polymodal.nn.pocket import Tokens

    return Tokens.from_folder(folder)


def needed(tokens: Tokens | None) -> Tokens:
    """The tokens, or a ValueError that says how to come by them."""
    if tokens is None:
        raise ValueError("a decoder without tokens takes and gives ids only: set its `words`")
    return tokens


def tensors(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder, in 32 bits.

    Raises:
        FileNotFoundError: no `model.safetensors`.
        ValueError: it cannot be read.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no {WEIGHTS} in it")
    try:
        return {name: tensor.float() for name, tensor in load_file(file).items()}
    except SafetensorError as error:
        raise ValueError(f"{file}: cannot be read: {error}") from error


def fill(net: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Puts weights into a network, each where its name says.

    Raises:
        ValueError: a missing, unknown or misshapen tensor, the first few by name.
    """
    own = net.state_dict()
    given = {here: tensor for name, tensor in weights.items() if (here := _spelt(name, own))}
    wrong = [f"{name} is missing" for name in own if name not in given]
    wrong += [f"{name} is unknown" for name in given if name not in own]
    wrong += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{folder}: weights do not fit its config: {'; '.join(wrong[:5])}{more}")
    net.load_state_dict(given)


def _spelt(name: str, own: Collection[str]) -> str:
    """A tensor's name here: newer transformers spell LLaVA otherwise. Empty for what is not kept."""
    if name.endswith(("lm_head.weight", "rotary_emb.inv_freq", "position_ids")):
        return ""  # the head is the embedding, the others are computed
    if name in own:
        return name
    name = re.sub(r"^model\.language_model\.", "language_model.model.", name)
    name = re.sub(r"^model\.(?=vision_tower|multi_modal)", "", name)
    return re.sub(r"^vision_tower\.(?!vision_model)", "vision_tower.vision_model.", name)


def check_sight(config: Mapping[str, Any], folder: Path) -> None:
    """A LLaVA config is of the form that `Seeing` builds.

    Raises:
        ValueError: naming what differs.
    """
    kind = config["vision_config"].get("model_type", "clip_vision_model")
    found = {
        "vision_config.model_type": (kind, "clip_vision_model"),
        "vision_feature_layer": (config.get("vision_feature_layer", -2), -2),
        "vision_feature_select_strategy": (
            config.get("vision_feature_select_strategy", "default"),
            "default",
        ),
        "projector_hidden_act": (config.get("projector_hidden_act", "gelu"), "gelu"),
        "multimodal_projector_bias": (config.get("multimodal_projector_bias", True), True),
    }
    if wrong := [f"{name}={value!r}" for name, (value, known) in found.items() if value != known]:
        raise ValueError(f"{folder}: not of the pocket form ({', '.join(wrong)}); transformers can load it")


def language_config(shape: Shape, tokens: Tokens | None) -> dict[str, Any]:
    """The config of a LlamaForCausalLM of this shape."""
    marks = {} if tokens is None else marks_of(tokens)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.dim,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.dim // shape.heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.theta,
        "rope_parameters": {"rope_theta": shape.theta, "rope_type": "default"},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        **marks,
        "dtype": "float16",
        "polymodal": {"form": FORM},
    }


def sight_config(shape: Shape, tokens: Tokens, vision: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a LlavaForConditionalGeneration with this decoder and CLIP vision tower."""
    text = language_config(shape, tokens)
    ours = text.pop("polymodal")
    eye = {"num_channels": 3, "layer_norm_eps": 1e-5, **vision, "model_type": "clip_vision_model"}
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": text,
        "vision_config": eye,
        "image_token_index": tokens.image,
        "image_seq_length": (eye["image_size"] // eye["patch_size"]) ** 2,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "tie_word_embeddings": True,
        **marks_of(tokens),
        "dtype": "float16",
        "polymodal": ours,
    }


def marks_of(tokens: Tokens) -> dict[str, int]:
    """The ids of the marks, as configs name them."""
    return {"pad_token_id": tokens.pad, "bos_token_id": tokens.start, "eos_token_id": tokens.end}


def files(
    written: Mapping[str, Any], weights: Mapping[str, Tensor], tokens: Tokens | None
) -> dict[str, bytes]:
    """The files of a checkpoint: config, weights, and the tokenizer with its chat template."""
    half = {name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in weights.items()}
    out = {"config.json": as_json(written), WEIGHTS: save(half, metadata={"format": "pt"})}
    if tokens is not None:
        out["generation_config.json"] = as_json(marks_of(tokens))
        out["tokenizer.json"] = tokens.json().encode()
        out["tokenizer_config.json"] = as_json(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "<pad>",
                "bos_token": "<start>",
                "eos_token": "<end>",
                "image_token": "<image>",
                "extra_special_tokens": {"image_token": "<image>"},
                "padding_side": "left",
                "model_max_length": written.get("text_config", written)["max_position_embeddings"],
                "clean_up_tokenization_spaces": False,
            }
        )
        out["chat_template.jinja"] = TEMPLATE.encode()
    if "vision_config" in written:
        pictures = _pictures(written["vision_config"]["image_size"])
        out["preprocessor_config.json"] = as_json(pictures)
        out["processor_config.json"] = as_json(
            {
                "processor_class": "LlavaProcessor",
                "image_processor": pictures,
                "image_token": "<image>",
                "patch_size": written["vision_config"]["patch_size"],
                "vision_feature_select_strategy": "default",
                "num_additional_image_tokens": 1,  # the class token, which is dropped again
            }
        )
    return out


def _pictures(side: int) -> dict[str, Any]:
    """How transformers is to make pixels: squeezed to a square, as `Seeing.prepare` does."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [SD] * 3,
    }


def as_json(value: Mapping[str, Any]) -> bytes:
    """JSON as this project writes it."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
