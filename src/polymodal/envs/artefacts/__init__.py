"""Drawn things a patient can show, for research and not for care: lesions, ECG traces, lab pages, worn takes."""

from polymodal.envs.artefacts.beats import Beats, beats
from polymodal.envs.artefacts.drawn import KINDS, SIZES, Drawn, draw
from polymodal.envs.artefacts.lesion import TONES
from polymodal.envs.artefacts.page import ANALYTES
from polymodal.envs.artefacts.rows import Row, rows
from polymodal.envs.artefacts.trace import Signal, signal

__all__ = [
    "ANALYTES",
    "KINDS",
    "SIZES",
    "TONES",
    "Beats",
    "Drawn",
    "Row",
    "Signal",
    "beats",
    "draw",
    "rows",
    "signal",
]
