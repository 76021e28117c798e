"""CLIP and SigLIP of transformers, tensors untouched, under the methods of our own towers."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.dual.stretch import stretched
from polymodal.nn.dual.towers import NOT_STRETCHED
from polymodal.nn.pocket.shelf import names
from polymodal.nn.pretrained import picture_settings, pixels

LONG = "long.safetensors"


class Outside(nn.Module):
    """A `CLIPModel` or `SiglipModel`; long positions and their projection lie beside it.

    Dense maps of CLIP are `Towers.dense`. SigLIP's last mixing is its pooling head, so there the patches
    pass all blocks, and then the head as if its probe saw one patch only.
    """

    def __init__(self, model: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        vision = model.config.vision_config
        self.siglip = model.config.model_type == "siglip"
        self.side = vision.image_size
        self.dim = vision.hidden_size if self.siglip else model.config.projection_dim
        self.long_embedding: nn.Embedding | None = None
        self.long_projection: nn.Linear | None = None

    @property
    def logit_scale(self) -> Tensor:
        """The model's own."""
        return self.model.logit_scale  # type: ignore[no-any-return]

    def image(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """A vector a picture."""
        return self._image(self.model.vision_model(x))

    def dense(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """A vector a patch, the last mixing left out."""
        return self._dense(self.model.vision_model(x, output_hidden_states=True))

    def views(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """`image` and `dense` from one pass."""
        out = self.model.vision_model(x, output_hidden_states=True)
        return self._image(out), self._dense(out)

    def hidden(self, x: Float[Tensor, "b c h w"], layer: int) -> Float[Tensor, "b n d"]:
        """Hidden states of the patches, without a class token."""
        states = self.model.vision_model(x, output_hidden_states=True).hidden_states
        if not -len(states) <= layer < len(states):
            raise ValueError(f"hidden states are 0 to {len(states) - 1}, not {layer}")
        out: Tensor = states[layer][:, 0 if self.siglip else 1 :]
        return out

    def positions(self, long: bool = False) -> int:
        """Tokens that fit, marks included."""
        if long and self.long_embedding is None:
            raise ValueError(NOT_STRETCHED)
        table: Any = self.long_embedding if long else self.model.text_model.embeddings.position_embedding
        return int(table.num_embeddings)

    def text(self, ids: Int[Tensor, "b t"], long: bool = False) -> Float[Tensor, "b d"]:
        """A vector a text."""
        if long:
            return self._long(ids)
        out = self.model.text_model(input_ids=ids).pooler_output
        return out if self.siglip else self.model.text_projection(out)  # type: ignore[no-any-return]

    def stretch(self) -> None:
        """Adds long positions and a copy of the projection (SigLIP: of the text head); once only."""
        if self.long_embedding is None:
            tower = self.model.text_model
            table = stretched(tower.embeddings.position_embedding.weight.detach())
            self.long_embedding = nn.Embedding(len(table), table.shape[1], _weight=table)
            self.long_projection = copy.deepcopy(tower.head if self.siglip else self.model.text_projection)

    def pixels(self, picture: UInt8[np.ndarray, "_ _ 3"], crop: bool) -> Float[np.ndarray, "3 _ _"]:
        """A picture as the checkpoint's settings ask, but squeezed instead of cropped unless `crop`."""
        whole = {"size": {"height": self.side, "width": self.side}, "do_center_crop": False}
        return pixels(picture, self.settings if crop else self.settings | whole)

    def save(self, folder: Path) -> None:
        """Model and picture settings by transformers' own writers; what is ours in a file beside them."""
        from transformers.image_processing_base import ImageProcessingMixin

        self.model.save_pretrained(folder)
        ImageProcessingMixin(**self.settings).save_pretrained(folder)
        if self.long_embedding is not None:
            ours = {k: x.contiguous() for k, x in self.state_dict().items() if k.startswith("long_")}
            save_file(ours, str(folder / LONG))

    def _image(self, out: Any) -> Float[Tensor, "b d"]:
        pooled: Tensor = out.pooler_output
        return pooled if self.siglip else self.model.visual_projection(pooled)

    def _dense(self, out: Any) -> Float[Tensor, "b n d"]:
        tower = self.model.vision_model
        if self.siglip:
            head = tower.head
            both, bias = head.attention.in_proj_weight, head.attention.in_proj_bias
            value = functional.linear(out.last_hidden_state, both.chunk(3)[2], bias.chunk(3)[2])
            x = head.attention.out_proj(value)
            return x + head.mlp(head.layernorm(x))  # type: ignore[no-any-return]
        last, x = tower.encoder.layers[-1], out.hidden_states[-2][:, 1:]
        x = x + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(x)))
        x = x + last.mlp(last.layer_norm2(x))
        return self.model.visual_projection(tower.post_layernorm(x))  # type: ignore[no-any-return]

    def _long(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """The text tower on long positions, whose models take no ready embeddings."""
        if self.long_embedding is None or self.long_projection is None:
            raise ValueError(NOT_STRETCHED)
        tower, t = self.model.text_model, ids.shape[1]
        x = tower.embeddings.token_embedding(ids) + self.long_embedding.weight[:t]
        mask = None
        if not self.siglip:
            mask = torch.full((1, 1, t, t), torch.finfo(x.dtype).min, device=x.device, dtype=x.dtype).triu(1)
        states = tower.encoder(inputs_embeds=x, attention_mask=mask).last_hidden_state
        states = tower.final_layer_norm(states)
        place = torch.full_like(ids[:, 0], t - 1)
        if not self.siglip:
            end = self.model.config.text_config.eos_token_id
            place = (ids if end == 2 else (ids == end).int()).argmax(1)  # 2: OpenAI's, end has the largest id
        out: Tensor = self.long_projection(states[torch.arange(len(ids), device=ids.device), place])
        return out


class Words:
    """The checkpoint's tokenizer with the one method that a dual encoder asks for."""

    def __init__(self, tokenizer: Any, full: bool) -> None:
        self.tokenizer, self.full = tokenizer, full

    def batch(self, texts: Sequence[str], length: int) -> Int[Tensor, "b t"]:
        """Ids padded to the longest text, or always to `length` where the model was trained so (SigLIP)."""
        pad = "max_length" if self.full else "longest"
        out = self.tokenizer(
            list(texts), padding=pad, truncation=True, max_length=length, return_tensors="pt"
        )
        return out["input_ids"]  # type: ignore[no-any-return]

    def count(self, text: str) -> int:
        """Tokens of a text, its marks included, before anything is cut."""
        return len(self.tokenizer(text, verbose=False)["input_ids"])

    def save(self, folder: Path) -> None:
        """By transformers' own writer."""
        self.tokenizer.save_pretrained(folder)


def outside(name: str, **options: Any) -> tuple[Outside, Words]:
    """The towers and the tokenizer of a model folder or a model on the hub, in 32 bits.

    Raises:
        FileNotFoundError: neither a pocket model, a model folder nor a model on the hub; or no tokenizer.
        ValueError: a model that is neither CLIP nor SigLIP, or weights that lack a part or have other shapes.
    """
    from transformers import AutoConfig, AutoTokenizer, CLIPModel, SiglipModel
    from transformers.utils.hub import cached_file

    try:
        kind = AutoConfig.from_pretrained(name, **options).model_type
    except (OSError, ValueError) as error:
        known = ", ".join(names()) or "none in this installation"
        raise FileNotFoundError(
            f"no dual encoder at {name!r}: give a pocket model ({known}), a model folder or a name on the hub"
        ) from error
    if kind not in ("clip", "siglip"):
        raise ValueError(f"{name!r} is a model of type {kind}; dual encoders are of type clip or siglip")
    build = CLIPModel if kind == "clip" else SiglipModel
    model, info = build.from_pretrained(
        name, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    other = [f"{key} is {tuple(a)}, not {tuple(b)}" for key, a, b in sorted(info["mismatched_keys"])]
    if faults := [*other, *(f"{key} is missing" for key in sorted(info["missing_keys"]))]:
        raise ValueError(f"the weights at {name!r} do not fit their config: {'; '.join(faults)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"model {name!r} comes without its tokenizer") from error
    net = Outside(model.float(), picture_settings(name, model.config.vision_config))
    if found := cached_file(name, LONG, _raise_exceptions_for_missing_entries=False):
        net.stretch()
        net.load_state_dict(load_file(found), strict=False)
    return net, Words(tokenizer, kind == "siglip")
