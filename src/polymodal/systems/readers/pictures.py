"""Readers of artefacts: calibrated nets for lesions and traces, text for pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from polymodal.envs.artefacts import classes_of, draw
from polymodal.envs.artefacts.signs import PageReader, readable, rhythm, spot, whole
from polymodal.envs.clinic import Reading, Sign
from polymodal.metrics.calibration import fit_temperature, tempered
from polymodal.nn import Concat, Convolved, Encoded, Encoder, Joined, Several, Softmax, member
from polymodal.nn.encoders import keep, mean
from polymodal.training.loop import fit

read_page = PageReader()  # pages need no training

Pixels = UInt8[np.ndarray, "h w 3"]

POOR = 0.4  # share of poor takes in what is drawn to train on: more than patients bring, for they are harder


@member
class Stages(Encoder):
    """Stages of two convolutions, each half as large as the one before; the mean and the highest of each map.

    Input rows are flattened pictures "b t (c h w)", as for `nn.Patches`, which has two layers and no norm.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        self.shape, self.width, self.dim = tuple(shape), prod(shape), 2 * widths[-1]
        layers: list[nn.Module] = []
        for a, b in zip((self.shape[0], *widths[:-1]), widths, strict=True):
            for c, stride in ((a, 2), (b, 1)):
                layers += [nn.Conv2d(c, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes each picture alone."""
        maps = self.layers(keep(x, mask).reshape(-1, *self.shape))
        tokens = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1).reshape(*mask.shape, self.dim)
        return Encoded(keep(tokens, mask), mask, mean(tokens, mask))


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of one kind and one size with what is known of them.

    Attributes:
        pixels: of all.
        target: positions of classes.
        poor: 1 for poor takes, -1 where it is not known.
        tags: of each, such as the skin's tone.
    """

    pixels: UInt8[np.ndarray, "n h w 3"]
    target: Int[np.ndarray, " n"]
    poor: Int[np.ndarray, " n"]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Batch:
    x: Float[Tensor, "b t d"]
    target: dict[str, Int[Tensor, " b"]]

    def to(self, device: torch.device | str) -> _Batch:
        """The same on a device."""
        return _Batch(self.x.to(device), {name: y.to(device) for name, y in self.target.items()})


class PictureReader:
    """A net with a head for the class and one for the quality, as a `Reader`.

    Attributes:
        net: with all that belongs to it in `meta`.
        kind: of the artefacts it reads.
        classes: of the kind.
        prior: P(class) in what it was trained on.
        confusion: P(said s | true c) "c s" for good takes (False) and poor ones (True), as the quality head
            calls them, on validation pictures; one of each is added (Laplace), so none is 0.
    """

    def __init__(self, net: Joined) -> None:
        self.net = net.eval()
        self.kind, self.classes = str(net.meta["kind"]), tuple(net.meta["classes"])
        self.prior = np.array(net.meta["prior"])
        self.confusion = {bool(i): np.array(table) for i, table in enumerate(net.meta["confusion"])}

    def __call__(self, image: Pixels) -> Reading:
        """The reading; without q where there is nothing to see, or another kind of picture."""
        height, width = self.net.meta["size"]
        own = bool(self.net.meta.get("own"))  # photographs may be upright or lie, and traces have any scale
        if not readable(image, None if own else width / height):
            return Reading(self.kind, self.classes, ())
        small = np.asarray(PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR))
        q, poor = self.probabilities(small[None])
        said = self.classes[int(q[0].argmax())]
        box = spot(image) if self.kind == "lesion" else whole(image)
        signs: tuple[Sign, ...] = (Sign(self.kind, said, box),)
        if self.kind == "trace" and not own and poor[0] < 0.5:
            signs += rhythm(image)
        return Reading(self.kind, self.classes, tuple(q[0].tolist()), float(poor[0]), signs)

    def probabilities(
        self, pixels: UInt8[np.ndarray, "n h w 3"]
    ) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, " n"]]:
        """Calibrated P(class) and P(poor) of pictures that have the net's own size."""
        logits, quality = _logits(self.net, pixels)
        poor = tempered(quality)[:, 1]
        good, bad = (tempered(logits, float(t)) for t in self.net.meta["temperature"])
        return np.where(poor[:, None] > 0.5, bad, good), poor

    def save_pretrained(self, folder: str | Path) -> None:
        """Weights and everything else, in the Hugging Face layout."""
        self.net.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> PictureReader:
        """The reader that `save_pretrained` wrote.

        Raises:
            FileNotFoundError: no saved model there.
            ValueError: a model of another sort.
        """
        net = Joined.from_pretrained(folder)
        if lacking := {"kind", "classes", "size", "temperature", "confusion", "prior"} - net.meta.keys():
            raise ValueError(f"the model at {folder} is no reader of artefacts: it lacks {sorted(lacking)}")
        return cls(net)


