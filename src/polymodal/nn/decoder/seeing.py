"""A decoder that sees: patches of a picture, projected into its stream (the LLaVA form)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.decoder import stored
from polymodal.nn.decoder.decode import continued, scored
from polymodal.nn.decoder.language import Decoder
from polymodal.nn.decoder.prompt import answered
from polymodal.nn.dual.model import MEAN, SD
from polymodal.nn.dual.towers import Pictures

if TYPE_CHECKING:
    from polymodal.nn.dual import Dual
    from polymodal.nn.pocket import Tokens

LAYER = -2  # whose states are read; the last block makes the class token of contrastive training


class Eye(nn.Module):
    """A CLIP vision tower under the names of transformers; gives the patches' states before its last block.

    Args:
        config: a CLIPVisionConfig as a mapping.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.vision_model = Pictures(self.config)
        self.dim, self.side = int(config["hidden_size"]), int(config["image_size"])
        self.patches = (self.side // int(config["patch_size"])) ** 2

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The states without the class token."""
        return self.vision_model.hidden(pixels, LAYER)[:, 1:]


class Projector(nn.Module):
    """From the tower's width to the decoder's: linear, GELU, linear."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(dim, out), nn.Linear(out, out)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n e"]:
        """Each patch by itself."""
        out: Tensor = self.linear_2(functional.gelu(self.linear_1(x)))
        return out


class Seeing(nn.Module):
    """Pictures and tokens in, a score for each next token out; the vision tower is frozen from the start.

    Where a token is `<image>`, a patch stands for it: a prompt with a picture has `patches` of them, one
    without has none. Tensors have the names of transformers' LlavaForConditionalGeneration.

    Args:
        vision_tower: what looks.
        language_model: what reads and answers; its `words` say which token is `<image>`.

    Raises:
        ValueError: a decoder without tokens.
    """

    def __init__(self, vision_tower: Eye, language_model: Decoder) -> None:
        super().__init__()
        self.words: Tokens = stored.needed(language_model.words)
        self.patches = vision_tower.patches
        self.vision_tower = vision_tower.requires_grad_(False)
        self.multi_modal_projector = Projector(vision_tower.dim, language_model.shape.dim)
        self.language_model = language_model

    @classmethod
    def pocket(cls, dual: Dual, decoder: Decoder, *, seed: int = 0) -> Seeing:
        """A copy of a pocket dual encoder's vision tower, a fresh projector, and the decoder itself."""
        eye = Eye(dual.net.config["vision_config"])
        eye.vision_model = copy.deepcopy(dual.net.vision_model)
        net = cls(eye, decoder)
        stream = torch.Generator().manual_seed(seed)
        for layer in (net.multi_modal_projector.linear_1, net.multi_modal_projector.linear_2):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=stream)
            nn.init.zeros_(layer.bias)
        return net

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Seeing:
        """Loads `pocket-vlm` or a folder, into 32 bits, in eval mode.

        Raises:
            FileNotFoundError: no such folder, or no weights or tokenizer in it.
            ValueError: a checkpoint of another kind, or weights that are not what its config says.
        """
        folder = stored.found(source)
        config = stored.config(folder, "llava")
        stored.check_sight(config, folder)
        words = stored.words(folder)
        if words is None:
            raise FileNotFoundError(f"{folder}: no tokenizer.json in it")
        text = {"tie_word_embeddings": config.get("tie_word_embeddings"), **config["text_config"]}
        net = cls(Eye(config["vision_config"]), Decoder(stored.shape(text, folder), words))
        stored.fill(net, stored.tensors(folder), folder)
        return net.eval()

    def forward(
        self,
        pixels: Float[Tensor, "p ..."] | None,
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t k"]:
        """Scores of the token after each.

        Args:
            pixels: "p c h w" of `prepare`, or states "p n d" that `look` gave before; a row that has slots
                takes the next picture.
            ids: tokens.
            mask: true where a token is real; needed for padding on the left only.

        Raises:
            ValueError: not as many slots as patches.
        """
        out: Tensor = self.language_model(embeds=self.embed(pixels, ids), mask=mask)
        return out

    def look(self, pixels: Float[Tensor, "p ..."]) -> Float[Tensor, "p n d"]:
        """States of the tower; what is one already is given back. Frozen, so worth keeping over epochs."""
        if pixels.ndim == 3:
            return pixels
        out: Tensor = self.vision_tower(pixels)
        return out

    def embed(self, pixels: Float[Tensor, "p ..."] | None, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """What stands for tokens and patches in the decoder's stream."""
        embeds, slots = self.language_model.embed(ids), ids == self.words.image
        n, given = int(slots.sum()), 0 if pixels is None else len(pixels) * self.patches
        if n != given:
            raise ValueError(
                f"{n} slots <image> for {given} patches: a picture takes {self.patches} slots of its prompt"
            )
        if pixels is None:
            return embeds
        seen = self.multi_modal_projector(self.look(pixels))
        return embeds.masked_scatter(slots[..., None], seen.to(embeds.dtype))

    def prepare(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[Tensor, "p c h w"]:
        """Pictures of any size as pixels of the tower's, squeezed to a square."""
        side = self.vision_tower.side
        same = [
            x
            if x.shape[:2] == (side, side)
            else np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.BICUBIC))
            for x in images
        ]
        rows = torch.from_numpy(np.stack(same)).permute(0, 3, 1, 2).float()
        home = self.multi_modal_projector.linear_1.weight.device
        return ((rows / 255 - MEAN) / SD).contiguous().to(home)

    def generate(
        self,
        pixels: Float[Tensor, "p ..."] | None,
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
        **drawing: Any,
    ) -> list[str]:
        """Replies to prompts that end together, as `prompt.asked` makes them.

        Args:
            pixels: as in `forward`.
            ids: prompts.
            mask: true where a token is real; without it, where it is not <pad>.
            drawing: `tokens`, `temperature`, `top_p` and `seed` of `decode.continued`.
        """
        with torch.no_grad():
            embeds = self.embed(pixels, ids)
        mask = ids != self.words.pad if mask is None else mask
        made = continued(self.language_model, embeds, mask, end=self.words.end, **drawing)
        return [self.words.text(row.ids) for row in made]

    def logprobs(
        self,
        pixels: Float[Tensor, "p ..."] | None,
        ids: Int[Tensor, "b t"],
        choices: Sequence[str] | Sequence[Sequence[str]],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Log-probability of each answer, its end included, after each prompt.

        Args:
            pixels: as in `forward`.
            ids: prompts that end together.
            choices: the answers, the same for every row or a list a row.
            mask: true where a token is real; without it, where it is not <pad>.
        """
        with torch.no_grad():
            embeds = self.embed(pixels, ids)
        mask = ids != self.words.pad if mask is None else mask
        return scored(self.language_model, embeds, mask, answered(self.words, choices, len(ids)))

    def files(self) -> Mapping[str, bytes]:
        """What `runs` writes so that `from_pretrained` and transformers load it: content by file name."""
        written = stored.sight_config(self.language_model.shape, self.words, self.vision_tower.config)
        return stored.files(written, self.state_dict(), self.words)
