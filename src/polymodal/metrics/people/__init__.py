"""Studies with people: rows of trials and ratings, stated trust, rating scales."""
# ruff: isort: skip_file
# fmt: off

from polymodal.metrics.people.rows import (
    codings, conditions, correct, discriminates, matrix, rated, stated, trials,
)
from polymodal.metrics.people.scales import coding, cronbach, omega, scored, straight
from polymodal.metrics.people.trust import card, clustered, course, learning, trust_calibration

__all__ = [
    "card", "clustered", "coding", "codings", "conditions", "correct", "course", "cronbach", "discriminates",
    "learning", "matrix", "omega", "rated", "scored", "stated", "straight", "trials", "trust_calibration",
]
