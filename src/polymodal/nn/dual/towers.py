"""Picture and text transformers under the tensor names of transformers' `CLIPModel`."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.dual.stretch import stretched

ACTS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "quick_gelu": lambda: Quick(), "silu": nn.SiLU}
Config = dict[str, Any]
NOT_STRETCHED = "this model has no long texts yet: call stretched() first"


class Quick(nn.Module):
    """x · sigmoid(1.702 x), the activation of OpenAI's weights; `nn.GELU` is faster and nearly the same."""

    def forward(self, x: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention over whole rows."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        queries: Float[Tensor, "b q d"] | None = None,
        mask: Bool[Tensor, "b 1 q t"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "b q d"]:
        """What the queries (all of x, where not given) read from x, after the output projection."""
        if queries is None:  # one product for all three: a quarter faster on a CPU
            parts = (self.q_proj, self.k_proj, self.v_proj)
            weight, bias = (torch.cat([getattr(p, name) for p in parts]) for name in ("weight", "bias"))
            sides = functional.linear(x, weight, bias).chunk(3, -1)
        else:
            sides = (self.q_proj(queries), self.k_proj(x), self.v_proj(x))
        q, k, v = (rearrange(side, "b t (h d) -> b h t d", h=self.heads) for side in sides)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def alone(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Values through the output projection: every token reads itself only."""
        out: Tensor = self.out_proj(self.v_proj(x))
        return out


class Feed(nn.Module):
    """Two linear layers with an activation between."""

    def __init__(self, dim: int, hidden: int, act: str) -> None:
        super().__init__()
        self.activation_fn = ACTS[act]()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Token by token."""
        out: Tensor = self.fc2(self.activation_fn(self.fc1(x)))
        return out


class Layer(nn.Module):
    """One pre-norm block: x + attention, then x + feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, eps = config["hidden_size"], config["layer_norm_eps"]
        self.self_attn = Attention(dim, config["num_attention_heads"])
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)
        self.mlp = Feed(dim, config["intermediate_size"], config["hidden_act"])

    def forward(self, x: Float[Tensor, "b t d"], causal: bool = False) -> Float[Tensor, "b t d"]:
        """All tokens; `causal` ones see none after them."""
        return self.fed(x + self.self_attn(self.layer_norm1(x), causal=causal))

    def one(
        self, x: Float[Tensor, "b t d"], place: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b 1 d"]:
        """The block's output at one token: the first, which sees all, or `place`, which sees none after."""
        y = self.layer_norm1(x)
        if place is None:
            return self.fed(x[:, :1] + self.self_attn(y, y[:, :1]))
        row = torch.arange(len(x), device=x.device)
        mask = torch.arange(x.shape[1], device=x.device) <= place[:, None]
        mixed = self.self_attn(y, y[row, place][:, None], mask[:, None, None])
        return self.fed(x[row, place][:, None] + mixed)

    def alone(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The block without attention mixing, for dense maps."""
        return self.fed(x + self.self_attn.alone(self.layer_norm1(x)))

    def fed(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The block's second half."""
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class Stack(nn.Module):
    """The blocks of a tower."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))


class PictureStart(nn.Module):
    """Patches, a class token in front, and places."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, patch = config["hidden_size"], config["patch_size"]
        self.class_embedding = nn.Parameter(torch.empty(dim))
        self.patch_embedding = nn.Conv2d(config["num_channels"], dim, patch, patch, bias=False)
        self.position_embedding = nn.Embedding((config["image_size"] // patch) ** 2 + 1, dim)

    def forward(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The class token, then the patches row by row."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        return torch.cat([first, patches], 1) + self.position_embedding.weight


class Pictures(nn.Module):
    """The picture tower."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, eps = config["hidden_size"], config["layer_norm_eps"]
        self.side = config["image_size"]
        self.embeddings = PictureStart(config)
        self.pre_layrnorm = nn.LayerNorm(dim, eps)  # spelt as in the checkpoints
        self.encoder = Stack(config)
        self.post_layernorm = nn.LayerNorm(dim, eps)

    def hidden(self, pixels: Float[Tensor, "b c h w"], layer: int = -2) -> Float[Tensor, "b n d"]:
        """Hidden states with the class token first; 0 is what enters the blocks, −1 what leaves the last.

        Raises:
            ValueError: pixels of another size, or no such layer.
        """
        layers = list(self.encoder.layers)
        if pixels.shape[-2:] != (self.side, self.side):
            raise ValueError(f"pictures are {self.side} x {self.side}, given {tuple(pixels.shape[-2:])}")
        if not -len(layers) - 1 <= layer <= len(layers):
            raise ValueError(f"hidden states are 0 to {len(layers)} of {len(layers)} blocks, not {layer}")
        x = self.pre_layrnorm(self.embeddings(pixels))
        for block in layers[: layer if layer >= 0 else len(layers) + 1 + layer]:
            x = block(x)
        out: Tensor = x
        return out


class TextStart(nn.Module):
    """Token and place vectors; the long places are a table of their own."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config["hidden_size"]
        self.token_embedding = nn.Embedding(config["vocab_size"], dim)
        self.position_embedding = nn.Embedding(config["max_position_embeddings"], dim)
        self.long_embedding: nn.Embedding | None = None

    def forward(self, ids: Int[Tensor, "b t"], long: bool) -> Float[Tensor, "b t d"]:
        """Token plus place.

        Raises:
            ValueError: more tokens than places, or a long text before `stretched`.
        """
        table = self.long_embedding if long else self.position_embedding
        if table is None:
            raise ValueError(NOT_STRETCHED)
        if ids.shape[1] > table.num_embeddings:
            raise ValueError(f"{ids.shape[1]} tokens, but {table.num_embeddings} positions")
        out: Tensor = self.token_embedding(ids) + table.weight[: ids.shape[1]]
        return out


class Texts(nn.Module):
    """The text tower: causal, read at the first end token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.end = config["eos_token_id"]
        self.embeddings = TextStart(config)
        self.encoder = Stack(config)
        self.final_layer_norm = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])

    def forward(self, ids: Int[Tensor, "b t"], long: bool = False) -> Float[Tensor, "b d"]:
        """The normed last state at the first end token; what stands behind it changes nothing."""
        x = self.embeddings(ids, long)
        *layers, last = self.encoder.layers
        for block in layers:
            x = block(x, causal=True)
        place = (ids == self.end).int().argmax(1)
        ended: Tensor = last.one(x, place)  # type: ignore[operator]
        out: Tensor = self.final_layer_norm(ended[:, 0])
        return out


class Towers(nn.Module):
    """Both towers with their projections, as `CLIPModel` holds them; vectors are not yet of unit length."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        picture, text, dim = config["vision_config"], config["text_config"], config["projection_dim"]
        self.config = config
        self.vision_model, self.text_model = Pictures(picture), Texts(text)
        self.visual_projection = nn.Linear(picture["hidden_size"], dim, bias=False)
        self.text_projection = nn.Linear(text["hidden_size"], dim, bias=False)
        self.long_projection: nn.Linear | None = None
        self.logit_scale = nn.Parameter(torch.tensor(config["logit_scale_init_value"]))
        self.dim, self.side = dim, picture["image_size"]
        self.apply(_start)

    def image(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """A vector a picture; the last block is run for the class token alone."""
        return self._image(self.vision_model.hidden(pixels))

    def dense(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """A vector a patch, the last block run without attention mixing."""
        return self._dense(self.vision_model.hidden(pixels))

    def views(self, pixels: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """`image` and `dense` from one pass through all blocks but the last."""
        hidden = self.vision_model.hidden(pixels)
        return self._image(hidden), self._dense(hidden)

    def hidden(self, pixels: Float[Tensor, "b c h w"], layer: int) -> Float[Tensor, "b n d"]:
        """Hidden states of the patches, without the class token."""
        return self.vision_model.hidden(pixels, layer)[:, 1:]

    def positions(self, long: bool = False) -> int:
        """Tokens that fit, marks included."""
        start = self.text_model.embeddings
        table = start.long_embedding if long else start.position_embedding
        if table is None:
            raise ValueError(NOT_STRETCHED)
        return int(table.num_embeddings)

    def text(self, ids: Int[Tensor, "b t"], long: bool = False) -> Float[Tensor, "b d"]:
        """A vector a text."""
        pooled = self.text_model(ids, long)
        project = self.long_projection if long else self.text_projection
        out: Tensor = project(pooled)  # type: ignore[misc]
        return out

    def stretch(self) -> None:
        """Adds long positions and their own projection, copied from the short ones; once only."""
        start = self.text_model.embeddings
        if start.long_embedding is None:
            table = stretched(start.position_embedding.weight.detach())
            start.long_embedding = nn.Embedding(len(table), table.shape[1], _weight=table)
            copy = nn.Linear(self.text_projection.in_features, self.dim, bias=False, device=table.device)
            copy.load_state_dict(self.text_projection.state_dict())
            self.long_projection = copy

    def _image(self, hidden: Float[Tensor, "b _ _"]) -> Float[Tensor, "b d"]:
        tower = self.vision_model
        pooled: Tensor = tower.encoder.layers[-1].one(hidden)  # type: ignore[operator]
        out: Tensor = self.visual_projection(tower.post_layernorm(pooled[:, 0]))
        return out

    def _dense(self, hidden: Float[Tensor, "b _ _"]) -> Float[Tensor, "b n d"]:
        tower = self.vision_model
        alone: Tensor = tower.encoder.layers[-1].alone(hidden[:, 1:])  # type: ignore[operator]
        out: Tensor = self.visual_projection(tower.post_layernorm(alone))
        return out


def _start(module: nn.Module) -> None:
    """Spreads of CLIP's release (Radford et al. 2021): residual branches shrink with the depth."""
    normal = nn.init.normal_
    if isinstance(module, PictureStart):
        normal(module.class_embedding, std=len(module.class_embedding) ** -0.5)
        normal(module.patch_embedding.weight, std=0.02)
        normal(module.position_embedding.weight, std=0.02)
    elif isinstance(module, TextStart):
        normal(module.token_embedding.weight, std=0.02)
        normal(module.position_embedding.weight, std=0.02)
    elif isinstance(module, Stack):
        for layer in module.layers:
            _start_layer(layer, len(module.layers))
    elif isinstance(module, Towers):
        for project in (module.visual_projection, module.text_projection):
            normal(project.weight, std=project.in_features**-0.5)


def _start_layer(layer: Any, depth: int) -> None:
    dim = layer.mlp.fc1.in_features
    narrow = dim**-0.5 * (2 * depth) ** -0.5
    attention, feed = layer.self_attn, layer.mlp
    spreads = [(attention.out_proj, dim**-0.5), (feed.fc1, (2 * dim) ** -0.5), (feed.fc2, narrow)]
    spreads += [(part, narrow) for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
    for part, std in spreads:
        nn.init.normal_(part.weight, std=std)
        nn.init.zeros_(part.bias)
