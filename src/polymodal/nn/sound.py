"""Log-mel spectrograms in torch, and the encoder that puts them in front of others."""

from math import ceil, log2

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from polymodal.nn.encoders import Encoded, Encoder, keep, pooled
from polymodal.nn.members import member

FLOOR = 1e-6  # added to band power before the logarithm; far below what 16-bit sound can hold


def mel_filters(rate: int, bins: int, bands: int, low: float = 20.0) -> Float[Tensor, "bins bands"]:
    """Triangular filters, evenly spaced in mel = 2595 log10(1 + f / 700) from `low` Hz to half the rate."""
    edges = torch.linspace(_mel(low), _mel(rate / 2), bands + 2, dtype=torch.float64)
    hertz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    at = torch.linspace(0.0, rate / 2, bins, dtype=torch.float64)[:, None]
    rise = (at - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    fall = (hertz[2:] - at) / (hertz[2:] - hertz[1:-1])
    return torch.minimum(rise, fall).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return float(2595.0 * torch.log10(torch.tensor(1.0 + hertz / 700.0, dtype=torch.float64)))


def frame_sizes(rate: int, window: float = 0.025, hop: float = 0.010) -> tuple[int, int, int]:
    """Samples in a window and in a hop, and the length of the Fourier transform (a power of two)."""
    samples = round(window * rate)
    return samples, round(hop * rate), 2 ** ceil(log2(samples))


def log_mel(
    wave: Float[Tensor, "b t"], rate: int, bands: int = 64, window: float = 0.025, hop: float = 0.010
) -> Float[Tensor, "b frames k"]:
    """Natural logarithm of mel-band power in Hann windows of `window` seconds, one each `hop` seconds.

    A wave shorter than one window is padded with silence to one; a last window that is not full is left out.
    """
    samples, step, n = frame_sizes(rate, window, hop)
    wave = functional.pad(wave, (0, max(0, samples - wave.shape[1])))
    hann = torch.hann_window(samples, dtype=wave.dtype, device=wave.device)
    power = torch.fft.rfft(wave.unfold(1, samples, step) * hann, n=n).abs() ** 2
    filters = mel_filters(rate, n // 2 + 1, bands).to(power)
    return torch.log(power @ filters + FLOOR)


@member
class LogMel(Encoder):
    """Waves "b t 1" at `rate` Hz to log-mel frames of `bands` columns; nothing to learn.

    Put it first: `Chain(LogMel(16000), Scaler(64), Recurrent(64, 64))`.
    """

    def __init__(self, rate: int, bands: int = 64, window: float = 0.025, hop: float = 0.010) -> None:
        super().__init__()
        self.width, self.dim = 1, bands
        self.rate, self.window, self.hop = rate, window, hop

    def forward(self, x: Float[Tensor, "b t 1"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """A frame is real when its whole window is, or when it is the only one of a short wave."""
        samples, step, _ = frame_sizes(self.rate, self.window, self.hop)
        frames = log_mel(keep(x, mask)[..., 0], self.rate, self.dim, self.window, self.hop)
        before = functional.pad(mask.cumsum(1), (1, max(0, samples - mask.shape[1])))
        inside = before[:, samples::step] - before[:, :-samples:step]
        real = inside == samples
        real[:, 0] |= mask.any(1) & ~real.any(1)
        return pooled(frames, real)
