"""Where each family of models keeps its text decoder: prefixes, spellings, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from polymodal.nn.weights.headers import Checkpoint, Entry, View, WeightsError, rows, whole

OLDER, NEWER, TEXT_MODEL, PLAIN = (
    "language_model.model.",
    "model.language_model.",
    "model.text_model.",
    "model.",
)
NESTED = (OLDER, NEWER, "language_model.", PLAIN)
PREFIXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), (TEXT_MODEL, "text_model.")),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen2_audio", "qwen3_vl"), (PLAIN, NEWER, OLDER)),
    **dict.fromkeys(("llava", "llava_next", "llava_next_video", "llava_onevision", "vipllava"), NESTED),
    **dict.fromkeys(
        ("internvl", "internvl_chat", "mllama", "paligemma", "gemma3", "mistral3", "aria"), NESTED
    ),
    **dict.fromkeys(("llava_llama", "llava_mistral", "llava_qwen", "fuyu"), (PLAIN, *NESTED)),
    **dict.fromkeys(("minicpmv", "minicpmo"), ("llm.model.",)),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "internlm2", "gemma3_text"),
        (PLAIN, ""),
    ),
}
"""Prefixes of the text decoder by `model_type`, older and newer spellings of one family, tried in order."""

SETTINGS = {
    "hidden_size": None,
    "num_hidden_layers": None,
    "intermediate_size": None,
    "num_attention_heads": None,
    "num_key_value_heads": "num_attention_heads",
    "head_dim": None,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
}
"""What must agree between decoders; the value that a configuration of the Llama form means by silence."""

ACTS = ("hidden_activation", "hidden_act")
THETAS = {
    "qwen2_vl": 1e6,
    "qwen2_vl_text": 1e6,
    "qwen2_5_vl": 1e6,
    "qwen2_5_vl_text": 1e6,
    "mllama_text_model": 5e5,
}
SPELLED = {  # InternLM2's words in Llama's
    "attention.wqkv.": "self_attn.qkv_grouped.",
    "attention.wo.": "self_attn.o_proj.",
    "feed_forward.w1.": "mlp.gate_proj.",
    "feed_forward.w3.": "mlp.up_proj.",
    "feed_forward.w2.": "mlp.down_proj.",
    "attention_norm.": "input_layernorm.",
    "ffn_norm.": "post_attention_layernorm.",
}
FUSED = {
    "self_attn.qkv_proj.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    "self_attn.qkv_grouped.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    "mlp.gate_up_proj.": ("mlp.gate_proj.", "mlp.up_proj."),
}
EMBEDDINGS = ("embed_tokens.weight", "tok_embeddings.weight", "wte.weight")
HEADS = ("lm_head.weight", "output.weight")
BUFFERS = ("rotary_emb.inv_freq", ".masked_bias", ".position_ids")
LAYER = re.compile(r"(?P<prefix>.*?)layers\.(?P<n>\d+)\.(?P<rest>.+)")


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the text decoder."""
    for name in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(name), dict):
            return dict(config[name])
    return config


def setting(config: Mapping[str, Any], name: str) -> Any:
    """One setting of the text decoder under any of its spellings; None where the config does not say."""
    text = text_config(config)
    if name == "rope_theta":
        for nest in (text.get("rope_parameters"), text.get("rope_scaling")):
            if isinstance(nest, dict) and "rope_theta" in nest:
                return float(nest["rope_theta"])
        given = text.get(name, THETAS.get(str(text.get("model_type")), SETTINGS[name]))
        return float(given)
    if name == "hidden_act":
        return next((text[key] for key in ACTS if text.get(key)), SETTINGS[name])
    silent = SETTINGS[name]
    value = text.get(name)
    if value is None and isinstance(silent, str):
        return text.get(silent)
    if value is None and name == "head_dim" and text.get("hidden_size") and text.get("num_attention_heads"):
        return text["hidden_size"] // text["num_attention_heads"]
    if value is None and name == "rms_norm_eps":
        return text.get("norm_epsilon", silent)
    return silent if value is None else value


