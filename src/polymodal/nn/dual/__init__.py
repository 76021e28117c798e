"""Dual encoders of pictures and texts: towers, losses, regions, long texts."""

from polymodal.nn.dual.cached import cached
from polymodal.nn.dual.contrast import (
    Scale,
    hard_loss,
    info_nce,
    ragged,
    regional_loss,
    sigmoid_loss,
    sigmoid_start,
)
from polymodal.nn.dual.model import Dual
from polymodal.nn.dual.ranks import gathered
from polymodal.nn.dual.regions import clipped, corners, faults, normalised, regions, roi_align
from polymodal.nn.dual.streamed import streamed
from polymodal.nn.dual.stretch import stretched
from polymodal.nn.dual.textual import apart_loss, margin, margin_loss

# fmt: off
__all__ = [
    "Dual", "Scale", "apart_loss", "cached", "clipped", "corners", "faults", "gathered", "hard_loss",
    "info_nce", "margin", "margin_loss", "normalised", "ragged", "regional_loss", "regions", "roi_align",
    "sigmoid_loss", "sigmoid_start", "streamed", "stretched",
]
# fmt: on
