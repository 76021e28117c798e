"""Merging the weights of models: plan from headers, rules in fp32, pieces of bytes."""

from polymodal.nn.weights.alignment import plan
from polymodal.nn.weights.diagnosis import Distance, diagnosis, strangers
from polymodal.nn.weights.headers import Checkpoint, WeightsError, read_checkpoint
from polymodal.nn.weights.mixer import blended
from polymodal.nn.weights.plan import Merge, Plan
from polymodal.nn.weights.recipe import METHODS, Recipe, recipe
from polymodal.nn.weights.stream import CHUNK, Piece, merged, pieces

# fmt: off
__all__ = [
    "CHUNK", "METHODS", "Checkpoint", "Distance", "Merge", "Piece", "Plan", "Recipe", "WeightsError",
    "blended", "diagnosis", "merged", "pieces", "plan", "read_checkpoint", "recipe", "strangers",
]
# fmt: on