def stacks(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Every prefix that numbered layers stand under, in the file's order."""
    found = (LAYER.fullmatch(name) for name in checkpoint.entries)
    return tuple(dict.fromkeys(match["prefix"] for match in found if match))


def prefix_by_table(checkpoint: Checkpoint) -> str | None:
    """The decoder's prefix by the table, or None: unknown type, or none of its spellings is there."""
    known = PREFIXES.get(str(checkpoint.config.get("model_type")), ())
    there = stacks(checkpoint)
    return next((prefix for prefix in known if prefix in there), None)


class Decoder:
    """The text decoder of a checkpoint under one prefix: stored tensors by family-independent names.

    Names are those of Llama: `layers.N.self_attn.q_proj.weight`, `norm.weight`. Layers that only attend to
    another modality (Mllama) are `cross.J.…` and are left out of the numbering.
    """

    def __init__(self, checkpoint: Checkpoint, prefix: str) -> None:
        self.checkpoint, self.prefix = checkpoint, prefix
        self.cross = sorted(text_config(checkpoint.config).get("cross_attention_layers") or ())
        self.entries: dict[str, Entry] = {}
        self.buffers: list[str] = []
        for name, entry in checkpoint.entries.items():
            if not name.startswith(prefix):
                continue
            key = name.removeprefix(prefix)
            if not key.startswith("layers.") and (len(key.split(".")) > 2 or key in (*EMBEDDINGS, *HEADS)):
                continue
            if any(mark in name for mark in BUFFERS):
                self.buffers.append(name)
            else:
                self.entries[self._named(key)] = entry
        layers = {key.split(".")[1] for key in self.entries if key.startswith("layers.")}
        self.depth = len(layers)

    def _named(self, key: str) -> str:
        match = LAYER.fullmatch(key)
        if not match:
            return key
        n, rest = int(match["n"]), match["rest"]
        for theirs, plain in SPELLED.items():
            if rest.startswith(theirs):
                rest = plain + rest.removeprefix(theirs)
        if n in self.cross:
            return f"cross.{self.cross.index(n)}.{rest}"
        return f"layers.{n - sum(other < n for other in self.cross)}.{rest}"

    def views(self, split: frozenset[str]) -> dict[str, View]:
        """Tensors by name; those whose fused name is in `split` as their parts."""
        made: dict[str, View] = {}
        for key, entry in self.entries.items():
            fused = fused_in(key)
            if fused and key in split:
                made.update(self._parts(key, fused, entry))
            else:
                made[key] = whole(entry)
        return made

    def _parts(self, key: str, fused: str, entry: Entry) -> Iterator[tuple[str, View]]:
        before, _, after = key.partition(fused)
        spans = self._spans(fused, entry)
        for part, taken in zip(FUSED[fused], spans, strict=True):
            yield f"{before}{part}{after}", rows(entry, taken)

    def _spans(self, fused: str, entry: Entry) -> list[list[tuple[int, int]]]:
        """Rows of each part of a fused tensor."""
        n = entry.shape[0]
        if fused == "mlp.gate_up_proj.":
            return [[(0, n // 2)], [(n // 2, n)]]
        config = self.checkpoint.config
        heads, few, dim = (
            setting(config, s) for s in ("num_attention_heads", "num_key_value_heads", "head_dim")
        )
        if not heads or not dim or n != (heads + 2 * few) * dim or heads % few:
            raise WeightsError(
                f"{self.checkpoint.name}: {entry.name} has {n} rows, which do not split into {heads} query "
                f"and 2 x {few} key and value heads of {dim}; its config.json should say how many there are"
            )
        if fused == "self_attn.qkv_proj.":
            q, k = heads * dim, few * dim
            return [[(0, q)], [(q, q + k)], [(q + k, n)]]
        each = heads // few
        starts = range(0, n, (each + 2) * dim)
        cuts = ((0, each), (each, each + 1), (each + 1, each + 2))
        return [[(at + a * dim, at + b * dim) for at in starts] for a, b in cuts]


def fused_in(key: str) -> str | None:
    """The fused name inside a key, if any."""
    return next((fused for fused in FUSED if fused in key), None)