def drawn(kind: str, n: int, *, seed: int, split: str = "train") -> Pictures:
    """Drawn pictures of a kind, classes alike likely, three in ten poor.

    Raises:
        ValueError: an unknown kind.
    """
    classes = classes_of(kind)
    rng = np.random.default_rng([seed, len(split)])
    target, poor = rng.integers(len(classes), size=n), (rng.random(n) < POOR).astype(int)
    first = seed * 1_000_000
    takes = [
        draw(kind, classes[c], seed=first + i, poor=bool(p), split=split)
        for i, (c, p) in enumerate(zip(target.tolist(), poor.tolist(), strict=True))
    ]
    tags = tuple(take.tags.get("tone", "") for take in takes)
    return Pictures(np.stack([take.image.pixels() for take in takes]), target, poor, tags)


def train(kind: str, *, seed: int, n: int = 2000, epochs: int = 4) -> PictureReader:
    """A reader of drawn lesions or traces, from `n` pictures and half as many for validation.

    Raises:
        ValueError: a kind that is not read by a net: pages are read by `PageReader`.
    """
    if kind not in ("lesion", "trace"):
        raise ValueError(f"no net is trained for {kind!r}: lesion and trace are known; read_page reads pages")
    val = drawn(kind, max(n // 2, 1), seed=seed, split="val")
    return learn(kind, classes_of(kind), drawn(kind, n, seed=seed), val, seed=seed, epochs=epochs)


def learn(
    kind: str,
    classes: Sequence[str],
    train: Pictures,
    val: Pictures,
    *,
    seed: int,
    epochs: int = 4,
    lr: float = 2e-3,
    batch: int = 64,
) -> PictureReader:
    """A reader from pictures: cross-entropy for class and quality, then temperatures by validation.

    Args:
        kind: of artefact; a trace is read column by column, anything else as a picture.
        classes: of the kind, in the order of targets.
        train: to fit the net.
        val: to fit a temperature for good takes and for poor ones, and to count who is taken for whom.
        seed: of weights, order and dropout.
        epochs: passes over `train`.
        lr: peak rate of AdamW; half a cosine follows.
        batch: pictures a step.
    """
    size = list(train.pixels.shape[1:3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        columns = kind == "trace"
        encoder = Convolved(size[0], 64, layers=3, kernel=7, dropout=0.1) if columns else Stages((3, *size))
        heads = Several({"class": Softmax(encoder.dim, len(classes)), "quality": Softmax(encoder.dim, 2)})
        net = Joined({"image": encoder}, Concat({"image": encoder.dim}, dense=False), heads)
    net.meta |= {"kind": kind, "classes": list(classes), "size": size}
    many, size_of = len(train.target), min(batch, len(train.target))
    known = {"class": torch.from_numpy(train.target), "quality": torch.from_numpy(train.poor)}

    def feed(epoch: int) -> Iterator[_Batch]:
        order = np.random.default_rng([seed, epoch]).permutation(many)
        for at in range(0, many - size_of + 1, size_of):
            rows = order[at : at + size_of]
            yield _Batch(_input(train.pixels[rows], kind), {name: y[rows] for name, y in known.items()})

    def loss(net: Joined, given: _Batch) -> Tensor:
        return heads.loss(_out(net, given.x), given.target)

    steps = epochs * (many // size_of)
    for _ in fit(net, feed, loss, seed=seed, steps=steps, lr=lr, schedule="cosine", warmup=min(5, steps)):
        pass
    return _calibrated(net, train, val)


def _calibrated(net: Joined, train: Pictures, val: Pictures) -> PictureReader:
    logits, quality = _logits(net, val.pixels)
    poor, said = quality.argmax(1) == 1, logits.argmax(1)
    c = len(net.meta["classes"])
    temperature, confusion = [], []
    for rows in (~poor, poor):
        temperature.append(fit_temperature(logits[rows], val.target[rows]) if rows.any() else 1.0)
        table = np.ones((c, c))
        np.add.at(table, (val.target[rows], said[rows]), 1)
        confusion.append((table / table.sum(1, keepdims=True)).tolist())
    prior = (np.bincount(train.target, minlength=c) + 1) / (len(train.target) + c)
    net.meta |= {"temperature": temperature, "confusion": confusion, "prior": prior.tolist()}
    return PictureReader(net)


def _input(pixels: UInt8[np.ndarray, "n h w 3"], kind: str) -> Float[Tensor, "n t d"]:
    """Each picture less its own mean colour; a trace as its columns of grey, others as one row."""
    x = torch.tensor(pixels).float() / 255
    x = (x - x.mean((1, 2), keepdim=True)) / 0.2
    return x.mean(3).transpose(1, 2) if kind == "trace" else x.permute(0, 3, 1, 2).flatten(1)[:, None]


def _out(net: Joined, x: Float[Tensor, "b t d"]) -> dict[str, Tensor]:
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    out: dict[str, Tensor] = net({"image": x}, {"image": real}, real[:, :1])
    return out


@torch.no_grad()
def _logits(
    net: Joined, pixels: UInt8[np.ndarray, "n h w 3"]
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n 2"]]:
    device = next(net.parameters()).device
    parts = [
        _out(net, _input(pixels[at : at + 256], net.meta["kind"]).to(device))
        for at in range(0, len(pixels), 256)
    ]
    found = [
        torch.cat([part[name] for part in parts]).double().cpu().numpy() for name in ("class", "quality")
    ]
    return found[0], found[1]
