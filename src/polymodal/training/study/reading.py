"""From a part to numbers, and from numbers to an encoder: one choice for every system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy.typing import NDArray

    from polymodal.nn import Encoder

Ways = Mapping[str, tuple[str, str]]  # part -> (kind, how it is read)

RATE = 16_000
FRAMES = 16  # of a video that are described, evenly spaced
WORDS = 1024  # columns that text n-grams are hashed to
_WINDOW, _HOP, _FFT = 400, 160, 1024  # 25 ms, 10 ms, and room for every lag
_SLOWEST, _FASTEST = 60.0, 400.0  # pitch, Hz
AUTO = {"text": "ngrams", "audio": "describe", "image": "pixels", "video": "describe", "series": "series"}
KNOWN = {
    "text": ("ngrams", "letters"),
    "audio": ("describe", "logmel"),
    "image": ("pixels", "patches", "describe"),
    "video": ("describe", "patches"),
    "series": ("series",),
}


def describe_sound(wave: Float[np.ndarray, " t"], rate: int = RATE) -> Float[np.ndarray, " 56"]:
    """Mean and sd over frames of 24 log-mel bands, log energy, zero crossings, spectral centroid and pitch.

    Frames are 25 ms long, 10 ms apart; zero crossings are a share of the frame, centroid and pitch are in
    kHz; a frame without a clear period has pitch 0. Ours: the paper does not publish its features.

    Raises:
        ValueError: another rate than 16 kHz.
    """
    if rate != RATE:
        raise ValueError(f"describe_sound expects {RATE} Hz, given {rate}")
    wave = np.pad(np.asarray(wave, dtype=np.float64), (0, max(0, _WINDOW - len(wave))))
    bands = _mel(wave, 24)
    frames = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames - frames.mean(1, keepdims=True), _FFT)) ** 2
    centroid = (power @ np.fft.rfftfreq(_FFT, 1 / RATE)) / np.maximum(power.sum(1), 1e-12) / 1000.0
    crossings = np.mean(np.signbit(frames[:, 1:]) != np.signbit(frames[:, :-1]), axis=1)
    energy = np.log(np.mean(frames**2, axis=1) + 1e-8)
    table = np.column_stack([bands, energy, crossings, centroid, _pitch(power)])
    return np.concatenate([table.mean(0), table.std(0)])


def _pitch(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch by autocorrelation from each frame's power, kHz; 0 where no lag reaches .4 of the energy."""
    lags = np.fft.irfft(power)
    low, high = int(RATE / _FASTEST), int(RATE / _SLOWEST)
    strength = lags[:, low:high] / np.maximum(lags[:, :1], 1e-12)
    return np.where(strength.max(1) > 0.4, RATE / (strength.argmax(1) + low) / 1000.0, 0.0)


