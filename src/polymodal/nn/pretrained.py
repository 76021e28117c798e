"""Any transformers model of text, sound or pictures as an encoder, frozen or tuned."""

import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from PIL import Image
from torch import Tensor, nn

from polymodal.nn.encoders import Encoded, Encoder, keep, mean, pooled
from polymodal.nn.members import member

Value = str | Sequence[str] | Shaped[np.ndarray, "..."]
TOWERS = {"text": "text_config", "image": "vision_config"}  # where two-tower models keep each side
READS = {"input_ids": "text", "input_values": "audio", "input_features": "audio", "pixel_values": "image"}


@member
class Pretrained(Encoder):
    """A transformers model by hub name or path, in 32 bits; `prepare` makes what it reads.

    | kind | `prepare` takes | `forward` reads | tokens |
    |---|---|---|---|
    | text | a text, or its words | "b t 2": subword id, word position (−1 for special ones) | words |
    | audio | a mono wave at `rate` Hz | "b t 1" samples, or "b t d" features | frames |
    | image | pixels "h w 3", or frames "n h w 3" | "b t (c h w)" | every frame's patches |

    `pooling="mean"` averages a word's subwords, or a picture's patches; `"first"` takes the first subword,
    or the class token. A frozen model (`tune=False`) stays in eval mode and gets no gradient. Two-tower
    models such as CLIP are loaded one tower at a time. Sounds are run in groups of equal length, because
    models with a norm over time give other numbers when they are padded.

    Raises:
        FileNotFoundError: neither a model folder nor a model on the hub.
        ValueError: unknown kind or pooling, or a model of another kind.
    """

    model: Any
    dim: int

    def __init__(self, name: str, kind: str, tune: bool = False, pooling: str = "mean") -> None:
        super().__init__()
        if kind not in ("text", "audio", "image"):
            raise ValueError(f"a pretrained encoder reads text, audio or image, not {kind!r}")
        if pooling not in ("mean", "first"):
            raise ValueError(f"pooling is mean or first, not {pooling!r}")
        self.name, self.kind, self.tune, self.pooling = str(name), kind, tune, pooling
        self.model = _model(self.name, kind).requires_grad_(tune)
        config = self.model.config
        self.dim = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
        self.reader = _reader(self.name, kind, config)
        self.width = self._width()
        self.train(True)

    def train(self, mode: bool = True) -> "Pretrained":
        """A frozen model never leaves eval mode: no dropout, no moving averages."""
        super().train(mode and self.tune)
        return self

    def forward(self, x: Shaped[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes what `prepare` made."""
        run: Callable[[Tensor, Tensor], Encoded]
        run = {"text": self._words, "audio": self._frames, "image": self._patches}[self.kind]
        with torch.set_grad_enabled(self.tune and torch.is_grad_enabled()):
            return run(x, mask)

    def prepare(self, value: Value) -> Shaped[np.ndarray, "t _"]:
        """A text, a wave or pixels as one row of input."""
        if self.kind == "text":
            return self._ids(value.split() if isinstance(value, str) else [str(word) for word in value])
        array = np.asarray(value)
        if self.kind == "audio":
            return self._wave(array)
        frames = array[None] if array.ndim == 3 else array
        return np.stack([pixels(frame, self.reader).ravel() for frame in frames])

    @torch.no_grad()
    def embed(self, value: Value) -> Float[np.ndarray, "t d"]:
        """The tokens of one text, wave or picture: features to keep when the model is frozen."""
        x = torch.from_numpy(self.prepare(value))[None].to(next(self.model.parameters()).device)
        out: Encoded = self(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))
        return out.tokens[0][out.mask[0]].cpu().numpy()

    def example(self, t: int = 1) -> Shaped[Tensor, "1 t _"]:
        """Zeros; for text, t subwords of as many words."""
        x = torch.zeros(1, t, self.width)
        if self.kind == "text":
            x = x.long()
            x[0, :, 1] = torch.arange(t)
        return x

    @property
    def rate(self) -> int:
        """Samples a second that an audio model expects."""
        return int(self.reader.sampling_rate)

    def save(self, folder: Path) -> None:
        """Model and reader in the Hugging Face layout; `Pretrained(folder, kind)` gives the same encoder."""
        self.model.save_pretrained(folder)
        if self.kind == "image":
            from transformers.image_processing_base import ImageProcessingMixin

            ImageProcessingMixin(**self.reader).save_pretrained(folder)
        else:
            self.reader.save_pretrained(folder)

    def _width(self) -> int:
        if self.kind == "text":
            return 2
        if self.kind == "image":
            return 3 * prod(_final_size(self.reader))
        return int(self._wave(np.zeros(self.rate, np.float32)).shape[1])

    def _ids(self, words: Sequence[str]) -> Int[np.ndarray, "t 2"]:
        limit = min(self.reader.model_max_length, _positions(self.model))
        out = self.reader(list(words), is_split_into_words=True, truncation=True, max_length=limit)
        places = [-1 if word is None else word for word in out.word_ids()]
        return np.array([out["input_ids"], places], np.int64).T

    def _words(self, x: Shaped[Tensor, "b t 2"], mask: Bool[Tensor, "b t"]) -> Encoded:
        pad = getattr(self.model.config, "pad_token_id", None) or 0
        ids = torch.where(mask, x[..., 0], pad).long()
        word = torch.where(mask, x[..., 1], -1).long()
        some = mask | (~mask.any(1, keepdim=True) & (torch.arange(mask.shape[1], device=mask.device) == 0))
        hidden: Tensor = self.model(input_ids=ids, attention_mask=some.long()).last_hidden_state
        taken = word >= 0
        if self.pooling == "first":
            taken[:, 1:] &= word[:, 1:] != word[:, :-1]
        n = max(1, int(word.max()) + 1)
        share = torch.where(taken, word, n)[..., None] == torch.arange(n, device=x.device)
        weight = share.to(hidden.dtype)
        tokens = torch.einsum("btw,btd->bwd", weight, keep(hidden, mask))
        return pooled(tokens / weight.sum(1).clamp(min=1)[..., None], share.any(1))

    def _wave(self, wave: Float[np.ndarray, " n"]) -> Float[np.ndarray, "t _"]:
        wave = np.pad(wave, (0, max(0, _shortest(self.model.config) - len(wave))))
        key = self.reader.model_input_names[0]
        out = np.asarray(self.reader(wave, sampling_rate=self.rate, return_tensors="np")[key][0], np.float32)
        if out.ndim == 1:
            return out[:, None]
        return out.T if self.model.config.model_type == "whisper" else out

    def _frames(self, x: Shaped[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Encoded:
        lengths = mask.sum(1)
        rows: list[Tensor] = [x.new_zeros(1, self.dim)] * len(x)
        for n in sorted(set(lengths.tolist())):
            group = (lengths == n).nonzero()[:, 0]
            if n == 0:
                continue
            same = x[group][mask[group]].reshape(len(group), n, -1)
            for i, out in zip(group.tolist(), self._listen(same), strict=True):
                rows[i] = out
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        n_frames = torch.tensor([len(row) for row in rows], device=x.device) * (lengths > 0)
        return pooled(tokens, torch.arange(tokens.shape[1], device=x.device) < n_frames[:, None])

    def _listen(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b f k"]:
        if x.shape[2] == 1:
            x = nn.functional.pad(x[..., 0], (0, max(0, _shortest(self.model.config) - x.shape[1])))
        elif self.model.config.model_type == "whisper":
            x = x.transpose(1, 2)
        out: Tensor = self.model(x).last_hidden_state
        return out

    def _patches(self, x: Shaped[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Encoded:
        h, w = _final_size(self.reader)
        hidden = x.new_zeros(0, 1, self.dim)
        if mask.any():
            hidden = self.model(pixel_values=x[mask].reshape(-1, 3, h, w)).last_hidden_state
        if hidden.ndim == 4:  # convolutional models answer with a map
            hidden = hidden.flatten(2).transpose(1, 2)
        n = hidden.shape[1]
        tokens = hidden.new_zeros(*mask.shape, n, self.dim)
        tokens[mask] = hidden
        frames = tokens[:, :, 0] if self.pooling == "first" else tokens.mean(2)
        return Encoded(tokens.flatten(1, 2), mask.repeat_interleave(n, dim=1), mean(frames, mask))


def _model(name: str, kind: str) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(name)
        config = getattr(config, TOWERS.get(kind, ""), None) or config
        model = AutoModel.from_pretrained(name, config=config).float()
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"no {kind} model at {name!r}: give a folder with config.json and weights, or a name on the hub"
        ) from error
    if getattr(config, "apply_spec_augment", False):
        config.apply_spec_augment = False  # its masks are longer than short sounds
    if READS.get(model.main_input_name) != kind:
        raise ValueError(f"model {name!r} reads {READS.get(model.main_input_name)}, not {kind}")
    tower: nn.Module = model.get_encoder() if config.is_encoder_decoder else model
    return tower


def _reader(name: str, kind: str, config: Any) -> Any:
    """What turns a part into numbers: a tokenizer, a feature extractor, or a picture's settings."""
    from transformers import AutoFeatureExtractor, AutoTokenizer

    if kind == "image":
        return picture_settings(name, config)
    try:
        if kind == "audio":
            return AutoFeatureExtractor.from_pretrained(name)
        return AutoTokenizer.from_pretrained(name, add_prefix_space=True)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"model {name!r} comes without what prepares its {kind}") from error


def picture_settings(name: str, config: Any) -> dict[str, Any]:
    """Size, mean and scale as stored; the library's own reader of them may need torchvision."""
    from transformers.utils.hub import cached_file

    found = cached_file(name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    side = getattr(config, "image_size", 224)
    plain = {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return plain | (json.loads(Path(found).read_text(encoding="utf-8")) if found else {})


def _final_size(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that the model sees."""
    size = settings["crop_size"] if settings.get("do_center_crop") else settings["size"]
    if isinstance(size, int):
        return size, size
    if "shortest_edge" in size:
        return size["shortest_edge"], size["shortest_edge"]
    return size["height"], size["width"]


def pixels(frame: UInt8[np.ndarray, "h w 3"], settings: Mapping[str, Any]) -> Float[np.ndarray, "3 _ _"]:
    """Resized, cropped at the centre, scaled and normalised as the settings say."""
    size = settings["size"]
    height, width = _final_size(settings)
    wide, high = width, height
    if isinstance(size, dict) and "shortest_edge" in size:
        edge = size["shortest_edge"]
        h, w = frame.shape[:2]
        wide, high = (edge, int(edge * h / w)) if w <= h else (int(edge * w / h), edge)
    picture = Image.fromarray(frame).resize((wide, high), Image.Resampling(settings.get("resample", 2)))
    top, left = (high - height) // 2, (wide - width) // 2
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)), np.float32)
    pixels = pixels * np.float32(settings.get("rescale_factor", 1 / 255))
    if settings.get("do_normalize", True):
        pixels = (pixels - np.float32(settings["image_mean"])) / np.float32(settings["image_std"])
    return pixels.transpose(2, 0, 1)


def _positions(model: nn.Module) -> int:
    """Subwords that fit: learned places, less those that the padding index takes (RoBERTa)."""
    for name, part in model.named_modules():
        if "position_embedding" in name and isinstance(part, nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    return int(getattr(model.config, "max_position_embeddings", 512))


def _shortest(config: Any) -> int:
    """Samples that give one frame after the convolutions of a model on raw waves."""
    n = 1
    strides = getattr(config, "conv_stride", ())
    for kernel, stride in zip(reversed(getattr(config, "conv_kernel", ())), reversed(strides), strict=True):
        n = (n - 1) * stride + kernel
    return n
