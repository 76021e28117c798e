"""Beats from the picture of a trace: the line column by column, then neurokit2's R peaks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int, UInt8

Box = tuple[int, int, int, int]

RATE = 250  # samples a second that the recovered line is brought to
INKED = 0.4  # share of the darkest ink from which a pixel is of the line
LEAST = 4  # beats, below which there is no rhythm to speak of


@dataclass(frozen=True, slots=True)
class Beats:
    """What a trace shows.

    Attributes:
        times: of the R waves, seconds from the left edge.
        rate: beats a minute, by the median interval.
        spread: sd of the beats' own rates, beats a minute.
        wave: +1 where T points as R does, -1 where it is inverted, 0 where it cannot be told.
        box: left, top, right, bottom of the line, in pixels.
    """

    times: Float[np.ndarray, " n"]
    rate: float
    spread: float
    wave: int
    box: Box


def beats(pixels: UInt8[np.ndarray, "h w 3"], *, duration: float = 10.0) -> Beats | None:
    """The beats of a drawn trace; None where no line is found, or fewer than four beats.

    Args:
        pixels: one lead over the whole width, dark on light paper.
        duration: seconds that the width stands for.

    Raises:
        ModuleNotFoundError: without the extra `[signals]`; the message holds the pip line.
    """
    found = line(pixels)
    if found is None:
        return None
    row, box = found
    width = pixels.shape[1]
    time = np.arange(round(duration * RATE)) / RATE
    volts = np.interp((time / duration) * width - 0.5, np.arange(width), -row)
    times = peaks(volts, rate=RATE) / RATE
    if len(times) < LEAST:
        return None
    own = 60 / np.diff(times)
    return Beats(times, float(np.median(own)), float(own.std()), _wave(volts, times), box)


def peaks(volts: Float[np.ndarray, " t"], *, rate: int) -> Int[np.ndarray, " n"]:
    """Positions of R waves by neurokit2's own method; none where it finds none.

    Args:
        volts: a lead, in any unit.
        rate: samples a second.

    Raises:
        ModuleNotFoundError: without the extra `[signals]`; the message holds the pip line.
    """
    try:
        from neurokit2 import ecg_peaks  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        hint = 'finding beats needs neurokit2; install it with: pip install "polymodal[signals]"'
        raise ModuleNotFoundError(hint, name="neurokit2") from None
    with warnings.catch_warnings():  # it warns, or fails in its own ways, where a lead has no beats
        warnings.simplefilter("ignore")
        try:
            return np.asarray(ecg_peaks(volts, sampling_rate=rate)[1]["ECG_R_Peaks"], np.int64)
        except (ValueError, IndexError, ZeroDivisionError):
            return np.zeros(0, np.int64)


def line(pixels: UInt8[np.ndarray, "h w 3"]) -> tuple[Float[np.ndarray, " w"], Box] | None:
    """The height of the line in each column, pixels from the top, and its box; None where there is none.

    Of a column's ink the end that is farther from the line's usual height counts, so that a stroke up and
    down within one column keeps its peak. Columns without ink are filled from their neighbours.

    Args:
        pixels: dark on light; red paper lines are bright in red, and so are no ink.
    """
    red = pixels[..., 0].astype(np.float64)
    ink = np.clip(np.median(red) - red, 0, None)
    if ink.max() < 30:
        return None
    dark = ink > INKED * ink.max()
    held = dark.any(0)
    if held.mean() < 0.5:
        return None
    top, low = dark.argmax(0), len(dark) - 1 - dark[::-1].argmax(0)
    columns = np.arange(dark.shape[1])
    usual = float(np.median(((top + low) / 2)[held]))
    far = np.where(usual - top > low - usual, top, low).astype(np.float64)
    row = np.interp(columns, columns[held], far[held])
    rows = np.nonzero(dark.any(1))[0]
    span = columns[held]
    return row, (int(span[0]), int(rows[0]), int(span[-1]) + 1, int(rows[-1]) + 1)


def _wave(volts: Float[np.ndarray, " t"], times: Float[np.ndarray, " n"]) -> int:
    """The sign of T: its height .16 to .42 of a beat after R, above the level between T and the next P."""
    tall = []
    for here, after in pairwise(times.tolist()):
        beat = after - here
        late = volts[round((here + 0.16 * beat) * RATE) : round((here + 0.42 * beat) * RATE)]
        rest = volts[round((here + 0.50 * beat) * RATE) : round((here + 0.68 * beat) * RATE)]
        if len(late) and len(rest):
            gap = late - np.median(rest)
            tall.append(gap[np.abs(gap).argmax()] / max(np.ptp(volts), 1e-9))
    height = float(np.median(tall)) if tall else 0.0
    return 0 if abs(height) < 0.05 else int(np.sign(height))