def describe_frame(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " 64"]:
    """Shares of 8 grey levels, then of 8 gradient orientations, in each quarter of the picture. Ours."""
    grey = pixels.mean(2) / 255.0
    grey = np.pad(grey, [(0, max(0, 2 - n)) for n in grey.shape], "edge")
    down, across = np.gradient(grey)
    turn = ((np.arctan2(down, across) + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    level, slope = np.minimum((grey * 8).astype(int), 7), np.hypot(down, across)
    h, w = (n // 2 for n in grey.shape)
    rows: list[NDArray[np.float64]] = []
    for cell in product((slice(h), slice(h, None)), (slice(w), slice(w, None))):
        greys = np.bincount(level[cell].ravel(), minlength=8)
        turns = np.bincount(turn[cell].ravel(), slope[cell].ravel(), minlength=8)
        rows += [greys / greys.sum(), turns / max(turns.sum(), 1e-9)]
    return np.concatenate(rows)


def choose(kind: str, how: str) -> str:
    """How parts of a kind are read: `auto` settled, a known way or a pretrained model's name kept.

    Raises:
        ValueError: a way that belongs to another kind.
    """
    how = AUTO[kind] if how == "auto" or kind == "series" else how
    if how not in KNOWN[kind] and any(how in ways for ways in KNOWN.values()):
        raise ValueError(
            f"{kind} cannot be read as {how!r}; known: auto, {', '.join(KNOWN[kind])}, or a model"
        )
    return how


@cache
def reader(kind: str, how: str) -> Callable[[Any], NDArray[Any]]:
    """Part → numbers "t d", " d", or ids " t", by a way that `choose` gave.

    A pretrained model, by hub name or path, is frozen and gives its mean token; `tune:NAME` gives what the
    model itself reads, and trains it.
    """
    if how == "series":
        return lambda part: np.asarray(part.values())
    from polymodal.nn import Pretrained, letters, ngrams

    ways: dict[str, Callable[[Any], NDArray[Any]]] = {
        "ngrams": lambda part: ngrams(part.read(), WORDS),
        "letters": lambda part: letters(part.read()),
        "logmel": lambda part: _mel(part.wave(RATE), 64),
        "describe": _describe,
        "pixels": lambda part: _small(part.pixels(), 16, "L").ravel(),
        "patches": lambda part: np.stack([_small(frame, 32, "RGB").ravel() for frame in _frames(part, 4)]),
    }
    if how in ways:
        return ways[how]
    model = Pretrained(how.removeprefix("tune:"), "image" if kind == "video" else kind)
    takes: dict[str, Callable[[Any], Any]] = {
        "text": lambda part: part.read(),
        "audio": lambda part: part.wave(model.rate),
        "image": lambda part: part.pixels(),
        "video": lambda part: np.stack(_frames(part, 4)),
    }
    if how.startswith("tune:"):
        return lambda part: model.prepare(takes[kind](part))
    return lambda part: model.embed(takes[kind](part)).mean(0)


def _describe(part: Any) -> NDArray[Any]:
    if part.kind == "audio":
        return describe_sound(part.wave(RATE))
    table = np.stack([describe_frame(frame) for frame in _frames(part, FRAMES)])
    return np.concatenate([table.mean(0), table.std(0)])


def _mel(wave: NDArray[Any], bands: int) -> NDArray[Any]:
    import torch

    from polymodal.nn import log_mel

    return np.asarray(log_mel(torch.from_numpy(wave)[None], RATE, bands=bands)[0].numpy())


def _frames(part: Any, count: int) -> list[NDArray[np.uint8]]:
    return [part.pixels()] if part.kind == "image" else [frame.pixels for frame in part.frames(count=count)]


def _small(pixels: NDArray[np.uint8], size: int, mode: str) -> NDArray[Any]:
    """Squeezed to size x size, channels first, in [0, 1]."""
    from PIL import Image, ImageOps

    picture = ImageOps.fit(Image.fromarray(pixels).convert(mode), (size, size), Image.Resampling.BOX)
    array = np.asarray(picture, np.float32) / 255
    return array if mode == "L" else array.transpose(2, 0, 1)


def encoder(kind: str, how: str, width: int, *, tokens: bool, dim: int, dropout: float) -> Encoder:
    """H = Drop(ReLU(W x + b)) on standardised columns; a recurrent layer where a part has several tokens."""
    from polymodal import nn

    if how == "letters":
        return nn.Letters(dim)
    if how == "patches":
        return nn.Patches((3, 32, 32), dim, dropout=dropout)
    if how == "logmel":
        return nn.Chain(nn.Scaler(width), nn.Convolved(width, dim, dropout=dropout), nn.Recurrent(dim, dim))
    if how.startswith("tune:"):
        tuned = nn.Pretrained(how.removeprefix("tune:"), "image" if kind == "video" else kind, tune=True)
        return nn.Chain(tuned, nn.Dense(tuned.dim, dim, dropout=dropout))
    if tokens:
        return nn.Chain(nn.Scaler(width), nn.Recurrent(width, dim), nn.Dense(dim, dim, dropout=dropout))
    return nn.Chain(nn.Scaler(width), nn.Dense(width, dim, dropout=dropout))
