"""Pocket decoders on disk: configs and tensor names of transformers' Llama and LLaVA, 16 bits a weight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from polymodal.nn.decoder.layers import Shape
from polymodal.nn.decoder.prompt import TEMPLATE

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


def ours(folder: Path) -> bool:
    """Whether a folder's config says that a pocket model is in it."""
    file = folder / "config.json"
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and "polymodal" in written


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
    heads = [
        name for name in weights if name.endswith("lm_head.weight") or name.endswith("rotary_emb.inv_freq")
    ]
    given = {
        name: tensor for name, tensor in weights.items() if name not in heads
    }  # the head is the embedding
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
                "chat_template": TEMPLATE,
            }
        )
        out["chat_template.jinja"] = TEMPLATE.encode()
    return out


def as_json(value: Mapping[str, Any]) -> bytes:
    """JSON as this project writes it."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
