"""Tiny checkpoints of many layouts, written as files without any model class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

DIM, HIDDEN, HEADS, FEW, VOCABULARY = 16, 24, 4, 2, 20
TEXT = {
    "model_type": "llama",
    "hidden_size": DIM,
    "intermediate_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_key_value_heads": FEW,
    "num_hidden_layers": 3,
    "vocab_size": VOCABULARY,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
}
State = dict[str, Tensor]


def decoder(
    seed: int,
    prefix: str = "model.",
    head: str | None = "lm_head.weight",
    layers: int = 3,
    bias: bool = False,
) -> State:
    """A decoder of the Llama form in fp32, each tensor drawn from its own stream."""
    kv = DIM // HEADS * FEW
    shapes: dict[str, tuple[int, ...]] = {}
    for n in range(layers):
        at = f"{prefix}layers.{n}."
        shapes |= {
            f"{at}input_layernorm.weight": (DIM,),
            f"{at}self_attn.q_proj.weight": (DIM, DIM),
            f"{at}self_attn.k_proj.weight": (kv, DIM),
            f"{at}self_attn.v_proj.weight": (kv, DIM),
            f"{at}self_attn.o_proj.weight": (DIM, DIM),
            f"{at}post_attention_layernorm.weight": (DIM,),
            f"{at}mlp.gate_proj.weight": (HIDDEN, DIM),
            f"{at}mlp.up_proj.weight": (HIDDEN, DIM),
            f"{at}mlp.down_proj.weight": (DIM, HIDDEN),
        }
        if bias:
            shapes |= {f"{at}self_attn.q_proj.bias": (DIM,)}
    shapes |= {f"{prefix}norm.weight": (DIM,), f"{prefix}embed_tokens.weight": (VOCABULARY, DIM)}
    if head:
        shapes[head] = (VOCABULARY, DIM)
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def family(prefix: str = "model.", **words: Any) -> tuple[State, State, State]:
    """Base, target and donor under one naming: siblings, near to each other."""
    base = decoder(0, prefix, **words)
    near = [
        {n: t + 0.1 * d for (n, t), d in zip(base.items(), decoder(s, prefix, **words).values(), strict=True)}
        for s in (1, 2)
    ]
    return base, near[0], near[1]


def renamed(state: Mapping[str, Tensor], old: str, new: str) -> State:
    """The same tensors under another prefix."""
    return {new + name.removeprefix(old) if name.startswith(old) else name: t for name, t in state.items()}


def cast(state: Mapping[str, Tensor], dtype: torch.dtype) -> State:
    """The same tensors in another type."""
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def tower(seed: int = 9) -> State:
    """Parts that are not the decoder, one of them with numbered layers of the same names."""
    draw = torch.Generator().manual_seed(seed)
    return {
        "vision_tower.encoder.layers.0.self_attn.q_proj.weight": torch.randn(8, 8, generator=draw),
        "multi_modal_projector.linear_1.weight": torch.randn(DIM, 8, generator=draw),
        "image_newline": torch.randn(DIM, generator=draw),
    }


def saved(
    folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any] = TEXT, shards: int = 1
) -> Path:
    """Writes a checkpoint folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    whole = {name: tensor.contiguous() for name, tensor in state.items()}
    if shards == 1:
        save_file(whole, folder / "model.safetensors", {"format": "pt"})
        return folder
    table = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(whole.items())[i::shards])
        save_file(part, folder / file, {"format": "pt"})
        table |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return folder


def llava(folder: Path, text: Mapping[str, Tensor], shards: int = 1, **config: Any) -> Path:
    """Writes a vision-language checkpoint around a decoder of prefix `language_model.model.`."""
    told = {"model_type": "llava", "text_config": dict(TEXT), "vision_config": {"hidden_size": 8}} | config
    return saved(folder, {**tower(), **text}, told, shards)


def loaded(folder: Path) -> State:
    """All tensors of a folder."""
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


def same(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit."""
    return (
        a.dtype == b.dtype and a.shape == b.shape and bool((a.view(torch.uint8) == b.view(torch.uint8)).all())
    )
