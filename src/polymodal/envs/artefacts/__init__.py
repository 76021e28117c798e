"""Drawn things that a patient can show, for research and not for care."""

from polymodal.envs.artefacts.beats import Beats, beats
from polymodal.envs.artefacts.drawn import KINDS, SIZES, Drawn, classes_of, draw
from polymodal.envs.artefacts.lesion import TONES
from polymodal.envs.artefacts.page import ANALYTES
from polymodal.envs.artefacts.rows import Row, rows
from polymodal.envs.artefacts.signs import PageReader
from polymodal.envs.artefacts.trace import Signal, signal

__all__ = [
    "ANALYTES",
    "KINDS",
    "SIZES",
    "TONES",
    "Beats",
    "Drawn",
    "PageReader",
    "Row",
    "Signal",
    "beats",
    "classes_of",
    "draw",
    "rows",
    "signal",
]
