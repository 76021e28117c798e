"""An ECG drawn on grid paper by the model of McSharry et al. (2003), its beats planted.

The model is the one behind neurokit2's `ecg_simulate(method="ecgsyn")`, whose waves it repeats (held
together by a test). Its phase runs round the limit cycle and its height obeys a linear equation, so that it
is integrated in closed form: a millisecond in place of .1 s, and neurokit2 is not needed to draw. Where
beats differ, the phase speeds up smoothly: the library's jumps in the middle of an R wave, which leaves a
step in the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

Box = tuple[int, int, int, int]

CLASSES = ("normal rhythm", "slow rhythm", "fast rhythm", "irregular rhythm", "inverted T")
RATE = {  # beats a minute: lowest, highest mean; sd of single beats, lowest, highest
    "normal rhythm": (60, 90, 0.8, 2.0),
    "slow rhythm": (42, 50, 0.8, 2.0),
    "fast rhythm": (115, 135, 0.8, 2.0),
    "irregular rhythm": (80, 80, 15, 20),
    "inverted T": (60, 90, 0.8, 2.0),
}
ANGLES = np.radians([-70, -15, 0, 15, 100])  # P, Q, R, S, T
HEIGHTS, WIDTHS = np.array([1.2, -5, 30, -7.5, 0.75]), np.array([0.25, 0.1, 0.1, 0.1, 0.4])
LOW, HIGH = -0.4, 1.2  # millivolts to which a trace is scaled, as the library does
PAPER, THIN, THICK, INK = (253, 246, 241), (245, 214, 208), (232, 170, 166), (28, 28, 44)
SQUARES = 5  # to a second: 25 mm a second, 5 mm a square
DRAWN = 125  # samples a second of a lead that is drawn: some five to a column of the usual size


@dataclass(frozen=True, slots=True)
class Signal:
    """A lead.

    Attributes:
        volts: millivolts.
        rate: samples a second.
        peaks: times of the R waves, seconds: those of the model, not of a detector.
    """

    volts: Float[np.ndarray, " t"]
    rate: int
    peaks: Float[np.ndarray, " n"]


def signal(cls: str, rng: np.random.Generator, *, duration: float = 10.0, rate: int = 250) -> Signal:
    """A clean lead of a class, at a mean rate and a start drawn by `rng`.

    Args:
        cls: one of `CLASSES`.
        rng: of the mean rate, of each beat, of the start.
        duration: seconds.
        rate: samples a second.
    """
    low, high, least, most = RATE[cls]
    mean, sd = rng.uniform(low, high), rng.uniform(least, most)
    n = int((duration + 6) * (mean + sd) / 60) + 4
    interval = 60 / np.clip(rng.normal(mean, sd, n), 0.55 * mean, 1.6 * mean)
    starts = np.cumsum(np.r_[-rng.uniform(0, 1) * interval[0] - 3, interval])
    return wave(starts, mean, inverted=cls == "inverted T", duration=duration, rate=rate)


def wave(
    peaks: Float[np.ndarray, " n"], mean: float, *, inverted: bool = False, duration: float, rate: int
) -> Signal:
    """The model's height over time for R waves at given times.

    Args:
        peaks: seconds, from before -2 to beyond `duration`.
        mean: beats a minute; wider waves and later T for higher rates, as the model has it.
        inverted: T turned down.
        duration: seconds.
        rate: samples a second.
    """
    from scipy.interpolate import PchipInterpolator

    faster = np.sqrt(mean / 60)
    widths = WIDTHS * faster
    places = ANGLES * np.array([faster**0.5, faster, 1, faster, faster**0.5])
    heights = HEIGHTS * np.array([1, 1, 1, 1, -1 if inverted else 1])
    time = np.arange(-2 * rate, round(duration * rate)) / rate  # 2 s to forget where it began
    phase = 2 * np.pi * PchipInterpolator(peaks, np.arange(len(peaks)))(time)
    gap = (phase - places[:, None] + np.pi) % (2 * np.pi) - np.pi
    push = -(heights[:, None] * gap * np.exp(-0.5 * (gap / widths[:, None]) ** 2)).sum(0)
    push += 0.005 * np.sin(2 * np.pi * 0.25 * time)
    decay = np.exp(time - time[-1])  # z' = push - z, so z e^t is the sum of push e^t
    z = (np.cumsum(push * decay) / rate / decay)[2 * rate :]
    volts = (z - z.min()) * (HIGH - LOW) / np.ptp(z) + LOW
    return Signal(volts, rate, peaks[(peaks >= 0) & (peaks < duration)])


def trace(
    cls: str, rng: np.random.Generator, width: int = 256, height: int = 96, *, duration: float = 10.0
) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Box]]:
    """Pixels of a lead on grid paper, scaled, shifted and wandering, and the box of the line.

    Args:
        cls: one of `CLASSES`.
        rng: of the lead and of how it is drawn.
        width: in pixels, of `duration` seconds.
        height: in pixels.
        duration: seconds.
    """
    lead = signal(cls, rng, duration=duration, rate=DRAWN)
    time = np.arange(len(lead.volts)) / lead.rate
    drift = rng.uniform(0, 0.08) * np.sin(
        2 * np.pi * rng.uniform(0.1, 0.35) * time + rng.uniform(0, 2 * np.pi)
    )
    volts = lead.volts + drift + rng.normal(0, 0.008, len(time))
    scale = height * rng.uniform(0.36, 0.46)  # pixels a millivolt
    row = height * rng.uniform(0.62, 0.70) - volts * scale
    ink = _line(row, width, height)
    paper = _paper(width, height, width / duration / SQUARES, rng.uniform(0, 1, 2))
    picture = paper + ink[..., None].astype(np.float32) * (np.array(INK, np.float32) - paper)
    inked = np.nonzero(ink.max(1) > 0.5)[0]
    return picture.astype(np.uint8), {"trace": (0, int(inked[0]), width, int(inked[-1]) + 1)}


def _line(row: Float[np.ndarray, " t"], width: int, height: int) -> Float[np.ndarray, "h w"]:
    """How much of each pixel the pen covers: from the highest to the lowest point of each column."""
    edges = np.linspace(0, len(row) - 1, width + 1)
    start = edges[:-1].astype(int)
    top = np.minimum(np.minimum.reduceat(row, start), np.interp(edges[1:], np.arange(len(row)), row))
    low = np.maximum(np.maximum.reduceat(row, start), np.interp(edges[1:], np.arange(len(row)), row))
    y, pen = np.arange(height)[:, None], 0.7 * height / 96
    return np.asarray(np.clip(np.minimum(low + pen, y + 1) - np.maximum(top - pen, y), 0, 1))


def _paper(
    width: int, height: int, square: float, start: Float[np.ndarray, " xy"]
) -> Float[np.ndarray, "h w 3"]:
    """Thin lines every square, thick ones every fifth."""
    picture = np.full((height, width, 3), PAPER, np.float32)
    for axis, n in ((0, height), (1, width)):
        first = start[axis] * SQUARES * square
        for k in range(int((n + first) / square) + 1):
            at = int(k * square - first % (SQUARES * square) + square)
            if 0 <= at < n:
                colour = THICK if k % SQUARES == SQUARES - 1 else THIN
                picture[(slice(None), at) if axis else (at,)] = colour
    return picture
