"""Log-mel frames against the definition in NumPy and against transformers."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import chirp
from scipy.signal.windows import hann

from polymodal.nn import Chain, Dense, LogMel, log_mel
from polymodal.nn.sound import FLOOR, frame_sizes, mel_filters
from polymodal.testing import check_encoder

RATE = 8000


def wave(seconds: float = 0.4) -> NDArray[np.float32]:
    t = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).normal(0, 0.01, t.shape)
    return (0.5 * chirp(t, 100, seconds, 3500) + noise).astype(np.float32)


def reference(x: NDArray[np.float32], rate: int, bands: int) -> NDArray[np.float64]:
    """Frame by frame and band by band, as a textbook has it."""
    samples, hop = int(0.025 * rate), int(0.010 * rate)
    n = 1 << (samples - 1).bit_length()
    edges = 700 * (
        10 ** (np.linspace(*(2595 * np.log10(1 + np.array([20, rate / 2]) / 700)), bands + 2) / 2595) - 1
    )
    hertz = np.arange(n // 2 + 1) * rate / n
    rows = []
    for start in range(0, len(x) - samples + 1, hop):
        power = np.abs(np.fft.rfft(x[start : start + samples] * hann(samples, sym=False), n)) ** 2
        rows.append(
            [
                np.log(power @ np.interp(hertz, edges[k : k + 3], [0, 1, 0], left=0, right=0) + FLOOR)
                for k in range(bands)
            ]
        )
    return np.array(rows)


def test_equals_the_definition() -> None:
    ours = log_mel(torch.from_numpy(wave())[None], RATE, 24)[0]
    np.testing.assert_allclose(ours.numpy(), reference(wave(), RATE, 24), atol=1e-4)


def test_equals_transformers() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    samples, hop, n = frame_sizes(RATE)
    filters = mel_filter_bank(n // 2 + 1, 24, 20.0, RATE / 2, RATE, norm=None, mel_scale="htk")
    np.testing.assert_allclose(mel_filters(RATE, n // 2 + 1, 24).numpy(), filters, atol=1e-6)
    power = spectrogram(
        wave(),
        window_function(samples, "hann"),
        samples,
        hop,
        fft_length=n,
        power=2.0,
        center=False,
        mel_filters=filters,
        mel_floor=0.0,
    )
    ours = log_mel(torch.from_numpy(wave())[None], RATE, 24)[0]
    np.testing.assert_allclose(ours.numpy(), np.log(power.T + FLOOR), atol=1e-4)


@pytest.mark.parametrize(("n", "frames"), [(0, 1), (1, 1), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_number_of_frames(n: int, frames: int) -> None:
    assert log_mel(torch.zeros(1, n), RATE, 8).shape == (1, frames, 8)
    mask = torch.ones(1, n, dtype=torch.bool)
    real = LogMel(RATE, 8)(torch.zeros(1, n, 1), mask).mask
    assert real.sum() == (frames if n else 0)


def test_a_tone_is_loudest_in_its_band() -> None:
    t = torch.arange(800) / RATE
    bands = log_mel(torch.sin(2 * torch.pi * 1000 * t)[None], RATE, 24)[0].mean(0)
    edges = 2595 * np.log10(1 + np.array([20, RATE / 2]) / 700)
    expected = round(float((2595 * np.log10(1 + 1000 / 700) - edges[0]) / (edges[1] - edges[0]) * 25)) - 1
    assert abs(int(bands.argmax()) - expected) <= 1


@pytest.mark.parametrize("t", [900, 150])
def test_contract(t: int) -> None:
    check_encoder(lambda: LogMel(RATE, 8), t=t)
    check_encoder(lambda: Chain(LogMel(RATE, 8), Dense(8, 4)), t=t)
