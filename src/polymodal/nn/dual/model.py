"""Pictures and texts as unit vectors in one space: pocket towers, or CLIP or SigLIP."""

import json
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float, Int, UInt8
from PIL import Image
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.dual.outside import outside
from polymodal.nn.dual.sentences import fitting
from polymodal.nn.dual.towers import Towers
from polymodal.nn.pocket.shelf import folder, names
from polymodal.nn.pocket.tokens import Tokens

WEIGHTS, CONFIG, OURS = "model.safetensors", "config.json", "polymodal"
MAX_SCALE = 100.0
MEAN = SD = 0.5  # of pixels between 0 and 1, as pocket towers take them
PARTS = {
    "image": ("vision_model.", "visual_projection."),
    "text": ("text_model.", "text_projection.", "long_"),
    "scale": ("logit_scale", "logit_bias"),
}


class Dual(nn.Module, PyTorchModelHubMixin, library_name="polymodal"):
    """A dual encoder. All vectors it gives have length 1, so a product of two is their cosine.

    `net` holds the towers: `Towers`, our own, or `Outside`, a model of transformers. `net.side` is the
    height and width of the pictures it reads, `net.dim` the columns of its vectors.
    """

    def __init__(self, net: Any, tokens: Any) -> None:
        super().__init__()
        self.net, self.tokens = net, tokens
        self.dim: int = net.dim

    @classmethod
    def pocket(
        cls,
        tokens: Tokens,
        dim: int = 128,
        layers: int = 5,
        heads: int = 4,
        patch: int = 8,
        size: int = 64,
        length: int = 77,
        act: str = "gelu",
        *,
        seed: int = 0,
    ) -> "Dual":
        """New small towers with weights drawn from `seed`; both have the same width and depth.

        Raises:
            ValueError: `heads` does not divide `dim`, or `patch` not `size`.
        """
        if dim % heads or size % patch:
            raise ValueError(f"{heads} heads must divide {dim} columns, patches of {patch} a side of {size}")
        shape = {
            "hidden_size": dim,
            "intermediate_size": 4 * dim,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "hidden_act": act,
            "layer_norm_eps": 1e-5,
            "projection_dim": dim,
        }
        marks = {"pad_token_id": tokens.pad, "bos_token_id": tokens.start, "eos_token_id": tokens.end}
        text = shape | marks | {"vocab_size": len(tokens), "max_position_embeddings": length}
        config = {
            "model_type": "clip",
            "architectures": ["CLIPModel"],
            "library": OURS,
            "projection_dim": dim,
            "logit_scale_init_value": log(1 / 0.07),
            "vision_config": shape | {"num_channels": 3, "image_size": size, "patch_size": patch},
            "text_config": text,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(Towers(config), tokens)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "Dual":
        """A pocket model by name, a folder that `save_pretrained` made, or a CLIP or SigLIP of transformers.

        In eval mode and 32 bits, whatever the file holds. `options` go to transformers (`revision`, …).

        Raises:
            FileNotFoundError: no such pocket model, folder or model on the hub.
            ValueError: a model of another kind, or towers that do not fit each other.
        """
        name = str(pretrained_model_name_or_path)
        home = folder(name) if name in names() else Path(name)
        if (home / CONFIG).is_file():
            config = json.loads((home / CONFIG).read_text(encoding="utf-8"))
            if config.get("library") == OURS:
                return _loaded(home, config)
        return cls(*outside(str(home), **options)).eval()

    def image(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """A unit vector a picture."""
        return functional.normalize(self.net.image(pixels), dim=-1)

    def text(self, ids: Int[Tensor, "b t"], long: bool = False) -> Float[Tensor, "b d"]:
        """A unit vector a text; `long` reads the stretched positions and their own projection."""
        return functional.normalize(self.net.text(ids, long), dim=-1)

    def dense(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b y x d"]:
        """A unit vector a patch: the last block run without attention mixing, then the projection."""
        return _square(functional.normalize(self.net.dense(pixels), dim=-1))

    def views(
        self, pixels: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b y x d"]]:
        """`image` and `dense` of the same pictures for little more than the price of one."""
        whole, patches = self.net.views(pixels)
        return functional.normalize(whole, dim=-1), _square(functional.normalize(patches, dim=-1))

    def tower(self, pixels: Float[Tensor, "b c h w"], layer: int = -2) -> Float[Tensor, "b n d"]:
        """Hidden states of the patches as a decoder reads them: before the last block, no class token."""
        out: Tensor = self.net.hidden(pixels, layer)
        return out

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What cosines are multiplied with: exp of the learnt `logit_scale`, at most 100."""
        scale: Tensor = self.net.logit_scale.reshape(())
        return scale.exp().clamp(max=MAX_SCALE)

    @property
    def bias(self) -> Float[Tensor, ""]:
        """What scaled cosines of a SigLIP are shifted by before the sigmoid; 0 for others."""
        model = getattr(self.net, "model", None)
        shift: Tensor = getattr(model, "logit_bias", self.net.logit_scale.new_zeros(()))
        return shift.reshape(())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.logit_scale.device  # type: ignore[no-any-return]

    def prepare(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], crop: bool = False
    ) -> Float[Tensor, "b c h w"]:
        """Pictures as pixels of the model's size, squeezed to a square so that normalised boxes stay right.

        `crop=True` cuts the middle out instead where the checkpoint asks for it, as zero-shot tables do.
        """
        if isinstance(self.net, Towers):
            side = self.net.side
            same = [x if x.shape[:2] == (side, side) else _resized(x, side) for x in images]
            rows = torch.from_numpy(np.stack(same)).to(self.device).permute(0, 3, 1, 2)
            return rows.float().mul_(1 / 255 / SD).sub_(MEAN / SD).contiguous()
        rows = torch.from_numpy(np.stack([self.net.pixels(x, crop) for x in images]))
        return rows.to(self.device)

    def tokenise(self, texts: Sequence[str], long: bool = False) -> Int[Tensor, "b t"]:
        """Ids with their marks, padded to the longest text (SigLIP: to its full length); see `shortened`."""
        kept, _ = self.shortened(texts, long)
        return self.tokens.batch(kept, self.net.positions(long)).to(self.device)  # type: ignore[no-any-return]

    def shortened(self, texts: Sequence[str], long: bool = False) -> tuple[list[str], int]:
        """Texts as they are read, and how many of them have more tokens than there are positions.

        These end with the last sentence that fits; where not even the first one does, the text is given
        whole, and `tokenise` cuts it at the last token.
        """
        length, kept, cut = self.net.positions(long), list(texts), 0
        for i, text in enumerate(texts):
            if (
                len(text.encode()) + 2 > length and self.tokens.count(text) > length
            ):  # a token is a byte or more
                kept[i], cut = fitting(text, length, self.tokens.count), cut + 1
        return kept, cut

    def stretched(self) -> "Dual":
        """This model with a path for long texts: 77 positions become 248, the projection is copied."""
        self.net.stretch()
        return self

    def freeze(self, *parts: str) -> "Dual":
        """Fixes the weights of "image", "text" or "scale"; of all, where none is named.

        Raises:
            ValueError: no such part.
        """
        if unknown := set(parts) - set(PARTS):
            raise ValueError(f"no part {sorted(unknown)}; known: {', '.join(PARTS)}")
        fixed = tuple(start for part in parts or PARTS for start in PARTS[part])
        for name, weight in self.net.named_parameters():
            if name.removeprefix("model.").startswith(fixed):
                weight.requires_grad_(False)
        return self

    def tensors(self, half: bool = True) -> dict[str, Tensor]:
        """The weights under the names of transformers, copied to the CPU, in 16 bits or 32."""
        kind = torch.float16 if half else torch.float32
        return {name: x.detach().to("cpu", kind).contiguous() for name, x in self.net.state_dict().items()}

    def files(self, half: bool = True) -> Mapping[str, bytes]:
        """What a folder of a pocket model holds, by file name, for whoever may write."""
        if not isinstance(self.net, Towers):
            raise ValueError("only pocket towers are given as files; use save_pretrained for this model")
        config = json.dumps(self.net.config, indent=2, sort_keys=True) + "\n"
        weights = save(self.tensors(half), metadata={"format": "pt"})
        return {CONFIG: config.encode(), WEIGHTS: weights, "tokenizer.json": self.tokens.json().encode()}

    def save_pretrained(self, save_directory: str | Path, half: bool = True) -> None:  # type: ignore[override]
        """A folder that `from_pretrained`, and transformers, load; pocket towers in 16 bits, or 32."""
        self._half = half
        super().save_pretrained(save_directory)

    def _save_pretrained(self, save_directory: Path) -> None:
        if not isinstance(self.net, Towers):
            self._hub_mixin_config = None
            self.net.save(save_directory)
            self.tokens.save(save_directory)
            return
        save_file(self.tensors(self._half), str(save_directory / WEIGHTS), metadata={"format": "pt"})
        self.tokens.save(save_directory)
        self._hub_mixin_config = self.net.config


def _loaded(home: Path, config: dict[str, Any]) -> Dual:
    """Pocket towers from their folder, without transformers."""
    if not (home / WEIGHTS).is_file():
        raise FileNotFoundError(f"{home} has a {CONFIG} but no {WEIGHTS}")
    held = load_file(str(home / WEIGHTS))
    net = Towers(config)
    if "long_projection.weight" in held:
        net.stretch()
    try:
        net.load_state_dict({name: x.float() for name, x in held.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights at {home} do not fit their {CONFIG}: {error}") from None
    return Dual(net, Tokens.from_folder(home)).eval()


def _square(patches: Float[Tensor, "b n d"]) -> Float[Tensor, "b h w d"]:
    side = round(patches.shape[1] ** 0.5)
    return patches.reshape(len(patches), side, side, patches.shape[2])


def _resized(picture: UInt8[np.ndarray, "_ _ 3"], side: int) -> UInt8[np.ndarray, "s s 3"]:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
